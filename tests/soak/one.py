"""One test of `make soak`: what it does, how often, and what one run of it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

#: One run, by its number, which is also its seed. It answers a mapping with `run`, what the test counts, `duplicates`
#: (mails accepted twice) and `losses` (whatever else broke a promise); `mails` where there were any, and what helps
#: to find the reason.
Run = Callable[[int], Mapping[str, object]]
Runs = Iterator[Run]


@dataclass(frozen=True, kw_only=True)
class Soak:
    """One row of the table in docs/reliability.md."""

    what: str
    goal: int  # runs
    counts: str  # what a run counts, by the name in its answer
    open: Callable[[], AbstractContextManager[Run]]  # prepares once what all runs share
