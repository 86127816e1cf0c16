from datetime import timedelta

import pytest

from tests.adapters.ledger.conftest import hash_of
from tests.adapters.ledger.test_delivery import Type, event, fold
from uptake.domain.guardrails import MailCounts
from uptake.domain.sends import SuppressionReason

HOUR = timedelta(hours=1)


def counts(world, since=None):
    (found,) = world.ledger.delivery.counts({world.release.name: since or world.now}).values()
    return found


@pytest.fixture
def sent(world):
    """Mails to five people, accepted."""
    send_ids = world.planned(*((f"c{number}", "a1") for number in range(5)))
    world.claim()
    assert world.intend(send_ids) == {}
    world.ledger.sends.accepted(send_ids, message_id="msg", now=world.now)
    return send_ids


def of(mails, **harms):
    every = {"complaints": 0, "bounces": 0, "unsubscribes": 0, "refusals": 0}
    return [MailCounts(mailbox_domain="example.invalid", mails=mails, harms=every | harms)]


def test_mails_count_by_what_became_of_them(world, sent):
    fold(
        world,
        event(world, Type.DELIVERED, sent[0], contact_id="c0"),
        event(world, Type.SPAM_REPORT, sent[0], contact_id="c0"),
        event(world, Type.SPAM_REPORT, sent[0], contact_id="c0", minutes=2),
        event(world, Type.BOUNCE, sent[1], contact_id="c1", detail="bounce"),
        event(world, Type.BOUNCE, sent[2], contact_id="c2", detail="blocked"),
        event(world, Type.DROPPED, sent[3], contact_id="c3"),
    )
    assert counts(world) == of(5, complaints=1, bounces=1, refusals=2)


def test_who_stops_mail_after_it_came_counts_whichever_way_they_do(world, sent):
    fold(world, event(world, Type.GROUP_UNSUBSCRIBE, sent[0], contact_id="c0", group=7))
    stop = world.ledger.people.suppress
    stop(hash_of("c1"), reason=SuppressionReason.UNSUBSCRIBED, topic=None, source="page", now=world.now + HOUR)
    stop(hash_of("c2"), reason=SuppressionReason.UNSUBSCRIBED, topic=None, source="page", now=world.now - HOUR)
    stop(hash_of("c3"), reason=SuppressionReason.IMPORTED, topic=None, source="a list", now=world.now + HOUR)
    assert counts(world) == of(5, unsubscribes=2)


def test_only_mails_since_count_and_none_from_before_a_person_resumed(world, sent):
    assert counts(world, world.now + HOUR) == []
    order = world.ledger.releases.control
    order("playbook", "another", "resume", reason="r", by="Ada", now=world.now + HOUR)
    order("playbook", world.release.name, "resume", reason="r", by="uptake", now=world.now + HOUR)
    assert counts(world) == of(5)
    order("all", "*", "resume", reason="r", by="Ada", now=world.now + HOUR)
    assert counts(world) == []


def test_each_playbook_has_its_own_mails(world, sent, make_world):
    other = make_world(name="another")
    (send_id,) = other.planned(("ann", "a1"))
    other.claim()
    assert other.intend([send_id]) == {}
    other.ledger.sends.accepted([send_id], message_id="msg", now=other.now)
    found = world.ledger.delivery.counts(dict.fromkeys(("another", world.release.name, "a third"), world.now))
    assert {name: sum(one.mails for one in counts) for name, counts in found.items()} == {
        "another": 1, "dashboards": 5, "a third": 0,
    }  # fmt: skip
    assert world.ledger.delivery.counts({}) == {}


def test_who_stops_after_two_mails_stops_once(world, sent):
    world.record(("c0", "how", "send"))
    world.claim()
    again = world.send_of("c0", "how")
    assert world.intend([again]) == {}
    world.ledger.sends.accepted([again], message_id="msg", now=world.now + HOUR)
    fold(world, event(world, Type.UNSUBSCRIBE, again, contact_id="c0", minutes=90))
    assert counts(world) == of(6, unsubscribes=1)
