"""A playbook whose mail does harm pauses itself, and goes on when a person says so."""

from __future__ import annotations

from datetime import timedelta

from tests.operations.conftest import NOW
from uptake.domain.sends import DeliveryEvent, DeliveryEventType
from uptake.operations.guard_mail import harm_of
from uptake.operations.status import alarms

HOUR = timedelta(hours=1)


def tell(town, kind, send_ids, now=NOW, *, detail=""):
    """Let the mail service tell the same of some mails."""
    events = [
        DeliveryEvent(
            event_key=f"{kind}:{send_id}",
            event=kind,
            kind=detail,
            occurred_at=now,
            send_id=send_id,
            sg_message_id="m.1",
            address="mailbox@example.invalid",
            url="",
            reason="",
            topic_group=None,
        )
        for send_id in send_ids
    ]
    town.ledger.delivery.store(b"[]", now=now)
    (batch,) = town.ledger.delivery.unfolded(1)
    town.ledger.delivery.fold(batch, events, unreadable=0, now=now)


def begin(town):
    town.settle(30, prefix="more", is_plain=True)
    town.publish()
    town.approve()
    town.tick()
    return sorted(town.send())


def pauses(town):
    return town.rows("select scope, target, action, ordered_by from controls where scope = 'playbook'")


def test_three_complaints_pause_the_playbook_and_nobody_is_mailed_after(town):
    sent = begin(town)
    tell(town, DeliveryEventType.SPAM_REPORT, sent[:2])
    town.tick(NOW + HOUR)
    assert pauses(town) == []
    tell(town, DeliveryEventType.SPAM_REPORT, sent[2:3])
    assert "paused" in town.tick(NOW + 2 * HOUR).held["alpha"]
    assert pauses(town) == [("playbook", "alpha", "pause", "uptake")]
    reason = town.rows("select reason from controls")[0][0]
    assert reason.startswith(f"3 complaints of {len(sent)} mails (")
    assert reason.endswith("expected at most 0.30%")
    town.tick(NOW + timedelta(days=3))
    assert town.send(NOW + timedelta(days=3)) == []
    assert len(pauses(town)) == 1


def test_what_a_person_has_looked_at_pauses_it_once(town):
    sent = begin(town)
    tell(town, DeliveryEventType.BOUNCE, sent[:9], detail="bounce")
    town.tick(NOW + HOUR)
    town.ledger.releases.control("playbook", "alpha", "resume", reason="list mended", by="Ada", now=NOW + 2 * HOUR)
    town.tick(NOW + 3 * HOUR)
    assert [action for _, _, action, _ in pauses(town)] == ["pause", "resume"]


def test_old_mails_count_no_more(town):
    sent = begin(town)
    tell(town, DeliveryEventType.DROPPED, sent)
    release = town.releases["alpha"]
    week = release.workspace.guardrails.within
    (found,) = harm_of(town.ledger, [release], now=NOW + week).values()
    assert [one.is_stop for one in found] == [True]
    assert harm_of(town.ledger, [release], now=NOW + week + HOUR) == {"alpha": []}


def test_a_playbook_that_nobody_complains_about_goes_on(town):
    sent = begin(town)
    tell(town, DeliveryEventType.DELIVERED, sent)
    assert town.tick(NOW + HOUR).held == {}
    assert pauses(town) == []


def test_a_rate_that_is_only_high_is_an_alarm_and_pauses_nothing(town):
    sent = begin(town)
    limit = town.releases["alpha"].workspace.guardrails.bounces
    assert limit.warn < 3 / len(sent), "three bounces are more than the warning"
    tell(town, DeliveryEventType.BOUNCE, sent[:3], detail="bounce")
    town.tick(NOW + HOUR)
    assert pauses(town) == []
    (told,) = alarms(town.ledger, now=NOW + HOUR, tick_interval=HOUR)
    assert told.startswith(f"the mail of alpha: 3 bounces of {len(sent)} mails (")
