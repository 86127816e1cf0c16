from __future__ import annotations

import itertools
from datetime import timedelta, timezone

import pytest
import sqlalchemy as sa

from uptake.adapters.ledger.schema import suppressions
from uptake.domain.eligibility import Reason
from uptake.domain.sends import DeliveryEvent, DeliveryEventType
from uptake.errors import LedgerError
from uptake.ports import ReadBatch

ANN, BOB = ("ann", "a1"), ("bob", "a1")
MINUTE = timedelta(minutes=1)
Type = DeliveryEventType
KEPT_OF_A_STOP = ("topic", "topic_group", "reason", "source", "suppressed_at", "lifted_at")


def event(world, kind: Type, send_id: str | None, *, minutes=1, contact_id="ann", detail="", reason="", group=None):
    address = f"{contact_id}@example.invalid"
    occurred_at = world.now + minutes * MINUTE
    return DeliveryEvent(
        event_key=f"{send_id or address}:{kind}:{detail}:{occurred_at}",
        event=kind,
        kind=detail,
        occurred_at=occurred_at,
        send_id=send_id,
        sg_message_id="msg.filter-1" if send_id else None,
        address=address,
        url="",
        reason=reason,
        topic_group=group,
    )


def fold(world, *events: DeliveryEvent) -> int:
    delivery = world.ledger.delivery
    delivery.store(b"[]", now=world.now)
    (batch,) = delivery.unfolded(10)
    return delivery.fold(batch, events, unreadable=0, now=world.now)


@pytest.fixture
def sent(world):
    """A mail to ann, accepted."""
    (send_id,) = world.planned(ANN)
    world.claim()
    assert world.intend([send_id]) == {}
    world.ledger.sends.accepted([send_id], message_id="msg", now=world.now)
    return send_id


def row(world, send_id):
    (found,) = world.ledger.read("send", send_id=send_id)
    return found


def test_a_body_is_kept_as_it_came_until_it_is_folded(world):
    body = b'[{"caf\xc3\xa9": 1}]\r\n'
    batch_id = world.ledger.delivery.store(body, now=world.now)
    (batch,) = world.ledger.delivery.unfolded(10)
    assert (batch.batch_id, batch.body, batch.received_at) == (batch_id, body, world.now)
    assert world.ledger.delivery.fold(batch, [], unreadable=1, now=world.now) == 0
    assert world.ledger.delivery.unfolded(10) == []


def test_an_event_counts_once_however_often_it_comes(world, sent):
    delivered = event(world, Type.DELIVERED, sent)
    assert fold(world, delivered, delivered) == 1
    assert fold(world, delivered) == 0
    assert row(world, sent)["status"] == "delivered"
    assert row(world, sent)["delivered_at"] == world.now + MINUTE


@pytest.mark.parametrize("told", [None, "other.filter-1"])
def test_the_message_id_of_the_answer_stays(world, sent, told):
    fold(world, event(world, Type.DELIVERED, sent)._replace(sg_message_id=told))
    assert (row(world, sent)["status"], row(world, sent)["message_id"]) == ("delivered", "msg")


def test_the_first_message_id_that_is_told_is_kept(world):
    (send_id,) = world.planned(ANN)
    world.claim()
    world.intend([send_id])
    told = [(Type.PROCESSED, None), (Type.DEFERRED, "msg.filter-1"), (Type.DELIVERED, "other.filter-1")]
    events = [
        event(world, kind, send_id, minutes=minutes)._replace(sg_message_id=message_id)
        for minutes, (kind, message_id) in enumerate(told, start=1)
    ]
    fold(world, *reversed(events))
    assert row(world, send_id)["message_id"] == "msg"


