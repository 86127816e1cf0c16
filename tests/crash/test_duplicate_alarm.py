"""A mail that left twice is never hidden: events with two messages of one send are an alarm."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from tests.crash.outbox import KEYS, NOW, address_of
from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.sendgrid import SEND_ID_ARG
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.operations.record_delivery import record_delivery
from uptake.operations.status import alarms
from uptake.testing import FixedClock

HOUR = timedelta(hours=1)


@pytest.fixture
def sent(planned: Path, home: Path):
    """A ledger, and a send that was accepted as message `first`."""
    ledger = open_ledger(f"sqlite:///{shutil.copy(planned, home / 'ledger.sqlite3')}", KEYS)
    one, *_ = ledger.sends.claim(owner="w", limit=1, now=NOW, lease=HOUR)
    ledger.sends.intend([one.send_id], owner="w", body_hash="x", now=NOW, deadline=NOW + HOUR)
    ledger.sends.accepted([one.send_id], message_id="first", now=NOW)
    yield ledger, one.send_id
    ledger.close()


def hear(ledger: SqlLedger, send_id: str, message: str, event: str = "delivered") -> list[str]:
    told = {"event": event, "email": address_of("c00000"), "timestamp": int(NOW.timestamp()), SEND_ID_ARG: send_id,
            "sg_message_id": f"{message}.filter0001.1.0"}  # fmt: skip
    ledger.delivery.store(orjson.dumps([told]), now=NOW)
    record_delivery(ledger, SendGridEvents(KEYS.pseudonym), clock=FixedClock(NOW))
    return alarms(ledger, now=NOW, tick_interval=HOUR)


def test_a_second_message_of_one_send_is_an_alarm(sent):
    ledger, send_id = sent
    assert hear(ledger, send_id, "first") == []
    (alarm,) = hear(ledger, send_id, "second", "open")
    assert alarm.startswith(f"the mail service took 1 messages twice, the first is {send_id}")


def test_what_was_dropped_never_left(sent):
    assert hear(*sent, "second", "dropped") == []


def test_what_a_person_sends_again_is_no_proof_against_the_engine(sent):
    ledger, send_id = sent
    with ledger._store.write() as connection:
        connection.exec_driver_sql("update sends set status = 'held' where send_id = ?", (send_id,))
    ledger.sends.release([send_id], by="Grace", reason="asked them", now=NOW)
    assert hear(ledger, send_id, "second") == []
