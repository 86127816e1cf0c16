"""On SQLite: what is done for a few mails looks at those, however many there are."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from uptake.domain.eligibility import Reason
from uptake.domain.sends import DeliveryEvent, DeliveryEventType

PEOPLE = [(f"c{number}", f"a{number}") for number in range(12)]
MINUTE = timedelta(minutes=1)
#: Tables with a row for each person, message or event, and more.
LARGE = [
    "people",
    "sends",
    "enrollments",
    "enrollment_contacts",
    "assignments",
    "suppressions",
    "consents",
    "preferences",
    "decisions",
    "delivery_events",
]
#: A part of a table that is small: indexes with a condition of their own.
_SMALL = re.compile(r"USING (COVERING )?INDEX ix_sends_(planned|claimed|sending|stuck)")


@pytest.fixture
def database() -> str:
    return "sqlite"


@pytest.fixture
def scans(ledger):
    """What SQLite says of each statement that reads the whole of a large table, by statement."""
    found: dict[str, str] = {}
    engine = ledger._store._engine
    asked: set[str] = set()

    def look(connection, cursor, statement, parameters, context, executemany):
        if executemany or statement in asked or not re.match(r"\s*(select|update|delete|with)", statement, re.I):
            return
        asked.add(statement)
        plan = connection.connection.driver_connection.execute(f"explain query plan {statement}", parameters)
        for *_, step in plan.fetchall():
            scanned = re.match(r"SCAN (\w+)", step)
            if scanned and scanned[1] in LARGE and not _SMALL.search(step):
                found[statement] = step

    sa.event.listen(engine, "before_cursor_execute", look)
    yield found
    sa.event.remove(engine, "before_cursor_execute", look)
    assert len(asked) > 5, "nothing was looked at"


def test_a_worker_that_sends_reads_no_large_table_whole(world, scans):
    world.planned(*PEOPLE)
    scans.clear()  # planning is for all of them
    sends, now = world.ledger.sends, world.now
    sends.expire(now=now)
    ids = [claimed.send_id for claimed in world.claim(limit=9)]
    assert world.intend(ids[:8]) == {}
    sends.accepted(ids[:2], message_id="m", now=now)
    sends.sandboxed(ids[2:3], now=now)
    sends.unknown(ids[3:5], detail="no answer", now=now)
    sends.failed(ids[5:6], detail="no", now=now)
    sends.put_back(ids[6:7], now=now)
    sends.withheld(ids[7:8], reason=Reason.OUTSIDE_WINDOW, now=now)
    sends.expire(now=now + 9 * MINUTE)
    assert sends.hold(before=now + MINUTE, now=now) == 3
    assert sends.release(ids[3:4], by="Grace", reason="seen", now=now) == 1
    assert scans == {}


def test_a_fold_of_events_reads_no_large_table_whole(world, scans):
    ids = world.planned(*PEOPLE)
    world.claim()
    world.intend(ids)
    world.ledger.sends.accepted(ids, message_id="m", now=world.now)
    scans.clear()
    delivery = world.ledger.delivery
    for number, kind in enumerate(DeliveryEventType):
        delivery.store(b"[]", now=world.now)
        batch = delivery.unfolded(10)[-1]
        delivery.fold(batch, [_event(world, kind, ids[number % 12], number)], unreadable=0, now=world.now)
    assert scans == {}


def test_what_one_person_does_reads_no_large_table_whole(world, scans):
    world.planned(*PEOPLE)
    scans.clear()
    people, now = world.ledger.people, world.now
    assert people.person("c1")
    people.unsubscribe("c1", topic=None, source="one_click", now=now)
    people.unsubscribe("c2", topic="product-training", source="page", now=now)
    people.answer("c3", kind="not_needed", feature_key="dashboards", now=now)
    assert people.answer_of("c3", feature_key="dashboards") == "not_needed"
    people.take_back_answer("c3", feature_key="dashboards", now=now)
    assert world.ledger.enrollments.leave(world.release.name, "a4", reason="renewal", by="Grace", now=now) == 1
    assert scans == {}


def _event(world, kind: DeliveryEventType, send_id: str, number: int) -> DeliveryEvent:
    """An event; every third names no send, as a bounce may."""
    named = number % 3 > 0
    return DeliveryEvent(
        event_key=f"e{number}", event=kind, kind="", occurred_at=world.now + MINUTE, send_id=send_id if named else None,
        sg_message_id="m.filter-1" if named else None, address=f"c{number % 12}@example.invalid", url="", reason="",
        topic_group=None,
    )  # fmt: skip