def test_order_does_not_matter(world):
    kinds = [(Type.PROCESSED, 1), (Type.DELIVERED, 2), (Type.BOUNCE, 4)]
    orders = list(itertools.permutations(kinds))
    send_ids = world.planned(*((f"c{number}", "a1") for number in range(len(orders))))
    world.claim()
    assert world.intend(send_ids) == {}
    world.ledger.sends.unknown(send_ids, detail="time-out", now=world.now)
    for step in zip(*orders, strict=True):
        events = [
            event(world, kind, send_id, minutes=minutes, contact_id=f"c{number}", detail="blocked")
            for number, (send_id, (kind, minutes)) in enumerate(zip(send_ids, step, strict=True))
        ]
        fold(world, *events)
    found = [row(world, send_id) for send_id in send_ids]
    seen = {(row["status"], row["accepted_at"], row["delivered_at"], row["message_id"]) for row in found}
    assert seen == {("bounced", world.now + MINUTE, world.now + 2 * MINUTE, "msg")}


@pytest.mark.parametrize("guess", ["unknown", "failed"])
def test_an_event_proves_acceptance_against_our_guess(world, guess):
    (send_id,) = world.planned(ANN)
    world.claim()
    world.intend([send_id])
    getattr(world.ledger.sends, guess)([send_id], detail="x", now=world.now)
    fold(world, event(world, Type.PROCESSED, send_id))
    found = row(world, send_id)
    assert (found["status"], found["accepted_at"], found["message_id"]) == ("accepted", world.now + MINUTE, "msg")


def test_a_second_resolution_clock_accepts_nothing_before_it_was_sent(world):
    world.now += timedelta(microseconds=700_000)
    (send_id,) = world.planned(ANN)
    world.claim()
    world.intend([send_id])
    truncated = event(world, Type.PROCESSED, send_id, minutes=0)
    fold(world, truncated._replace(occurred_at=world.now.replace(microsecond=0)))
    assert row(world, send_id)["accepted_at"] == world.now


@pytest.mark.parametrize(
    ("kind", "detail", "reason", "stops"),
    [
        (Type.BOUNCE, "bounce", "550", True),
        (Type.BOUNCE, "blocked", "421", False),
        (Type.SPAM_REPORT, "", "", True),
        (Type.UNSUBSCRIBE, "", "", True),
        (Type.DROPPED, "", "Bounced Address", True),
        (Type.DROPPED, "", "Something else", False),
        (Type.OPEN, "", "", False),
    ],
)
def test_events_suppress_the_address(world, sent, kind, detail, reason, stops):
    world.record(("ann", "how", "send"))
    fold(world, event(world, kind, sent, detail=detail, reason=reason))
    world.claim()
    how = world.send_of("ann", "how")
    assert world.intend([how]) == ({how: Reason.SUPPRESSED} if stops else {})


def test_a_bounce_without_ids_suppresses_by_address_in_any_writing(world, sent):
    world.record(("ann", "how", "send"))
    late = event(world, Type.BOUNCE, None, detail="bounce")
    fold(world, late._replace(address=" ANN@Example.INVALID "))
    world.claim()
    how = world.send_of("ann", "how")
    assert world.intend([how]) == {how: Reason.SUPPRESSED}


def test_a_group_unsubscribe_stops_its_topic_until_it_is_taken_back(world, sent):
    def topics():
        return world.ledger.enrollments.tables(now=world.now)["suppressions"]["topic"].to_pylist()

    fold(world, event(world, Type.GROUP_UNSUBSCRIBE, sent, minutes=5, group=7))
    assert topics() == ["product-training"]
    fold(world, event(world, Type.GROUP_RESUBSCRIBE, sent, minutes=4, group=7))
    assert topics() == ["product-training"], "an older answer that comes late changes nothing"
    fold(world, event(world, Type.GROUP_RESUBSCRIBE, sent, minutes=6, group=7))
    assert topics() == []
    fold(world, event(world, Type.GROUP_UNSUBSCRIBE, sent, minutes=9, group=99))
    assert topics() == ["group:99"]
    with world.ledger._store.read() as connection:
        rows = connection.execute(sa.select(*(suppressions.c[name] for name in KEPT_OF_A_STOP))).all()
    stopped, taken_back, again = (world.now + minutes * MINUTE for minutes in (5, 6, 9))
    assert {tuple(one) for one in rows} == {
        ("product-training", 7, "unsubscribed", "delivery_event", stopped, taken_back),
        ("group:99", 99, "unsubscribed", "delivery_event", again, None),
    }


