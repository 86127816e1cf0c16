"""`make bench`: what our own code costs, as a ratio to the plainest way to do the same work, into docs/performance.md.

`python -m tests.bench NAME ...` runs some of them. BENCH_EVENTS and BENCH_ROUNDS make them smaller, and then nothing is
written; BENCH_SCRATCH names a folder for the data, which is kept.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tests.bench import (
    build,
    conditions,
    daily,
    document,
    gate,
    journeys,
    lift,
    overhead,
    read,
    send,
    storm,
    storm_sustained,
)
from tests.bench.harness import IS_FULL_SIZE, Result, say

#: In this order, because a later one may use what an earlier one has built.
BENCHES: dict[str, ModuleType] = {
    "conditions": conditions,
    "journeys": journeys,
    "lift": lift,
    "send": send,
    "overhead": overhead,
    "read": read,
    "build": build,
    "gate": gate,
    "daily": daily,
    "storm": storm,
    "storm_sustained": storm_sustained,
}


def main(names: Sequence[str]) -> int:
    """Run these benchmarks, or all; return 0 when every target is met."""
    if unknown := [name for name in names if name not in BENCHES]:
        say(f"no benchmark {unknown[0]!r}; expected some of {', '.join(BENCHES)}")
        return 2
    missed: list[str] = []
    with _scratch() as scratch:
        for name in names or BENCHES:
            missed += _run(name, scratch)
    if IS_FULL_SIZE:
        document.keep_only(list(BENCHES))
    say("every target is met" if not missed else "missed: " + "; ".join(missed))
    return 1 if missed else 0


def _run(name: str, scratch: Path) -> list[str]:
    """Run one benchmark and write its section; return what it missed."""
    bench = BENCHES[name]
    say(f"{name} ...")
    try:
        results: list[Result] = bench.run(scratch)
    except Exception as error:  # the others are measured all the same, and this one is told to have failed
        traceback.print_exc()
        if IS_FULL_SIZE:
            document.update(name, bench.__doc__ or "", [], wrong=f"it stopped with {type(error).__name__}")
        return [f"{name} (not measured)"]
    if IS_FULL_SIZE:
        document.update(name, bench.__doc__ or "", results)
    for result in results:
        say(f"{result.work}: {result.ratio:.3f}, target {result.target}{'' if result.is_met else ': MISSED'}")
    return [result.work for result in results if not result.is_met]


@contextmanager
def _scratch() -> Iterator[Path]:
    """Return a folder for the data, removed afterwards unless it was named."""
    if kept := os.environ.get("BENCH_SCRATCH"):
        folder = Path(kept).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="uptake-bench-") as made:
        yield Path(made)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
