"""J2: the whole small demo (fakegrid, webhook, dbt, ticks), killed with -9 at random moments until it ends."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.test_demo_is_killed import accepted, start
from tests.soak.one import Runs, Soak

LONGEST = 25.0  # seconds a process lives at most before it is killed


def world(seed: int) -> dict[str, int]:
    """Live one demo to its end, killed again and again; count on its accept log."""
    chance = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="uptake-soak-"))
    home = folder / "demo"
    kills = 0
    try:
        while True:
            process = start(home)
            deadline = time.monotonic() + chance.uniform(1, LONGEST) * (1 + kills / 10)  # later lives last longer
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            if process.poll() is None:
                process.kill()
                process.communicate()
                kills += 1
                continue
            output, _ = process.communicate()
            if process.returncode:
                raise SystemExit(f"world {seed} ended with {process.returncode}:\n{output[-3_000:]}")
            break
        log = Counter(line["send_id"] for line in accepted(home))
        with sqlite3.connect(f"file:{home / 'ledger.sqlite3'}?mode=ro", uri=True) as ledger:
            sends = dict(ledger.execute("select send_id, status from sends").fetchall())
        taken = {
            send_id for send_id, status in sends.items() if status in ("accepted", "delivered", "bounced", "dropped")
        }
        lost = (taken - set(log)) | (set(log) - set(sends))
        lost |= {send_id for send_id, status in sends.items() if status in ("claimed", "sending")}
        return {
            "run": seed,
            "kills": kills,
            "mails": len(log),
            "duplicates": sum(count - 1 for count in log.values()),
            "losses": len(lost),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def opened() -> Runs:
    yield world


SOAK = Soak(
    what="the whole demo (dbt, ticks, webhook) killed with -9 at random moments until it ends",
    goal=20,
    counts="kills",
    open=opened,
)
