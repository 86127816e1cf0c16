"""T22: each run is a Prefect of its own in which a tick is struck once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.flows.prefect_kills import KINDS, prepare, world
from tests.soak.one import Runs, Soak


@contextmanager
def opened() -> Runs:
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:
        folder = Path(name)
        prepare(folder / "prepared")

        def run(number: int) -> Mapping[str, object]:
            home = folder / f"home-{number}"
            try:
                found = world(folder / "prepared", home, number)
            finally:
                shutil.rmtree(home, ignore_errors=True)
            return {
                "run": number, "struck": KINDS[number % len(KINDS)], "ticks": 1, "kills": found.kills,
                "mails": found.mails, "duplicates": found.duplicates, "losses": len(found.losses),
                "lost": list(found.losses),
            }  # fmt: skip

        yield run


SOAK = Soak(
    what="a tick in Prefect while its process, the worker or the server is killed with -9, or it is deployed anew",
    goal=60,
    counts="ticks",
    open=opened,
)
