import json
from collections import Counter
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uptake.errors import Held
from uptake.operations.plan import plan, plans

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def test_what_plan_shows_is_what_the_ledger_shows_after(town):
    shown = town.plan().plan
    town.approve()
    town.tick()
    found = town.rows(
        "select e.account_id, c.contact_id, e.arm from enrollments e join enrollment_contacts c using (enrollment_id)"
    )
    assert set(town.entrants(shown)) == set(found)
    assert len(found) == shown.count_contacts > 10
    assert {arm for _, _, arm in found} == {"treatment", "holdout"}


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(seed=st.integers(0, 2**32), holdout=st.sampled_from(["0%", "25%", "100%"]))
def test_plan_and_ledger_agree_in_any_town(seed, holdout, tmp_path_factory, town):
    other = type(town)(tmp_path_factory.mktemp("town"))
    other.settle(12, seed=seed, contacts=3, shared_addresses=True)
    other.releases["alpha"] = other.release(holdout=holdout, workspace={"global_control": "10%"})
    other.publish()
    shown = other.entrants(other.plan().plan)
    other.approve()
    other.tick()
    found = other.rows(
        "select e.account_id, c.contact_id, e.arm from enrollments e join enrollment_contacts c using (enrollment_id)"
    )
    other.ledger.close()
    assert sorted(shown) == sorted(found)


def test_playbooks_planned_together_are_planned_as_if_alone(town, playbooks, now):
    town.releases["beta"] = town.release("beta", priority=10, holdout="30%")
    asked = {"git_sha": "abc", "now": now}
    alone = [plan(playbooks, town.journeys, town, town.ledger, name=name, **asked) for name in ("alpha", "beta")]
    together = list(plans(playbooks, town.journeys, town, town.ledger, names=["alpha", "beta"], **asked))
    assert [one.plan.plan_id for one in together] == [one.plan.plan_id for one in alone]
    assert [one.plan.summary["first_tick"] for one in together] == [one.plan.summary["first_tick"] for one in alone]


def test_a_plan_foresees_that_somebody_of_another_account_wins_the_address(town, now):
    town.settle(4, prefix="near", is_plain=True)
    for account_id, other in (("near-0", "near-1"), ("near-2", "near-3")):
        town.accounts[account_id]["plan"] = "free"
        for place in (0, 1):
            address = town.contacts[f"contact-{other}-{place}"]["address"]
            town.contacts[f"contact-{account_id}-{place}"]["address"] = address
    town.releases["alpha"] = town.release(holdout=0.0)
    free = {"where": "account.plan == 'free'", "contacts": {"max_per_account": 3}}
    town.releases["beta"] = town.release("beta", priority=900, holdout=0.0, audience=free)
    town.publish(snapshot_id="shared")
    town.approve()
    town.tick()
    town.send()
    later = now + 3 * DAY  # the second mail is due
    town.publish(later, snapshot_id="later")
    foreseen = town.plan("beta", now=later).plan.summary["first_tick"]
    town.approve("beta", now=later)
    town.tick(later)
    decided = town.rows(
        "select verdict || coalesce(':' || reason, ''), count(*) from decisions join enrollments using (enrollment_id)"
        " where playbook = 'beta' and superseded_at is null group by 1"
    )
    assert dict(decided) == foreseen
    assert foreseen["retry:priority_lost"]


def test_a_plan_is_stored_with_all_that_is_shown(town):
    town.accounts["account-0"] |= {"plan": "team", "age_days": 3}
    town.publish(snapshot_id="new")
    result = town.plan()
    stored = town.ledger.releases.plan(result.plan.plan_id)
    assert stored.plan_id.startswith("alpha-20260303T0900-")
    assert stored.summary == json.loads(json.dumps(result.plan.summary))
    arms = stored.summary["arms"]
    assert sum(arm["contacts"] for arm in arms.values()) == stored.count_contacts
    assert sum(arm["accounts"] for arm in arms.values()) == stored.count_accounts
    balance = stored.summary["balance"]
    for arm, counts in arms.items():
        assert sum(found.get(arm, 0) for found in balance.values()) == counts["accounts"]
    assert set(balance) == set(result.entry.contacts["stratum"].to_pylist())
    assert set(stored.summary["left_out"]) == {"open_ticket", "too_new"}
    assert stored.summary["texts"]["why"]["subject"] == "why"
    mails = sum(day["count_sends"] for day in stored.summary["sends_by_day"] if day["stage_key"] == "why")
    assert mails == arms["treatment"]["contacts"]


def test_planning_ten_times_enrolls_nobody(town):
    town.approve()
    town.tick()
    before = town.rows("select count(*) from enrollments")
    plans = {town.plan(now=town.snapshot.as_of + timedelta(minutes=n)).plan.release_hash for n in range(10)}
    town.approve(now=town.snapshot.as_of + timedelta(minutes=11))
    town.tick(town.snapshot.as_of + timedelta(hours=1))
    assert len(plans) == 1
    assert town.rows("select count(*) from enrollments") == before
    assert town.rows("select count(*) from playbook_versions") == [(1,)]