def test_the_order_of_unsubscribe_and_resubscribe_does_not_matter(world, sent):
    kinds = {1: Type.GROUP_UNSUBSCRIBE, 2: Type.GROUP_RESUBSCRIBE, 3: Type.GROUP_UNSUBSCRIBE}
    for number, order in enumerate(itertools.permutations(kinds), start=1):
        for minutes in order:
            fold(world, event(world, kinds[minutes], None, minutes=minutes, contact_id=f"c{number}", group=7))
        assert world.ledger.enrollments.tables(now=world.now)["suppressions"].num_rows == number


def test_addresses_are_not_kept_with_events(world, sent):
    said = "550 5.1.1 <ann@example.invalid>: no such user"
    nameless = event(world, Type.DROPPED, sent, reason="Invalid")._replace(address="")
    fold(world, event(world, Type.BOUNCE, sent, detail="bounce", reason=said), nameless)
    with world.ledger._store.read() as connection:
        rows = connection.exec_driver_sql("select * from delivery_events").all()
        reasons = connection.exec_driver_sql("select reason from delivery_events").scalars().all()
    assert "ann@" not in str(rows)
    assert set(reasons) == {"550 5.1.1 <<address>>: no such user", "Invalid"}


def test_an_event_for_a_send_never_claimed_locks_sending(world):
    (send_id,) = world.planned(ANN)
    fold(world, event(world, Type.DELIVERED, send_id))
    assert row(world, send_id)["status"] == "delivered", "and is believed"
    assert "restored" in (world.ledger.releases.controls().sending_locked or "")
    world.record(("ann", "how", "send"))
    assert world.claim() == []


def test_an_event_for_an_unknown_send_locks_sending_and_is_kept(world, sent):
    assert fold(world, event(world, Type.DELIVERED, "f" * 32)) == 1
    assert world.ledger.releases.controls().sending_locked is not None


def test_events_of_our_own_sends_lock_nothing(world, sent):
    fold(world, event(world, Type.DELIVERED, sent))
    assert world.ledger.releases.controls().sending_locked is None


def test_the_ledger_keeps_moments_as_utc(world):
    paris = world.now.astimezone(timezone(timedelta(hours=1)))
    world.ledger.delivery.store(b"x", now=paris)
    (batch,) = world.ledger.delivery.unfolded(1)
    assert batch.received_at == world.now
    assert batch.received_at.utcoffset() == timedelta(0)
    with pytest.raises(Exception, match="no time zone"):
        world.ledger.delivery.store(b"x", now=world.now.replace(tzinfo=None))


def test_a_resubscribe_that_names_no_group_takes_nothing_back(world, sent):
    def stopped():
        return world.ledger.enrollments.tables(now=world.now)["suppressions"]["topic"].to_pylist()

    fold(world, event(world, Type.GROUP_UNSUBSCRIBE, sent, minutes=1, group=None))
    assert stopped() == [None], "an unsubscribe that names no group stops everything"
    fold(world, event(world, Type.GROUP_RESUBSCRIBE, sent, minutes=5, group=None))
    assert stopped() == [None]


def test_an_event_that_changes_nothing_of_a_send_moves_no_stage(world):
    """Where nothing was accepted, a stage ended when its send last changed; the next stage waits from there on."""
    (send_id,) = world.planned(ANN)
    world.claim()
    world.intend([send_id])
    world.ledger.sends.failed([send_id], detail="400", now=world.now)
    failed_at = world.now.replace(tzinfo=None)
    world.now += timedelta(days=1)
    fold(world, event(world, Type.OTHER, send_id)._replace(sg_message_id=None))
    (end,) = world.ledger.enrollments.tables(now=world.now)["stage_ends"].to_pylist()
    assert (world.status(send_id), end["ended_at"]) == ("failed", failed_at)


def test_more_events_of_a_send_that_was_looked_up_do_not_lock_again(world, sent):
    fold(world, event(world, Type.PROCESSED, "f" * 32))
    forgotten = world.ledger.releases.controls().forgotten
    assert forgotten.since == world.now + MINUTE - timedelta(days=1), "a day before the first word of it"
    world.ledger.releases.control("forgotten", "x", "resume", reason="asked", by="uptake", now=world.now)
    fold(world, event(world, Type.OPEN, "f" * 32, minutes=3))
    assert world.ledger.releases.controls().forgotten is None


