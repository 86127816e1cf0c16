"""T10: each run opens links as scanners do, posts made-up tokens, and clicks twice."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.crash.outbox import KEYS
from tests.crash.scanners import Visited
from tests.soak.one import Runs, Soak
from uptake.adapters.ledger import open_ledger


@contextmanager
def opened() -> Runs:
    def run(number: int) -> Mapping[str, object]:
        with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:
            ledger = open_ledger(f"sqlite:///{Path(name) / 'ledger.sqlite3'}", KEYS)
            visited = Visited(ledger, 100)
            both = (
                asyncio.run(visited.visit(number, opens=1_000, forged=1_000)),
                asyncio.run(visited.click_twice()),
            )
            ledger.close()
        losses = [loss for found in both for loss in found.losses]
        return {
            "run": number, "visits": sum(found.visits for found in both), "duplicates": 0, "losses": len(losses),
            "lost": losses[:5],
        }  # fmt: skip

    yield run


SOAK = Soak(
    what="1,000 times a link opened by GET, HEAD or OPTIONS, 1,000 posts with made-up tokens, 100 pairs of the same "
    "click in each run; a loss: somebody stopped, believed or stopped twice",
    goal=10,
    counts="visits",
    open=opened,
)
