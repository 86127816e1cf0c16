"""`make soak`: the reliability runs as often as you have time for. Resumable: what is done is not run again.

One module holds one test and calls it SOAK. Each run is one line in `var/soak/<test>.jsonl`; the sums are kept in
`totals.json` beside this file, so that another machine goes on from there, and are shown in docs/reliability.md.
TESTS="T1 T2" chooses, GOAL_T1=600 sets how many runs, MINUTES=30 ends early.

What they write lies in memory where there is a folder for that: a killed process loses nothing of it either, and what
a disk loses with its power, T14 makes from its own records.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from tests.soak.one import Soak
from tests.soak.table import add_totals, read_totals, write_row

RESULTS = Path("var") / "soak"
TABLE = Path("docs") / "reliability.md"
TOTALS = Path(__file__).with_name("totals.json")
MEMORY = Path("/dev/shm")
ALWAYS = ("mails", "duplicates", "losses")  # what every test counts

#: The module of each test. They are imported when they are run, so that one broken test does not stop the others.
MODULES = {
    "T1": "kills",
    "T2": "random_kills",
    "T3": "simulation",
    "T4": "machine",
    "T5": "faults",
    "T6": "storm",
    "T7": "storm_kills",
    "T8": "forgery",
    "T9": "unsubscribes",
    "T10": "scanners",
    "T11": "workers",
    "T12": "zombies",
    "T13": "disk_full",
    "T14": "torn_wal",
    "T15": "clock_leaps",
    "T16": "database_down",
    "T17": "fuzz",
    "T18": "hostile_names",
    "T20": "holdout",
    "T21": "erasure",
    "T22": "prefect_kills",
    "T23": "migrations",
    "J1": "schedules",
    "J2": "worlds",
}


def main() -> None:
    """Do what is missing of the chosen tests; write their rows; fail if anything was doubled or lost."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it finds the sums of what ran
    if "TMPDIR" not in os.environ and MEMORY.is_dir():
        tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)
    os.environ.setdefault("UPTAKE_TEST_READ_TIMEOUT", "10")  # a busy machine is no fault
    until = time.monotonic() + 60 * float(os.environ.get("MINUTES", "1e9"))
    is_clean = True
    for name in os.environ.get("TESTS", " ".join(MODULES)).split():
        is_clean &= _soak(name, _test(name), until)
    if not is_clean:
        raise SystemExit(1)


def _test(name: str) -> Soak:
    found: Soak = importlib.import_module(f"tests.soak.{MODULES[name]}").SOAK
    return found


def _soak(name: str, test: Soak, until: float) -> bool:
    """Do the missing runs of one test; keep their sums whatever stops it."""
    number = read_totals(TOTALS).get(name, {}).get("runs", 0)
    goal = int(os.environ.get(f"GOAL_{name}", test.goal))
    sums: Counter[str] = Counter()
    try:
        if number < goal and time.monotonic() < until:
            with test.open() as run, (RESULTS / f"{name}.jsonl").open("a") as results:
                while number < goal and time.monotonic() < until:
                    done = dict(run(number))
                    number += 1
                    results.write(json.dumps(done) + "\n")
                    results.flush()
                    sums["runs"] += 1
                    sums.update({key: int(str(done.get(key, 0))) for key in (test.counts, *ALWAYS)})
                    if done["duplicates"] or done["losses"]:
                        _say(f"{name} run {number - 1}: {done}")
    finally:
        total = add_totals(TOTALS, name, sums)
        _say(f"{name}: {total}")
        if sums["runs"]:
            counted = [f"{total[key]:,} {key}" for key in (test.counts, "mails") if total[key]]
            write_row(
                TABLE,
                [name, test.what, ", ".join(counted), f"{total['duplicates']:,}", f"{total['losses']:,}", _commit(),
                 f"{datetime.now(UTC):%Y-%m-%d}"],
            )  # fmt: skip
    return not total.get("duplicates") and not total.get("losses")


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short=9", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
