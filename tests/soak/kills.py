"""T1: each run kills one worker at one named point, in turn on both databases."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.crash.kills import ALL_POINTS, Zygote, database, kill_at, prepare
from tests.postgres import can_serve, server
from tests.soak.one import Runs, Soak


@contextmanager
def opened() -> Runs:
    with ExitStack() as stack:
        zygote = stack.enter_context(Zygote())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uptake-soak-")))
        prepare(f"sqlite:///{folder / 'prepared.sqlite3'}")
        address = stack.enter_context(server()) if can_serve() else None

        def run(number: int) -> Mapping[str, object]:
            on_postgres = address is not None and number % 2 == 1
            half = number // 2 if address is not None else number
            point, seed = ALL_POINTS[half % len(ALL_POINTS)], half // len(ALL_POINTS)
            home = folder / f"home-{number}"
            home.mkdir()
            try:
                if on_postgres:
                    assert address is not None
                    with database(address, home) as url:
                        found = kill_at(point, seed, zygote=zygote, url=url, home=home)
                else:
                    shutil.copy(folder / "prepared.sqlite3", home / "ledger.sqlite3")
                    url = f"sqlite:///{home / 'ledger.sqlite3'}"
                    found = kill_at(point, seed, zygote=zygote, url=url, home=home)
            finally:
                shutil.rmtree(home)
            where = "postgresql" if on_postgres else "sqlite"
            return {
                "run": number, "point": point, "database": where, "kills": int(found.was_killed),
                "mails": found.accepted, "held": found.held, "duplicates": found.duplicates,
                "losses": len(found.losses), "lost": list(found.losses),
            }  # fmt: skip

        yield run


SOAK = Soak(
    what=f"a worker killed with -9 at {len(ALL_POINTS)} named points, SQLite and PostgreSQL in turn",
    goal=7_500,  # four of five are killed: the third passing of a point is not always reached
    counts="kills",
    open=opened,
)
