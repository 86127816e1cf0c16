"""T2: each run kills four processes again and again at random moments, 200 people in three stages."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.crash.random_kills import kill_at_random, prepare
from tests.soak.one import Runs, Soak

PEOPLE, KILLS = 200, 40


@contextmanager
def opened() -> Runs:
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:
        folder = Path(name)
        prepare(folder / "prepared.sqlite3", PEOPLE)

        def run(number: int) -> Mapping[str, object]:
            home = folder / f"home-{number}"
            home.mkdir()
            try:
                shutil.copy(folder / "prepared.sqlite3", home / "ledger.sqlite3")
                found = kill_at_random(number, home=home, kills=KILLS)
            finally:
                shutil.rmtree(home, ignore_errors=True)
            return {
                "run": number, "kills": found.kills, "mails": found.accepted, "held": found.held,
                "duplicates": found.duplicates, "losses": len(found.losses), "lost": list(found.losses)[:10],
            }  # fmt: skip

        yield run


SOAK = Soak(
    what="two senders, a ticker and a webhook receiver killed with -9 at random moments, 200 people in 3 stages",
    goal=50,
    counts="kills",
    open=opened,
)
