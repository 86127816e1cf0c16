"""J1: each run is a world of random journeys, lived through by the engine and by the small model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.soak.one import Runs, Soak
from tests.spec.test_random_schedules import SCHEDULES, live


@contextmanager
def opened() -> Runs:
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


SOAK = Soak(
    what="random playbooks, edits, events, leaps of the clock; a loss: engine and small model differ",
    goal=20,
    counts="schedules",
    open=opened,
)
