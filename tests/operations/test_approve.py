from datetime import timedelta

import pytest

from uptake.errors import Refused
from uptake.operations.approve import approve, approve_within_limits
from uptake.operations.entering import limit_of


def limit(town):
    """Return how many accounts may enter in one tick."""
    (one,) = town.ledger.releases.approved()
    return limit_of(one.plan, one.release.playbook, 0)


def test_an_approval_lasts_and_tolerates_what_the_workspace_says(town, now):
    town.releases["alpha"] = town.release(workspace={"approval": {"tolerance": "50%", "expires": "10d"}})
    approved = town.approve()
    assert approved.expires_at == now + timedelta(days=10)
    stored = town.ledger.releases.approved()[0]
    assert (stored.approved_by, stored.tolerance, stored.expires_at) == ("Ada", 0.5, approved.expires_at)


def test_an_unknown_plan_is_refused(town, now):
    with pytest.raises(Refused, match="no plan 'alpha-1'"):
        approve(town.ledger, plan_id="alpha-1", by="Ada", now=now)


@pytest.mark.parametrize("name", ["", "  ", "\n\t"])
def test_an_approval_needs_a_name(town, now, name):
    plan_id = town.plan().plan.plan_id
    with pytest.raises(Refused, match="nobody is named"):
        approve(town.ledger, plan_id=plan_id, by=name, now=now)
    assert town.ledger.releases.approved() == []


def test_a_plan_of_an_older_release_is_refused(town, now):
    old = town.plan().plan
    town.releases["alpha"] = town.release(holdout="50%")
    newer = town.plan().plan
    with pytest.raises(Refused, match=newer.plan_id):
        approve(town.ledger, plan_id=old.plan_id, by="Ada", now=now)
    approve(town.ledger, plan_id=newer.plan_id, by="Ada", now=now)


def test_an_older_plan_of_the_same_release_may_be_approved(town, now):
    old = town.plan().plan
    town.plan(now=now + timedelta(hours=1))
    approve(town.ledger, plan_id=old.plan_id, by="  Ada \n Lovelace ", now=now)
    assert town.ledger.releases.approved()[0].approved_by == "Ada Lovelace"


def test_approving_a_release_again_takes_nothing_back(town, now):
    # Everybody who matches has entered: the plan of the next day is empty, and must not hold who comes later.
    first = town.approve().plan
    town.tick()
    later = town.plan(now=now + timedelta(hours=1)).plan
    assert later.count_accounts < first.count_accounts
    again = approve(town.ledger, plan_id=later.plan_id, by="Ada", now=now + timedelta(hours=1))
    assert again.expires_at > now + timedelta(hours=1)
    assert limit(town) == first.count_accounts


def test_an_edit_of_what_people_get_takes_nothing_back(town, now):
    first = town.approve().plan
    town.tick()
    town.releases["alpha"] = town.release(stages={"why": {"email": "why.md", "after": "1d"}})
    edited = town.plan(now=now + timedelta(hours=1)).plan
    approve(town.ledger, plan_id=edited.plan_id, by="Ada", now=now + timedelta(hours=1))
    assert (edited.count_accounts, limit(town)) == (0, first.count_accounts)
    town.settle(3, prefix="new", is_plain=True)
    town.publish(snapshot_id="grown")
    assert town.tick(now + timedelta(hours=2)).entered == {"alpha": 3}


def test_a_changed_release_is_measured_by_its_own_plan(town, now):
    town.approve()
    town.tick()
    town.releases["alpha"] = town.release(holdout="50%")
    changed = town.plan(now=now + timedelta(hours=1)).plan
    assert approve(town.ledger, plan_id=changed.plan_id, by="Ada", now=now).plan.plan_id == changed.plan_id
    assert limit(town) == changed.count_accounts


# --- without a person ---------------------------------------------------------------------------------------

LIMITS = {"approval": {"automatic": {"accounts": 5, "mails": 40}}}


def ask(town, now):
    plan = town.plan(now=now).plan
    return approve_within_limits(town.ledger, plan_id=plan.plan_id, now=now)


@pytest.fixture
def launched(town, now):
    """A town whose first approval, by a person, allows small ones without."""
    town.releases["alpha"] = town.release(workspace=LIMITS)
    town.approve()
    town.tick()
    return town


def test_a_small_plan_of_edited_stages_needs_no_person(launched, now):
    launched.settle(3, prefix="new", is_plain=True)
    launched.publish(snapshot_id="few")
    launched.releases["alpha"] = launched.release(workspace=LIMITS, stages={"why": {"email": "why.md", "after": "1d"}})
    approved = ask(launched, now + timedelta(hours=1))
    assert approved.approved_by == "within limits"
    assert launched.tick(now + timedelta(hours=2)).entered == {"alpha": 3}


def test_what_no_person_ever_allowed_is_never_approved_by_itself(town, now):
    town.releases["alpha"] = town.release(workspace=LIMITS)
    with pytest.raises(Refused, match="a person has to approve it the first time"):
        ask(town, now)
    town.releases["alpha"] = town.release()
    town.approve()
    town.releases["alpha"] = town.release(workspace=LIMITS)  # brings its own limits
    with pytest.raises(Refused, match="the approved release sets no limits"):
        ask(town, now + timedelta(hours=1))
    with pytest.raises(Refused, match="no plan 'ghost'"):
        approve_within_limits(town.ledger, plan_id="ghost", now=now)


def test_every_way_beyond_the_limits_is_told_and_nothing_is_approved(launched, now):
    launched.settle(40, prefix="new", is_plain=True)
    launched.publish(snapshot_id="crowd")
    launched.releases["alpha"] = launched.release(workspace=LIMITS, holdout="0%", priority=7)
    with pytest.raises(Refused) as refused:
        ask(launched, now + timedelta(hours=1))
    said = str(refused.value)
    for reason in (
        "40 accounts would enter, the limit is 5",
        "mails would leave within two weeks, the limit is 40",
        "its audience rose from",
        "more than stages was edited: playbook holdout, playbook priority",
    ):
        assert reason in said
    assert [row["approved_by"] for row in launched.ledger.read("approvals")] == ["Ada"]


def test_a_snapshot_that_somebody_let_pass_needs_a_person(launched, now):
    launched.ledger.gates.record(
        snapshot_id="test", status="passed", checks=(), reasons=(), as_of=now, now=now, overridden_by="Grace",
        override_reason="a holiday",
    )  # fmt: skip
    with pytest.raises(Refused, match="the snapshot was let pass by Grace: a holiday"):
        ask(launched, now + timedelta(hours=1))
