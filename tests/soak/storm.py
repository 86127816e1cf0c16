"""T6: each run is a storm of webhook posts, on SQLite and PostgreSQL in turn, compared with its sorted replay."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.crash.outbox import KEYS
from tests.crash.posting import Receivers, Weathered, weather, weather_kills
from tests.crash.storm import EVENTS_PER_SEND, Storm, brew, contacts_of, postgres_ledger, prepare
from tests.postgres import can_serve, server
from tests.soak.one import Run, Runs, Soak
from uptake.adapters.ledger import open_ledger

EVENTS = 20_000
MEMORY = 400e6

Pass = Callable[[Storm, str, str, Receivers, int], Weathered]


@contextmanager
def storms(events: int, most_bytes: int, live: Pass) -> Iterator[Run]:
    """Prepare ledgers and receivers; a run lets one storm pass."""
    count = events // EVENTS_PER_SEND
    with ExitStack() as stack:
        receivers = stack.enter_context(Receivers())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uptake-soak-")))
        prepare(f"sqlite:///{folder / 'prepared.sqlite3'}", count)
        ledger = open_ledger(f"sqlite:///{folder / 'prepared.sqlite3'}", KEYS)
        contacts = contacts_of(ledger)
        ledger.close()
        address = stack.enter_context(server()) if can_serve() else None

        def run(number: int) -> Mapping[str, object]:
            on_postgres = address is not None and number % 2 == 1
            storm = brew(number, events, contacts, most_bytes=most_bytes)
            with ExitStack() as copies:
                if on_postgres:
                    assert address is not None
                    urls = [copies.enter_context(postgres_ledger(address, count)) for _ in range(2)]
                else:
                    home = Path(copies.enter_context(tempfile.TemporaryDirectory(dir=folder)))
                    urls = [f"sqlite:///{shutil.copy(folder / 'prepared.sqlite3', home / name)}" for name in "ab"]
                found = live(storm, *urls, receivers, number)
            losses = [*found.losses, *([f"{found.peak / 1e6:.0f} MB"] if found.peak > MEMORY else [])]
            return {
                "run": number, "database": "postgresql" if on_postgres else "sqlite", "events": storm.events,
                "kills": found.kills, "bodies": len(storm.bodies), "again": found.posted.again,
                "p99": round(found.posted.within(0.99), 3), "slowest": round(found.posted.within(1), 3),
                "peak": int(found.peak), "duplicates": 0, "losses": len(losses), "lost": losses[:5],
            }  # fmt: skip

        yield run


@contextmanager
def opened() -> Runs:
    with storms(EVENTS, 768 * 1024, lambda storm, url, replay, crew, _: weather(storm, url, replay, crew)) as run:
        yield run


def killing(kills: int) -> Pass:
    """Kill the receiver that often, and now and then once more at a commit."""
    return lambda storm, url, replay, crew, number: weather_kills(
        storm, url, replay, crew, kills=kills, chance=random.Random(number)
    )


SOAK = Soak(
    what="webhook events posted 50 bodies at once: 20 % twice, shuffled, 5 % without ids, 1 % of unknown types; a "
    "loss: an event missing or counted twice, a state that is not the sorted replay's, over 400 MB",
    goal=84,
    counts="events",
    open=opened,
)
