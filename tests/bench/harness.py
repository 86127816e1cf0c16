"""How work is measured: CPU seconds of a process and its children, and how much memory it held at most.

The wall clock of a shared machine says little, so it is only shown. Each work runs in a process of its own, begun for
it, so that no cache, no import and no memory of the one before it counts for or against it.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

GB = 1e9
#: Runs of each side.
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 3))
#: Of the full build; the other logs shrink and grow with it.
EVENTS = int(os.environ.get("BENCH_EVENTS", 10_000_000))
#: Only then is what was measured worth keeping.
IS_FULL_SIZE = EVENTS >= 10_000_000 and ROUNDS >= 3
#: The most that a build and a daily run may hold.
MEMORY_LIMIT = 8 * GB

Work = Callable[[], Any]

_STARTED = time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one run of some work came to. cpu, wall: seconds; peak: bytes that were resident at most."""

    answer: Any
    cpu: float
    wall: float
    peak: float

    def with_answer(self, answer: Any) -> Measured:
        """Return the same with an answer that was looked up after the clock had stopped."""
        return replace(self, answer=answer)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One row of the table. Two amounts of one unit, ours at most `target` times the floor; None: only shown."""

    work: str
    size: str
    against: str
    floor: float
    ours: float
    target: float | None
    unit: str = "s"

    @property
    def ratio(self) -> float:
        """How many times the floor ours is."""
        return self.ours / self.floor

    @property
    def is_met(self) -> bool:
        """Whether the target is kept."""
        return self.target is None or self.ratio <= self.target


def say(text: str) -> None:
    """Print one line of progress."""
    sys.stdout.write(f"{time.monotonic() - _STARTED:6.0f} s  {text}\n")
    sys.stdout.flush()


def here(work: Work) -> Measured:
    """Measure work in this process; its peak is that of the process so far."""
    wall, cpu = time.monotonic(), _cpu()
    answer = work()
    return Measured(answer=answer, cpu=_cpu() - cpu, wall=time.monotonic() - wall, peak=_peak())


def apart(work: Work) -> Measured:
    """Measure work in a process of its own. `work` is a function of a module, or a `functools.partial` of one."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(here, work).result()


def alternate(
    floor: Work, ours: Work, *, rounds: int, told: str, measure: Callable[[Work], Measured] = apart
) -> tuple[Measured, Measured]:
    """Run both in turns, see that they give the same answer, and return the medians of floor and ours."""
    floors: list[Measured] = []
    own: list[Measured] = []
    for turn in range(1, rounds + 1):
        for name, work, measured in (("floor", floor, floors), ("ours", ours, own)):
            measured.append(measure(work))
            last = measured[-1]
            say(f"{told}: {name} {turn}/{rounds}: {last.cpu:.2f} s CPU, {last.wall:.2f} s, {last.peak / GB:.2f} GB")
        must_agree(told, floors[-1].answer, own[-1].answer)
    return median(floors), median(own)


def must_agree(told: str, floor: Any, ours: Any) -> None:
    """Refuse to compare what does not give the same answer."""
    if floor == ours:
        return
    if isinstance(floor, dict) and isinstance(ours, dict):
        keys = [key for key in {**floor, **ours} if floor.get(key) != ours.get(key)]
        floor, ours = {key: floor.get(key) for key in keys}, {key: ours.get(key) for key in keys}
    raise AssertionError(f"{told}: the floor says {floor}, ours says {ours}")


def median(runs: Sequence[Measured]) -> Measured:
    """Return the medians of some runs, and the highest of their peaks."""
    return Measured(
        answer=runs[-1].answer,
        cpu=statistics.median(run.cpu for run in runs),
        wall=statistics.median(run.wall for run in runs),
        peak=max(run.peak for run in runs),
    )


def memory(work: str, size: str, peak: float) -> Result:
    """Return the row that says how much of the memory allowed was used."""
    return Result(
        work=work, size=size, against="the limit", floor=MEMORY_LIMIT / GB, ours=peak / GB, target=1, unit="GB"
    )


def bound(work: Callable[..., Any], *arguments: Any, **options: Any) -> Work:
    """Return work with its arguments, in a form that another process can be given."""
    return functools.partial(work, *arguments, **options)


def _cpu() -> float:
    whole = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in whole)


def _peak() -> float:
    """Bytes: this process's peak and that of its largest child so far, as if they had been at the same time."""
    lines = Path("/proc/self/status").read_text().splitlines()
    own = next(float(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return 1024 * (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
