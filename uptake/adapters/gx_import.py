"""Imports Great Expectations without what it imports for one expectation that hardly anybody uses.

GX draws in scipy's statistics and altair for `expect_column_kl_divergence_to_be_less_than`: a third of the time that
its import takes. While it is imported, stand-ins take their place, which import the real ones when they are first used.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_PUT_OFF = ("altair", "scipy.stats")
_ONE_AT_A_TIME = threading.Lock()


def great_expectations() -> Any:
    """Return the module."""
    with _ONE_AT_A_TIME:
        if "great_expectations" not in sys.modules:
            with _stand_ins():
                importlib.import_module("great_expectations")
    return sys.modules["great_expectations"]


class _StandIn(ModuleType):
    """Is a module as far as somebody who only binds its name can tell."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Let imports find stand-ins for what is not imported yet."""
    placed = {name: _StandIn(name) for name in _PUT_OFF if name not in sys.modules}
    sys.modules.update(placed)
    try:
        yield
    finally:
        for name, module in placed.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
