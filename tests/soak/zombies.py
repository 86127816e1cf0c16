"""T12: each run stops one worker past its lease at one named point, in turn on both databases, and wakes it again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.crash.kills import database, prepare
from tests.crash.zombies import BETWEEN_TRANSACTIONS, IN_A_TRANSACTION, WHILE_DECIDING, Woken, wake_at, wake_tick_at
from tests.postgres import can_serve, empty_database, server
from tests.soak.one import Runs, Soak

POINTS = (
    *(("sqlite", point) for point in (*BETWEEN_TRANSACTIONS, WHILE_DECIDING)),
    *(("postgresql", point) for point in (*BETWEEN_TRANSACTIONS, *IN_A_TRANSACTION, WHILE_DECIDING)),
)


@contextmanager
def opened() -> Runs:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uptake-soak-")))
        prepare(f"sqlite:///{folder / 'prepared.sqlite3'}")
        address = stack.enter_context(server()) if can_serve() else None
        points = [one for one in POINTS if address is not None or one[0] == "sqlite"]

        def run(number: int) -> Mapping[str, object]:
            (where, point), home = points[number % len(points)], folder / f"home-{number}"
            home.mkdir()
            try:
                found = _one(point, number // len(points), home, None if where == "sqlite" else address)
            finally:
                shutil.rmtree(home)
            return {
                "run": number, "point": point, "database": where, "zombies": int(found.was_stopped),
                "mails": found.accepted, "held": found.held, "duplicates": found.duplicates,
                "losses": len(found.losses), "lost": list(found.losses),
            }  # fmt: skip

        def _one(point: str, seed: int, home: Path, address: str | None) -> Woken:
            if point == WHILE_DECIDING:
                with ExitStack() as one:
                    url = one.enter_context(empty_database(address)) if address else f"sqlite:///{home}/ledger.sqlite3"
                    return wake_tick_at(point, url=url, home=home)
            if address is not None:
                with database(address, home) as url:
                    return wake_at(point, seed, url=url, home=home)
            shutil.copy(folder / "prepared.sqlite3", home / "ledger.sqlite3")
            return wake_at(point, seed, url=f"sqlite:///{home / 'ledger.sqlite3'}", home=home)

        yield run


SOAK = Soak(
    what=f"a worker stopped past its lease at {len({point for _, point in POINTS})} points, overtaken, and woken again",
    goal=600,
    counts="zombies",
    open=opened,
)
