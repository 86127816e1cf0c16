"""Arrow and DuckDB without pandas, for commands that meet no DataFrame: half a second of a person's waiting.

Both import it to see whether a list, or a text, comes from there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_pandas() -> Iterator[None]:
    """Let nobody find pandas for a while, unless it is there already; afterwards whoever asks for it gets it."""
    is_there = "pandas" in sys.modules
    if not is_there:
        sys.meta_path.insert(0, _Nowhere)
    try:
        yield
    finally:
        if not is_there:
            sys.meta_path.remove(_Nowhere)


class _Nowhere:
    """Finds no pandas, and leaves every other module to the finders after it."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:  # noqa: ARG004
        """Raise ModuleNotFoundError for pandas."""
        if name == "pandas":
            raise ModuleNotFoundError(name)
