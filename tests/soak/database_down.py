"""T16: each run lets 100 mails be sent while PostgreSQL crashes and cuts connections; every third, SQLite is locked."""

from __future__ import annotations

import random
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.crash.database_down import RECOVERY, Survived, lock, restart, survive, terminate
from tests.crash.outbox import KEYS, copy_ledger, fill, names, prepared
from tests.postgres import Postgres, can_serve
from tests.soak.one import Runs, Soak
from uptake.adapters.ledger import open_ledger

COUNT = 100


@contextmanager
def opened() -> Runs:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uptake-soak-")))
        planned = prepared(folder, COUNT)
        postgres = None
        if can_serve():
            postgres = Postgres()
            stack.callback(postgres.remove)
            postgres.start()
            stack.callback(postgres.stop)

        def run(number: int) -> Mapping[str, object]:
            chance, home = random.Random(number), folder / f"home-{number}"
            home.mkdir()
            try:
                if postgres is None or number % 3 == 2:
                    url = copy_ledger(planned, home)
                    harms = [lock(home / "ledger.sqlite3", seconds=chance.uniform(0.2, 12)) for _ in range(3)]
                    found, kind = survive(url, home, harms, seed=number, count=COUNT), "locks"
                else:
                    name = f"t_{uuid.uuid4().hex}"
                    with psycopg.connect(f"{postgres.url}/postgres", autocommit=True) as admin:
                        admin.execute(f"create database {name}")
                    ledger = open_ledger(f"{postgres.url}/{name}", KEYS)
                    fill(ledger, names(COUNT))
                    ledger.close()
                    harms = [restart(postgres)] * 3 + [terminate(postgres, name)] * 20
                    chance.shuffle(harms)
                    found, kind = survive(f"{postgres.url}/{name}", home, harms, seed=number, count=COUNT), "crashes"
            finally:
                shutil.rmtree(home)
            return _told(number, kind, len(harms), found)

        yield run


def _told(number: int, kind: str, harms: int, found: Survived) -> Mapping[str, object]:
    lost = [*found.losses, *([f"back after {found.slowest:.0f} s"] if found.slowest > RECOVERY else [])]
    return {
        "run": number, "kind": kind, "harms": harms, "mails": found.accepted, "held": found.held,
        "duplicates": found.duplicates, "losses": len(lost), "lost": lost[:5], "errors": list(found.errors),
        "slowest": round(found.slowest, 2),
    }  # fmt: skip


SOAK = Soak(
    what="PostgreSQL crashes and cuts connections, SQLite is locked by another program, while two workers send",
    goal=50,
    counts="harms",
    open=opened,
)