def test_the_plan_hash_knows_people_and_arms_and_the_release_hash_does_not(town):
    first = town.plan().plan
    town.accounts["account-1"]["plan"] = "free" if town.accounts["account-1"]["plan"] == "team" else "team"
    town.accounts["account-1"] |= {"age_days": 100, "count_open_tickets": 0}
    town.publish(snapshot_id="test-2")
    second = town.plan().plan
    assert second.release_hash == first.release_hash
    assert second.plan_hash != first.plan_hash


def test_without_a_snapshot_nothing_is_planned(town):
    town.snapshot = None
    with pytest.raises(Held, match="there is no snapshot yet"):
        town.plan()


def test_over_a_snapshot_that_did_not_pass_nothing_is_planned(town):
    town.publish(snapshot_id="bad", passed=False)
    with pytest.raises(Held, match="snapshot bad has no passed gate"):
        town.plan()
    assert town.rows("select count(*) from plans") == [(0,)]


def test_an_old_archive_can_be_planned(town):
    town.publish(town.snapshot.as_of - timedelta(days=4_000), snapshot_id="old")
    assert town.plan().plan.count_accounts > 0


def settle_down(town, start, days=(3, 10, 11)):
    """Let the mails of a day leave, or come too late for those who sleep then, and everybody complete."""
    town.send(start)
    for day in days:
        town.publish(start + day * DAY, snapshot_id=f"{start:%m%d}-{day}")
        assert town.tick(start + day * DAY).entered == {}
        town.send(start + day * DAY)


def test_a_plan_on_a_closed_day_of_its_calendar_is_that_of_the_next_day_and_its_approval_covers_it(town, now):
    opens = (now + 10 * DAY).date()
    news = {"enter": "calendar", "backfill": "none", "stages": {"news": {"email": "news.md"}}}
    town.releases["alpha"] = town.release(**news, calendar=[opens, opens + 30 * DAY])
    town.settle(60, prefix="more", is_plain=True)
    town.publish()
    planned = town.approve().plan
    assert planned.summary["opens_on"] == opens.isoformat()
    assert planned.count_accounts > 60
    assert {row["day"] for row in planned.summary["sends_by_day"]} <= {
        (opens + day * DAY).isoformat() for day in range(4)
    }
    assert sum(planned.summary["first_tick"].values()) > 60
    assert town.tick().entered == {}
    for day in (opens, opens + 30 * DAY):
        moment = datetime.combine(day, time(9), UTC)
        town.publish(moment, snapshot_id=f"s{day}")
        result = town.tick(moment)
        assert (result.held, result.entered) == ({}, {"alpha": planned.count_accounts})
        settle_down(town, moment)
    moment = datetime.combine(opens + 40 * DAY, time(9), UTC)
    assert town.plan(now=moment).plan.count_accounts == 0  # no day is left


def test_an_approval_on_an_open_day_covers_those_who_come_again_on_the_next(town, now):
    news = {"enter": "calendar", "backfill": "none", "stages": {"news": {"email": "news.md"}}}
    town.releases["alpha"] = town.release(**news, calendar=[now.date(), now.date() + 30 * DAY])
    town.approve()
    first = town.tick().entered["alpha"]
    settle_down(town, now, days=())
    town.releases["alpha"] = town.release(**news, calendar=[now.date(), now.date() + 30 * DAY], priority=7)
    assert town.approve(now=now + HOUR).plan.count_accounts == 0
    settle_down(town, now)
    town.publish(now + 30 * DAY, snapshot_id="s30")
    result = town.tick(now + 30 * DAY)
    assert (result.held, result.entered) == ({}, {"alpha": first})


def test_a_plan_for_programs_lists_everybody_with_the_reason(town):
    """What `--json` prints: no table cut short, nothing that only Python can read."""
    result = town.plan()
    shown = json.loads(json.dumps(result.as_json(), default=str))
    assert [(row["account_id"], row["contact_id"], row["arm"]) for row in shown["contacts"]] == town.entrants(
        result.plan
    )
    accounts = Counter(row["reason"] for row in shown["left_out"])
    assert accounts
    for reason, count in result.plan.summary["left_out"].items():
        assert accounts[reason] == (count["contacts"] or count["accounts"])
    told = Counter(
        f"{row['verdict']}:{row['reason']}" if row["reason"] else row["verdict"] for row in shown["first_tick"]
    )
    assert told == result.plan.summary["first_tick"]
    assert set(told) == {"send", "retry:outside_window"}
    assert shown["release"]["playbook"]["stages"]["why"]["email"] == "why.md"
