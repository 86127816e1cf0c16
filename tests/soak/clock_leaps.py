"""T15: each run lives through one world whose clock leaps, by its number."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.crash.clock_leaps import STARTS, leap
from tests.soak.one import Runs, Soak


@contextmanager
def opened() -> Runs:
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:

        def run(number: int) -> Mapping[str, object]:
            home = Path(name) / f"world-{number}"
            home.mkdir()
            try:
                found = leap(home, seed=number)
            finally:
                shutil.rmtree(home)
            return {
                "run": number, "leaps": found.leaps, "mails": found.accepted, "duplicates": found.duplicates,
                "losses": len(found.losses), "lost": list(found.losses)[:5],
            }  # fmt: skip

        yield run


SOAK = Soak(
    what=f"the clock leaps by seconds and days around {len(STARTS)} odd dates; a loss: a mail too early or at night",
    goal=125,
    counts="leaps",
    open=opened,
)
