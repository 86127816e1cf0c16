"""T9: each run is a world of people who unsubscribe while they are claimed, intended and mailed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.crash.outbox import KEYS, fill, names
from tests.crash.unsubscribe_race import Race
from tests.postgres import can_serve, empty_database, server
from tests.soak.one import Runs, Soak
from uptake.adapters.ledger import open_ledger

PEOPLE = 250


@contextmanager
def opened() -> Runs:
    with ExitStack() as stack:
        address = stack.enter_context(server()) if can_serve() else None

        def run(number: int) -> Mapping[str, object]:
            on_postgres = address is not None and number % 2 == 1
            with ExitStack() as here:
                home = Path(here.enter_context(tempfile.TemporaryDirectory(prefix="uptake-soak-")))
                if on_postgres:
                    assert address is not None
                    url = here.enter_context(empty_database(address))
                else:
                    url = f"sqlite:///{home / 'ledger.sqlite3'}"
                ledger = open_ledger(url, KEYS)
                fill(ledger, names(PEOPLE))
                ledger.close()
                found = Race(url, home, number).run(workers=1 + number // 2 % 3)
            return {
                "run": number, "database": "postgresql" if on_postgres else "sqlite", "races": found.races,
                "mails": found.mails, "in_flight": found.in_flight, "duplicates": found.duplicates,
                "losses": len(found.losses), "lost": found.losses[:5],
            }  # fmt: skip

        yield run


SOAK = Soak(
    what="people unsubscribe (one click, preference page, event) around claim, intent and request of 1 to 3 workers, "
    "SQLite and PostgreSQL in turn; a loss: an intent committed after that, or a 2xx before its commit",
    goal=110,
    counts="races",
    open=opened,
)
