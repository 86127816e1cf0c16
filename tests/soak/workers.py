"""T11: each run lets 4 workers on SQLite or 8 on PostgreSQL decide and send for many accounts at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.crash.workers import LOCK_WAIT_P99, LONGEST_STALL, crowd
from tests.postgres import can_serve, empty_database, server
from tests.soak.one import Runs, Soak

COUNT = int(os.environ.get("ENROLMENTS", "20000"))  # of one run


@contextmanager
def opened() -> Runs:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uptake-soak-")))
        address = stack.enter_context(server()) if can_serve() else None

        def run(number: int) -> Mapping[str, object]:
            home = folder / f"home-{number}"
            home.mkdir()
            on_postgres = address is not None and number % 2 == 0
            try:
                if on_postgres:
                    assert address is not None
                    with empty_database(address) as url:
                        found = crowd(url, home, workers=8, count=COUNT, batch_size=100)
                else:
                    found = crowd(
                        f"sqlite:///{home / 'ledger.sqlite3'}", home, workers=4, count=COUNT, batch_size=100
                    )  # fmt: skip
            finally:
                shutil.rmtree(home)
            losses = list(found.losses)
            if not all(found.shares) or found.p99 >= LOCK_WAIT_P99 or found.longest >= LONGEST_STALL:
                losses.append(f"shares {found.shares}, waits {found.p99:.2f} s at p99, {found.longest:.2f} s at most")
            return {
                "run": number, "database": "postgresql" if on_postgres else "sqlite", "enrolments": COUNT,
                "mails": found.verdict.accepted, "duplicates": found.verdict.duplicates, "losses": len(losses),
                "lost": losses[:5], "shares": found.shares, "wait_p99": round(found.p99, 4),
                "wait_longest": round(found.longest, 3),
            }  # fmt: skip

        yield run


SOAK = Soak(
    what="8 workers on PostgreSQL, 4 on SQLite at once; a loss, too: one without work, or a long wait for a lock",
    goal=20,
    counts="enrolments",
    open=opened,
)
