"""`make soak`: the reliability runs as often as you have time for. Resumable: what is done is not run again.

Each run is one line in `var/soak/<test>.jsonl`; the sums stand in docs/reliability.md, one row per test.
TESTS="T1 T2" chooses, GOAL_T1=600 sets how many runs, MINUTES=30 ends early; a later soak goes on from there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.crash.kills import ALL_POINTS, Zygote, database, kill_at, prepare
from tests.crash.outbox import NOW, Verdict, prepared, serving
from tests.crash.test_faults import TABLE, meet
from tests.postgres import can_serve, server
from tests.soak import worlds
from tests.soak.table import write_row
from tests.spec.test_random_schedules import SCHEDULES, live
from uptake.testing import FixedClock

RESULTS = Path("var") / "soak"
Run = Callable[[int], Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class Test:
    """One row of the table."""

    what: str
    goal: int  # runs
    counts: str  # what a run counts, by the name in its result
    open: Callable[[], object]  # a context manager that gives the function for one run


@contextmanager
def kills_at_points() -> Iterator[Run]:
    """Each run kills one worker at one point, in turn on both databases."""
    with ExitStack() as stack:
        zygote = stack.enter_context(Zygote())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uptake-soak-")))
        prepare(f"sqlite:///{folder / 'prepared.sqlite3'}")
        address = stack.enter_context(server()) if can_serve() else None

        def run(number: int) -> Mapping[str, object]:
            on_postgres = address is not None and number % 2 == 1
            half = number // 2 if address is not None else number
            point, seed = ALL_POINTS[half % len(ALL_POINTS)], half // len(ALL_POINTS)
            home = folder / f"home-{number}"
            home.mkdir()
            try:
                if on_postgres:
                    assert address is not None
                    with database(address, home) as url:
                        found = kill_at(point, seed, zygote=zygote, url=url, home=home)
                else:
                    shutil.copy(folder / "prepared.sqlite3", home / "ledger.sqlite3")
                    url = f"sqlite:///{home / 'ledger.sqlite3'}"
                    found = kill_at(point, seed, zygote=zygote, url=url, home=home)
            finally:
                shutil.rmtree(home)
            where = "postgresql" if on_postgres else "sqlite"
            return {
                "run": number, "point": point, "database": where, "kills": int(found.was_killed),
                "mails": found.accepted, "held": found.held, "duplicates": found.duplicates,
                "losses": len(found.losses), "lost": list(found.losses),
            }  # fmt: skip

        yield run


@contextmanager
def killed_worlds() -> Iterator[Run]:
    """Each run is one demo, killed at random until it ends."""
    yield worlds.world


@contextmanager
def faults() -> Iterator[Run]:
    """Each run lets one request meet one fault, and follows it to where it is decided."""
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:
        folder = Path(name)
        planned = prepared(folder, 12)

        def run(number: int) -> Mapping[str, object]:
            fault = sorted(TABLE)[number % len(TABLE)]
            home, clock, lost = folder / f"home-{number}", FixedClock(NOW), ""
            home.mkdir()
            found = Verdict(accepted=0, duplicates=0, losses=())
            try:
                with serving(home, clock) as server_of_mail:
                    found = meet(fault, planned, home, clock, server_of_mail.port)
            except AssertionError:
                lost = traceback.format_exc()[-600:]
            finally:
                shutil.rmtree(home)
            return {
                "run": number, "fault": fault, "faults": 1, "mails": found.accepted, "duplicates": found.duplicates,
                "losses": int(bool(lost)), "lost": lost,
            }  # fmt: skip

        yield run


@contextmanager
def schedules() -> Iterator[Run]:
    """Each run is a world of random journeys, lived through by the engine and by the small model."""
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:

        def run(number: int) -> Mapping[str, object]:
            home = Path(name) / f"world-{number}"
            home.mkdir()
            try:
                found = live(home, seed=number)
            finally:
                shutil.rmtree(home)
            return {
                "run": number, "schedules": SCHEDULES, "mails": found.mails, "duplicates": 0,
                "losses": len(found.differing), "lost": sorted(found.differing)[:5],
            }  # fmt: skip

        yield run


TESTS: Mapping[str, Test] = {
    "T1": Test(
        what=f"a worker killed with -9 at {len(ALL_POINTS)} named points, SQLite and PostgreSQL in turn",
        goal=6_000,
        counts="kills",
        open=kills_at_points,
    ),
    "T2": Test(
        what="the whole demo (dbt, ticks, webhook) killed with -9 at random moments until it ends",
        goal=20,
        counts="kills",
        open=killed_worlds,
    ),
    "T5": Test(
        what=f"a request meets one of {len(TABLE)} faults on a socket, and ends as the decision table says",
        goal=36_667,
        counts="faults",
        open=faults,
    ),
    "J1": Test(
        what="random playbooks, edits, events, leaps of the clock; a loss: engine and small model differ",
        goal=20,
        counts="schedules",
        open=schedules,
    ),
}


def main() -> None:
    """Do what is missing of the chosen tests; write their rows; fail if anything was doubled or lost."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * float(os.environ.get("MINUTES", "1e9"))
    is_clean = True
    for name in os.environ.get("TESTS", " ".join(TESTS)).split():
        is_clean &= _soak(name, TESTS[name], until)
    if not is_clean:
        raise SystemExit(1)


def _soak(name: str, test: Test, until: float) -> bool:
    path = RESULTS / f"{name}.jsonl"
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    goal = int(os.environ.get(f"GOAL_{name}", test.goal))
    if len(done) < goal and time.monotonic() < until:
        with test.open() as run, path.open("a") as results:  # type: ignore[attr-defined]
            for number in range(len(done), goal):
                if time.monotonic() > until:
                    break
                done.append(dict(run(number)))
                results.write(json.dumps(done[-1]) + "\n")
                results.flush()
                if done[-1]["duplicates"] or done[-1]["losses"]:
                    _say(f"{name} run {number}: {done[-1]}")
    total = {key: sum(int(one[key]) for one in done) for key in (test.counts, "mails", "duplicates", "losses")}
    _say(f"{name}: {len(done)} runs: {total}")
    if done:
        write_row(
            Path("docs") / "reliability.md",
            [name, test.what, f"{total[test.counts]:,} {test.counts}, {total['mails']:,} mails",
             f"{total['duplicates']}", f"{total['losses']}", _commit(), f"{datetime.now(UTC):%Y-%m-%d}"],
        )  # fmt: skip
    return not total["duplicates"] and not total["losses"]


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short=9", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
