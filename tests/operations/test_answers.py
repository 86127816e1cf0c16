"""From the preference page to the tick: who said that they need no lesson on a feature is taught it by no playbook."""

from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from tests.operations.conftest import KEYS
from uptake.adapters.tokens import Claim, Tokens
from uptake.domain.arms import Arm, arm_of
from uptake.domain.eligibility import Reason
from uptake.errors import Refused
from uptake.operations.backtest import backtest
from uptake.operations.by_hand import enter
from uptake.operations.explain import explain
from uptake.summaries.explanation import explanation_summary
from uptake.testing import FixedClock
from uptake.web_public import create_public_app

DAY = timedelta(days=1)
MAILS = {"stages": {"why": {"email": "why.md"}, "how": {"email": "how.md", "after": "3d"}}}


@pytest.fixture
def town(town, now):
    """Twelve accounts of one person each, taught dashboards by alpha."""
    for rows in (town.accounts, town.contacts, town.states):
        rows.clear()
    town.settle(12, contacts=1, is_plain=True)
    for row in town.contacts.values():
        row["time_zone"] = "Europe/Berlin"  # everybody's window is open
    town.releases["alpha"] = town.release(holdout="0%", re_entry={"after": "5d", "max": 2}, **MAILS)
    town.publish(snapshot_id="s0")
    town.approve()
    town.tick()
    town.send()
    return town


def choose(town, contact_id, choice, now):
    """Press a button of the page that a mail about dashboards links to."""
    tokens = Tokens(KEYS.tokens)
    app = create_public_app(town.ledger, tokens=tokens, clock=FixedClock(now), webhook_keys=())
    token = tokens.sign(Claim(contact_id=contact_id, topic="training", feature_key="dashboards"))
    assert TestClient(app).post(f"/p/{token}", data={"choice": choice}).status_code == 200


def contact_of(number):
    return f"contact-account-{number}-0"


def entered(town, playbook):
    query = (
        "select contact_id from enrollment_contacts join enrollments using (enrollment_id)"
        " where playbook = ? order by entry_no, enrollment_id"
    )
    return [contact_id for (contact_id,) in town.rows(query, playbook)]


def told(town, now, contact_id, playbook):
    found = explain(town.journeys, town, town.ledger, contact_id=contact_id, now=now, playbook=playbook)
    return found.playbooks[0], explanation_summary(found)


def test_an_answer_on_the_page_keeps_another_playbook_away_until_it_is_taken_back(town, playbooks, now):
    for number, choice in enumerate(("not_needed", "already_do", "colleague")):
        choose(town, contact_of(number), choice, now + DAY)
    out, later = [contact_of(number) for number in range(3)], now + 2 * DAY
    town.releases["beta"] = town.release("beta", holdout="0%", **MAILS)
    town.publish(later, snapshot_id="s2")
    planned = town.plan("beta", now=later)
    assert planned.plan.summary["left_out"] == {"answered": {"accounts": 3, "contacts": 3}}
    assert [row["contact_id"] for row in planned.entry.left_out.to_pylist()] == out
    town.history = lambda source: [{"snapshot_id": "s2", "as_of": later.isoformat()}]
    town.open = lambda snapshot_id: town.snapshot
    days = {"first": later.date(), "last": later.date(), "now": later}
    past = backtest(playbooks, town.journeys, town, town.ledger, names=["beta"], source="x", **days)
    assert past.playbooks[0].left_out["answered"] == 3
    assert past.playbooks[0].entered == {"treatment": 9}

    town.approve("beta", now=later)
    assert town.tick(later).entered == {"beta": 9}
    assert not {*out} & {*entered(town, "beta")}
    answer, text = told(town, later, out[1], "beta")
    assert (answer.left_out, answer.answered.answer, answer.answered.given_at) == ("answered", "already_do", now + DAY)
    assert "Left out: answered." in text
    assert "Has answered on the preference page that they already do this (2026-03-04 09:00 UTC)" in text
    with pytest.raises(Refused, match="was not taken into beta: answered"):
        enter(
            town.journeys, town, town.ledger, account_id="account-0", playbook="beta", now=later,
            reason="Asked for it", by="Ada",
        )  # fmt: skip

    choose(town, out[1], "take_back", later)
    answer, text = told(town, later, out[1], "beta")
    assert (answer.enters, answer.left_out, answer.answered) == (True, None, None)
    assert town.tick(later + timedelta(hours=1)).entered == {"beta": 1}
    assert entered(town, "beta")[-1] == out[1]


def test_a_playbook_whose_own_mail_was_answered_takes_nobody_in_again_for_it(town, now):
    choose(town, contact_of(0), "not_needed", now + DAY)
    for day in (1, 3, 4, 10):
        town.publish(now + day * DAY, snapshot_id=f"s{day}")
        town.tick(now + day * DAY)
        town.send(now + day * DAY)
    again = entered(town, "alpha")[12:]
    assert len(again) == 11
    assert contact_of(0) not in again


def test_an_answer_to_another_playbooks_mail_keeps_out_of_both_arms_alike(town, now):
    """It came before the first entry, by a mail whose draw knows nothing of this one's: so lift stays a comparison."""
    town.settle(200, contacts=1, is_plain=True, prefix="more")
    town.publish(now, snapshot_id="s0-more")
    town.approve()
    town.tick()
    said = sorted(town.contacts)[::2]
    for contact_id in said:
        town.ledger.people.answer(contact_id, kind="already_do", feature_key="dashboards", now=now)
    town.releases["beta"] = town.release("beta", holdout="30%", **MAILS)
    planned = town.plan("beta")
    arms = {}
    for row in planned.entry.contacts.to_pylist():
        arms.setdefault(row["arm"], set()).add(row["contact_id"])
    drawn = {
        contact_id: arm_of(row["account_id"], salt="beta", holdout=0.3, global_control=0.0)
        for contact_id, row in town.contacts.items()
    }
    for arm in (Arm.TREATMENT, Arm.HOLDOUT):
        mine = {contact_id for contact_id in town.contacts if drawn[contact_id] == arm}
        assert arms[arm] == mine - {*said}
        assert mine & {*said}


def test_an_answer_that_comes_while_a_tick_takes_in_is_found_at_the_intent_and_ends_at_the_next_tick(town, now):
    town.releases["beta"] = town.release("beta", holdout="0%", **MAILS)
    later = now + DAY
    town.publish(later, snapshot_id="s1")
    town.approve("beta", now=later)
    decide = town.journeys.entrants

    def answered_meanwhile(*args, **more):
        entry = decide(*args, **more)
        choose(town, contact_of(0), "already_do", later)
        return entry

    town.journeys.entrants = answered_meanwhile
    assert town.tick(later).entered == {"beta": 12}
    del town.journeys.entrants
    claimed = town.ledger.sends.claim(owner="w", limit=100, now=later, lease=DAY)
    (mine,) = [one.send_id for one in claimed if one.contact_id == contact_of(0)]
    options = {"owner": "w", "body_hash": "h", "now": later, "deadline": later + DAY}
    assert town.ledger.sends.intend([one.send_id for one in claimed], **options) == {mine: Reason.ANSWERED}
    assert town.tick(later + timedelta(hours=1)).counts["end:answered"] == 1
