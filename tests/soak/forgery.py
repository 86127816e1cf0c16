"""T8: each run forges webhook bodies in every way there is a name for, and replays genuine ones."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.crash.forgery import FORGERIES, Target
from tests.crash.storm import prepare
from tests.soak.one import Runs, Soak

COUNT = 2_000
REPLAYS = 200


@contextmanager
def opened() -> Runs:
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:
        planned = Path(name) / "prepared.sqlite3"
        prepare(f"sqlite:///{planned}", 50)

        def run(number: int) -> Mapping[str, object]:
            home = Path(tempfile.mkdtemp(dir=name))
            target = Target(shutil.copy(planned, home / "ledger.sqlite3"), number)
            try:
                found = asyncio.run(target.attack(number, forgeries=COUNT, replays=REPLAYS))
            finally:
                target.close()
                shutil.rmtree(home)
            return {
                "run": number, "forgeries": found.forgeries, "replays": found.replays, "duplicates": 0,
                "losses": len(found.losses), "lost": found.losses[:5],
            }  # fmt: skip

        yield run


SOAK = Soak(
    what=f"webhook bodies forged in {len(FORGERIES)} ways, and a replay, with (r, n-s) too, for every ten; a loss: one "
    "is believed, answered otherwise than 403, or a replay changes the state",
    goal=50,
    counts="forgeries",
    open=opened,
)