def test_a_send_planned_after_its_events_came_is_folded_and_never_claimed(world, make_world):
    """As in a ledger that was restored: it plans again what the service has taken long ago."""
    world.load(ANN)
    world.enter(ANN)
    send_id = world.send_of("ann")
    fold(world, event(world, Type.DELIVERED, send_id))
    world.ledger.releases.control("forgotten", "x", "resume", reason="asked", by="uptake", now=world.now)
    world.record(("ann", "why", "send"))
    assert row(world, send_id)["status"] == "planned"
    assert world.claim() == []
    assert row(world, send_id)["status"] == "delivered"
    assert row(world, send_id)["accepted_at"] == world.now + MINUTE


def test_old_bodies_go_and_what_they_told_stays(world, sent):
    fold(world, event(world, Type.DELIVERED, sent))
    world.ledger.delivery.store(b"[1]", now=world.now)
    drop = world.ledger.delivery.drop_bodies
    assert drop(before=world.now) == 0
    assert (drop(before=world.now + MINUTE), drop(before=world.now + MINUTE)) == (1, 0)
    assert row(world, sent)["status"] == "delivered"
    assert [batch.body for batch in world.ledger.delivery.unfolded(9)] == [b"[1]"]


def test_bodies_are_stored_all_or_none_and_read_in_their_order(world):
    delivery = world.ledger.delivery
    batch_ids = delivery.store_all([b"[1]", b"[2]", b"[3]"], now=world.now)
    assert [batch.batch_id for batch in delivery.unfolded(9)] == sorted(batch_ids)
    assert [batch.body for batch in delivery.unfolded(1, after=batch_ids[0])] == [b"[2]"]
    with pytest.raises(LedgerError):
        delivery.store_all([b"[4]", None], now=world.now)
    assert len(delivery.unfolded(9)) == 3


def test_no_more_bodies_are_read_at_once_than_memory_should_hold(world):
    delivery, long = world.ledger.delivery, b"x" * 5_000_000
    first, *_ = delivery.store_all([long, long, b"[]"], now=world.now)
    assert [len(batch.body) for batch in delivery.unfolded(9)] == [len(long)]
    assert [len(batch.body) for batch in delivery.unfolded(9, after=first)] == [len(long), 2]


def test_batches_that_are_folded_together_are_told_apart(world, sent):
    delivery = world.ledger.delivery
    delivery.store_all([b"[1]", b"[2]"], now=world.now)
    told = [event(world, Type.DELIVERED, sent), event(world, Type.OPEN, sent)]
    read = [
        ReadBatch(batch=batch, events=events, unreadable=0)
        for batch, events in zip(delivery.unfolded(9), (told[:1], told), strict=True)
    ]
    assert delivery.fold_all(read, now=world.now) == [1, 1]
    assert delivery.unfolded(9) == []
    assert row(world, sent)["status"] == "delivered"


def test_what_was_heard_before_a_send_was_planned_counts_with_what_comes_after(world):
    """In a ledger that had forgotten it: else the order of events would decide what became of a mail."""
    world.load(ANN)
    world.enter(ANN)
    send_id = world.send_of("ann")
    fold(world, event(world, Type.BOUNCE, send_id, minutes=2, detail="bounce"))
    world.record(("ann", "why", "send"))
    fold(world, event(world, Type.PROCESSED, send_id))
    assert row(world, send_id)["status"] == "bounced"


def test_an_event_that_proves_nothing_keeps_no_send_from_being_made(world):
    world.load(ANN)
    world.enter(ANN)
    send_id = world.send_of("ann")
    fold(world, event(world, Type.OTHER, send_id))
    world.ledger.releases.control("forgotten", "x", "resume", reason="asked", by="uptake", now=world.now)
    world.record(("ann", "why", "send"))
    assert [one.send_id for one in world.claim()] == [send_id]
