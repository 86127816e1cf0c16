"""T6 and T7: a storm of webhook posts, and one whose receiver is killed with -9. `make soak` runs more."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.outbox import KEYS, NOW
from tests.crash.posting import Receivers, weather, weather_kills
from tests.crash.storm import EVENTS_PER_SEND, brew, contacts_of, differences, postgres_ledger, prepare
from uptake.adapters.ledger import open_ledger
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.operations.record_delivery import record_delivery
from uptake.testing import FixedClock

EVENTS = 8_000  # different ones; a fifth more are posted
SENDS = EVENTS // EVENTS_PER_SEND
KILLS = 4  # and as many again at the points before and after a commit, more or less
MEMORY = 400e6


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    with Receivers() as running:
        yield running


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with mails the events may tell of."""
    path = tmp_path_factory.mktemp("storm") / "ledger.sqlite3"
    prepare(f"sqlite:///{path}", SENDS)
    return path


@pytest.fixture(scope="module")
def contacts(sent: Path) -> dict[str, str]:
    ledger = open_ledger(f"sqlite:///{sent}", KEYS)
    yield contacts_of(ledger)
    ledger.close()


@pytest.fixture
def urls(request: pytest.FixtureRequest, database: str, sent: Path, tmp_path: Path) -> Iterator[list[str]]:
    """Two copies of it: one for the storm, one for its replay."""
    with ExitStack() as stack:
        if database == "postgresql":
            server = request.getfixturevalue("postgres_server")
            yield [stack.enter_context(postgres_ledger(server, SENDS)) for _ in range(2)]
        else:
            yield [f"sqlite:///{shutil.copy(sent, tmp_path / name)}" for name in ("storm.sqlite3", "replay.sqlite3")]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_storm_ends_in_the_state_of_its_sorted_replay(urls, contacts, receivers):
    storm = brew(1, EVENTS, contacts)
    found = weather(storm, *urls, receivers)
    assert found.losses == ()
    assert found.posted.again == 0, "nothing was refused"
    assert found.peak < MEMORY


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_was_acknowledged_outlives_kills_of_the_receiver(urls, contacts, receivers):
    storm = brew(2, EVENTS // 4, contacts, most_bytes=8_000)
    found = weather_kills(storm, *urls, receivers, kills=KILLS, chance=random.Random(2))
    assert found.losses == ()
    assert found.kills >= KILLS


def test_the_small_model_notices_a_lost_body(sent, contacts, tmp_path):
    """What finds nothing wrong must be able to."""
    ledger = open_ledger(f"sqlite:///{shutil.copy(sent, tmp_path / 'ledger.sqlite3')}", KEYS)
    storm = brew(3, 500, contacts, most_bytes=8_000)
    ledger.delivery.store_all(storm.bodies[1:], now=NOW)
    record_delivery(ledger, SendGridEvents(KEYS.pseudonym), clock=FixedClock(NOW))
    assert differences(ledger, storm) != []
    ledger.delivery.store(storm.bodies[0], now=NOW)
    record_delivery(ledger, SendGridEvents(KEYS.pseudonym), clock=FixedClock(NOW))
    assert differences(ledger, storm) == []
    ledger.close()
