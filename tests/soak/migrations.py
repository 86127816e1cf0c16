"""T23: a migration killed at any statement, on both databases; a backup put back at any moment of sending."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg

from tests.crash.migrations import OLDER, State, make_ledger, make_older, migrate_and_die, state_of
from tests.crash.outbox import KEYS, NOW, Outbox, copy_ledger, judge, prepared, serving
from tests.crash.test_restore import backup_of, restore, tick
from tests.postgres import can_serve, server
from tests.soak.one import Runs, Soak
from uptake.adapters.ledger import open_ledger
from uptake.testing import FixedClock

STATEMENTS = 45  # more than any migration has: beyond its last one nothing is killed


@contextmanager
def opened() -> Runs:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uptake-soak-")))
        newest = f"sqlite:///{folder / 'newest.sqlite3'}"
        make_ledger(newest)
        for version in OLDER:
            make_older(f"sqlite:///{folder / version}", version, like=newest)
        address = stack.enter_context(server()) if can_serve() else None
        if address is not None:
            for version in OLDER:
                _admin(address, f"create database older_{version}")
                make_older(f"{address}/older_{version}", version, like=newest)

        @contextmanager
        def copied(version: str, *, on_postgres: bool) -> Iterator[str]:
            if not on_postgres:
                shutil.copy(folder / version, folder / "copy")
                yield f"sqlite:///{folder / 'copy'}"
                (folder / "copy").unlink()
                return
            assert address is not None
            _admin(address, f"create database copy template older_{version}")
            try:
                yield f"{address}/copy"
            finally:
                _admin(address, "drop database copy with (force)")

        ends: dict[tuple[str, bool], tuple[State, State]] = {}

        def killed(number: int) -> Mapping[str, object]:
            """Kill one migration; it must have left the old schema or the new one, and the next start the new one."""
            chance = random.Random(number)
            version, statement = chance.choice(OLDER), chance.randint(1, STATEMENTS)
            on_postgres = address is not None and number % 4 == 2
            if (version, on_postgres) not in ends:
                with copied(version, on_postgres=on_postgres) as url:
                    old = state_of(url)
                    open_ledger(url, KEYS).close()
                    ends[version, on_postgres] = (old, state_of(url))
            with copied(version, on_postgres=on_postgres) as url:
                was_killed = migrate_and_die(url, statement)
                is_whole = state_of(url) in ends[version, on_postgres]
                open_ledger(url, KEYS).close()
                is_new = state_of(url) == ends[version, on_postgres][1]
            lost = [] if is_whole and is_new else [f"{version}, statement {statement}: half of something"]
            return {
                "run": number, "worlds": 1, "kills": int(was_killed), "duplicates": 0, "losses": len(lost),
                "lost": lost,
            }  # fmt: skip

        planned = prepared(folder, 12)

        def restored(number: int) -> Mapping[str, object]:
            """Put a backup back that is older than some of the mails; none goes twice, and all are found again."""
            chance = random.Random(number)
            home, clock = folder / f"home-{number}", FixedClock(NOW)
            home.mkdir()
            with serving(home, clock, log_lag=timedelta(minutes=chance.choice((0, 10, 59)))) as fakegrid:
                world = Outbox(copy_ledger(planned, home), home, fakegrid.url, clock)
                _only_some_are_due(world, chance.randint(0, 12))
                world.send(owner="before")
                _only_some_are_due(world, 12)
                backup = backup_of(world)
                tick(world)
                clock.moment += timedelta(minutes=chance.randint(1, 100))
                world = restore(world, backup)
                for _ in range(12):
                    tick(world)
                    clock.moment += timedelta(minutes=20)
                controls, statuses = world.ledger.releases.controls(), world.statuses()
                verdict = judge(home, statuses)
                world.close()
            lost = list(verdict.losses)
            if controls.sending_locked is not None:
                lost.append(f"still locked: {controls.sending_locked}")
            if Counter(statuses.values()) != {"accepted": 12}:
                lost.append(f"not all found again: {Counter(statuses.values())}")
            shutil.rmtree(home)
            return {
                "run": number, "worlds": 1, "mails": verdict.accepted, "duplicates": verdict.duplicates,
                "losses": len(lost), "lost": lost,
            }  # fmt: skip

        yield lambda number: restored(number) if number % 2 else killed(number)


def _only_some_are_due(world: Outbox, count: int) -> None:
    """Let the first so many of the waiting mails be sent now, and the others later."""
    with world.ledger._store.write() as connection:
        connection.exec_driver_sql("update sends set status = 'planned' where status = 'withheld'")
        connection.exec_driver_sql(
            "update sends set status = 'withheld' where status = 'planned' and send_id not in"
            f" (select send_id from sends order by send_id limit {count})"
        )


def _admin(address: str, statement: str) -> None:
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        connection.execute(statement)


SOAK = Soak(
    what="migrations killed with -9 at any statement, on SQLite and PostgreSQL; backups put back while sending",
    goal=200,
    counts="worlds",
    open=opened,
)
