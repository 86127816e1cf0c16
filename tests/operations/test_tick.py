from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uptake.domain.eligibility import Reason
from uptake.operations.explain import explain
from uptake.operations.tasks import close_task
from uptake.operations.tick import KIND

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def test_a_tick_takes_in_and_plans_the_first_stage_in_the_window_of_each(town, now):
    town.approve()
    result = town.tick()
    assert result.status == "done"
    assert result.reasons == ()
    planned = dict(town.rows("select p.time_zone, count(*) from sends s join people p using (contact_id) group by 1"))
    assert "Asia/Tokyo" not in planned  # it is 18:00 there
    assert result.counts["send"] == sum(planned.values()) > 3
    assert result.counts["retry:outside_window"] > 0
    assert result.entered == {"alpha": town.rows("select count(*) from enrollments")[0][0]}
    assert town.rows("select distinct arm from sends") == [("treatment",)]


def test_nobody_enters_before_an_approval(town):
    town.plan()
    assert town.tick().entered == {}
    assert town.rows("select count(*) from enrollments") == [(0,)]


def test_a_second_tick_at_the_same_moment_changes_nothing(town):
    town.approve()
    town.tick()
    before = town.everything()
    again = town.tick()
    assert again.counts.get("send", 0) == 0
    assert town.everything() == before


def test_a_second_tick_beside_a_living_one_does_nothing(town, now):
    town.approve()
    town.ledger.runs.begin(KIND, owner="other", now=now, lease=HOUR)
    assert town.tick().status == "another tick is running"
    assert town.rows("select count(*) from enrollments") == [(0,)]
    assert town.tick(now + 2 * HOUR).status == "done"


def test_a_tick_that_fails_frees_the_fence_and_tells_no_detail(town, now, monkeypatch):
    town.approve()

    def fail(*_args, **_options):
        raise RuntimeError("mailbox-1@example.invalid")

    monkeypatch.setattr(town.journeys, "advance", fail)
    with pytest.raises(RuntimeError):
        town.tick()
    monkeypatch.undo()
    assert town.rows("select status, detail from runs") == [("failed", "RuntimeError")]
    assert town.tick(now + timedelta(seconds=1)).counts["send"] > 0


def test_the_whole_journey_is_walked_once(town, now):
    town.approve()
    for day in range(12):
        moment = now + day * DAY - timedelta(minutes=30)  # everybody's window is open
        town.publish(moment, snapshot_id=f"s{day}")
        town.tick(moment)
        town.send(moment)
        for task in town.ledger.read("open_tasks"):
            close_task(town.ledger, task_id=task["task_id"], outcome="done", reason="Done", by="Ada", now=moment)
    stages = Counter(town.rows("select contact_id, stage_key from sends"))
    treated = town.rows(
        "select contact_id from enrollment_contacts join enrollments using (enrollment_id) where arm = 'treatment'"
    )
    assert set(stages) == {(contact_id, key) for (contact_id,) in treated for key in ("why", "how")}
    assert set(stages.values()) == {1}
    assert set(town.rows("select status, end_reason from enrollments")) == {("ended", "completed")}
    assert len(town.rows("select * from tasks")) == len(town.rows("select * from enrollments where arm = 'treatment'"))


# --- the gate -----------------------------------------------------------------------------------------------


def test_without_a_passed_gate_nobody_enters_and_nothing_is_sent(town, now):
    town.approve()
    town.tick()
    town.send()
    town.publish(now + 3 * DAY, snapshot_id="bad", passed=False)
    result = town.tick(now + 3 * DAY)
    assert result.gate_held == "snapshot bad has no passed gate"
    assert set(result.counts) == {"retry:gate_held"}
    assert result.entered == {}


@pytest.mark.parametrize(("age", "is_held"), [(timedelta(hours=36), False), (timedelta(hours=36, seconds=1), True)])
def test_a_snapshot_holds_for_36_hours(town, now, age, is_held):
    town.approve()
    result = town.tick(now + age)
    assert (result.gate_held is not None) is is_held
    assert (town.rows("select count(*) from enrollments")[0][0] == 0) is is_held


def test_a_missing_or_unreadable_snapshot_is_said_and_nothing_else_happens(town):
    town.approve()
    town.is_readable = False
    assert "lacks accounts_current.parquet" in town.tick().reasons[0]
    town.is_readable, town.snapshot = True, None
    assert "there is no snapshot yet" in town.tick().reasons[0]
    assert town.rows("select count(*) from enrollments") == [(0,)]


# --- who may enter ------------------------------------------------------------------------------------------


def test_entrants_beyond_the_tolerance_are_held_and_people_already_in_go_on(town, now):
    town.approve()
    town.tick()
    town.settle(40, prefix="new", is_plain=True)
    town.send()
    town.publish(now + 3 * DAY, snapshot_id="crowd")
    result = town.tick(now + 3 * DAY)
    assert "40 accounts would enter" in result.held["alpha"]
    assert result.entered == {}
    assert result.counts["send"] > 0
    town.approve(now=now + 3 * DAY)
    assert town.tick(now + 3 * DAY + HOUR).entered == {"alpha": 40}


def test_an_expired_approval_takes_nobody_in_and_lets_people_go_on(town, now):
    town.releases["alpha"] = town.release(workspace={"approval": {"expires": "1d"}})
    town.approve()
    town.tick()
    town.send()
    town.publish(now + 3 * DAY, snapshot_id="later")
    result = town.tick(now + 3 * DAY)
    assert "expired on 2026-03-04" in result.held["alpha"]
    assert result.counts["send"] > 0


@pytest.mark.parametrize(
    ("scope", "target", "reason"),
    [
        ("all", "", "everything is paused (holiday)"),
        ("playbook", "alpha", "it is paused"),
        ("sending", "", "sending is locked"),
    ],
)
def test_what_is_paused_takes_nobody_in_until_it_is_resumed(town, now, scope, target, reason):
    town.approve()
    town.ledger.releases.control(scope, target, "pause", reason="holiday", by="Ada", now=now)
    assert reason in town.tick().held["alpha"]
    assert town.rows("select count(*) from enrollments") == [(0,)]
    town.ledger.releases.control(scope, target, "resume", reason="back", by="Ada", now=now)
    assert town.tick(now + HOUR).entered["alpha"] > 0


def test_a_paused_playbook_mails_nobody_but_still_sees_goals(town, now):
    town.approve()
    town.tick()
    town.send()
    town.ledger.releases.control("playbook", "alpha", "pause", reason="wait", by="Ada", now=now)
    reached = town.rows("select account_id from enrollments order by 1")[0][0]
    town.states[reached] = "adopted"
    town.publish(now + 3 * DAY, snapshot_id="later")
    result = town.tick(now + 3 * DAY)
    assert result.counts["account_end:goal_reached"] == 1
    assert result.counts["retry:paused"] > 0
    assert "send" not in result.counts


def test_a_stopped_account_neither_stays_nor_enters(town, now):
    shown = town.entrants(town.approve().plan)
    out = shown[0][0]
    town.ledger.releases.control("account", out, "stop", reason="asked for it", by="Ada", now=now)
    town.tick()
    assert town.rows("select count(*) from enrollments where account_id = ?", out) == [(0,)]
    inside = next(account for account, _, _ in shown if account != out)
    town.ledger.releases.control("account", inside, "stop", reason="asked for it", by="Ada", now=now)
    town.tick(now + HOUR)
    found = town.rows("select status, end_reason from enrollments where account_id = ?", inside)
    assert found == [("ended", "stopped")]


def test_a_changed_meaning_of_the_goal_holds_entries(town, now):
    town.approve()
    town.publish(now + HOUR, snapshot_id="redefined", manifest={"goal_hash": "another"})
    assert "what its goal means has changed" in town.tick(now + HOUR).held["alpha"]


# --- edits --------------------------------------------------------------------------------------------------


def test_an_edit_acts_at_the_first_tick_after_its_approval(town, now):
    for edits, expected in (("follow", {("why", 1), ("new", 2)}), ("pin", {("why", 1)})):
        fresh = type(town)(_folder(town, edits))
        fresh.settle(20)
        fresh.publish()
        fresh.releases["alpha"] = fresh.release(edits=edits)
        fresh.approve()
        fresh.tick()
        fresh.send()
        stages = {"why": {"email": "why.md"}, "new": {"email": "new.md", "after": "1d"}}
        fresh.releases["alpha"] = fresh.release(edits=edits, stages=stages)
        fresh.publish(now + DAY, snapshot_id="later")
        fresh.approve(now=now + DAY)
        fresh.tick(now + DAY)
        found = set(fresh.rows("select stage_key, version_id from sends"))
        fresh.ledger.close()
        assert found - {("why", 2)} == expected


def _folder(town, name):
    folder = town.folder / name
    folder.mkdir()
    return folder


# --- what always holds --------------------------------------------------------------------------------------


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(seed=st.integers(0, 2**32))
def test_caps_hold_one_mail_an_address_a_tick_and_a_reached_goal_ends_it(seed, tmp_path_factory, town, now):
    other = type(town)(tmp_path_factory.mktemp("town"))
    other.settle(12, seed=seed, contacts=3, shared_addresses=True)
    caps = {"person": {"mails": 1, "per": "2d"}, "account": {"mails": 2, "per": "3d"}}
    for priority, name in enumerate(("alpha", "beta")):
        other.releases[name] = other.release(name, holdout="0%", priority=priority, workspace={"caps": caps})
    other.publish()
    for name in other.releases:
        other.approve(name)
    reached_at = {}
    for step in range(6):
        moment = now + step * 12 * HOUR
        if step % 3 == 1:
            account_id = f"account-{seed % 12}"
            other.states[account_id] = "adopted"
            reached_at.setdefault(account_id, moment)
        other.publish(moment, snapshot_id=f"s{step}")
        other.tick(moment)
        other.send(moment)
    mails = [
        (address, account_id, datetime.fromisoformat(planned_at))
        for address, account_id, planned_at in other.rows(
            "select p.address_hash, s.account_id, s.planned_at from sends s join people p using (contact_id)"
        )
    ]
    other.ledger.close()
    assert mails
    assert max(Counter((address, at) for address, _, at in mails).values()) == 1
    for address, account_id, at in mails:
        assert sum(other == address and at - 2 * DAY < when <= at for other, _, when in mails) <= 1
        assert sum(other == account_id and at - 3 * DAY < when <= at for _, other, when in mails) <= 2
        assert at.replace(tzinfo=now.tzinfo) < reached_at.get(account_id, at.replace(tzinfo=now.tzinfo) + DAY)


def test_a_mail_stopped_by_a_stale_snapshot_is_decided_anew_on_the_next_one(town, now):
    town.approve()
    town.tick()
    planned = dict(town.rows("select send_id, snapshot_id from sends"))
    while claimed := town.ledger.sends.claim(owner="w", limit=100, now=now, lease=HOUR):
        ids = [one.send_id for one in claimed]
        town.ledger.sends.withheld(ids, reason=Reason.GATE_HELD, now=now, owner="w")
    town.publish(now + DAY, snapshot_id="fresh")
    town.tick(now + DAY)
    again = dict(town.rows("select send_id, snapshot_id from sends where status = 'planned'"))
    assert planned.keys() <= again.keys()
    assert {again[send_id] for send_id in planned} == {"fresh"}
    assert planned.keys() <= set(town.send(now + DAY))
    assert town.tick(now + DAY + HOUR).counts.get("send", 0) == 0
    assert town.rows("select max(attempt) from sends") == [(1,)]


def test_who_refused_neither_enters_nor_stays(town, now):
    town.approve()
    town.tick()
    victim = town.rows("select contact_id from enrollment_contacts where status = 'open' order by 1")[0][0]
    address = town.contacts[victim]["address"]
    for row in town.contacts.values():
        if row["address"] == address:
            row["consent_basis"] = "none"
    town.settle(1, prefix="new", is_plain=True)
    town.contacts["contact-new-0-0"]["consent_basis"] = "none"
    town.publish(now + HOUR, snapshot_id="later")
    town.tick(now + HOUR)
    ended = town.rows("select status, end_reason from enrollment_contacts where contact_id = ?", victim)
    assert ended == [("ended", "unconsented")]
    assert town.rows("select * from enrollment_contacts where contact_id = 'contact-new-0-0'") == []
    assert town.rows("select * from enrollment_contacts where contact_id = 'contact-new-0-1'") != []


# --- an audience that is not what it was --------------------------------------------------------------------


@pytest.fixture
def crowd(town):
    """Sixty plain accounts in a town whose approvals bear any number of entrants."""
    town.releases["alpha"] = town.release(workspace={"approval": {"tolerance": "100%", "expires": "90d"}})
    town.accounts.clear(), town.contacts.clear(), town.states.clear()
    town.settle(60, is_plain=True)
    town.publish(snapshot_id="first")
    town.approve()
    town.tick()
    return town


def test_an_audience_that_falls_holds_the_playbook_and_people_already_in_go_on(crowd, now):
    inside = crowd.rows("select count(*) from enrollments")
    for number in range(40):
        crowd.accounts[f"account-{number}"]["plan"] = "free"
    crowd.settle(5, prefix="new", is_plain=True)
    crowd.publish(now + DAY, snapshot_id="odd")
    result = crowd.tick(now + DAY)
    assert "its audience fell from 60 to 25 accounts" in result.held["alpha"]
    assert result.entered == {}
    assert crowd.rows("select count(*) from enrollments") == inside
    assert any(name in result.counts for name in ("send", "retry:outside_window"))
    (recorded,) = crowd.ledger.read("audiences")
    assert (recorded["snapshot_id"], recorded["count_accounts"]) == ("odd", 25)
    assert "fell from 60 to 25" in recorded["held_because"]
    assert "fell from 60 to 25" in crowd.rows("select detail from runs order by run_id desc")[0][0]


def test_a_closed_calendar_is_no_change_of_the_audience(town, now):
    days = [now.date(), (now + 10 * DAY).date()]
    town.releases["alpha"] = town.release(enter="calendar", calendar=days, backfill="none")
    town.settle(60, is_plain=True, prefix="more")
    town.publish()
    town.approve()
    assert town.tick().entered["alpha"] > 60
    town.publish(now + 5 * DAY, snapshot_id="closed")
    assert town.tick(now + 5 * DAY).held == {}
    assert town.ledger.read("audiences")[0]["snapshot_id"] == "test"


def test_a_changed_audience_stays_held_over_later_snapshots_until_it_is_approved(crowd, now):
    crowd.settle(90, prefix="new", is_plain=True)
    for day in (1, 2):
        crowd.publish(now + day * DAY, snapshot_id=f"wide{day}")
        assert "its audience rose from 60 to 150 accounts" in crowd.tick(now + day * DAY).held["alpha"]
    planned = crowd.plan(now=now + 2 * DAY).plan
    assert planned.summary["audience"] == 150
    assert "rose from 60 to 150" in planned.summary["audience_held"]
    crowd.approve(now=now + 2 * DAY)
    assert crowd.tick(now + 2 * DAY).entered == {"alpha": 90}


def test_an_audience_that_comes_back_is_let_in_again(crowd, now):
    plans = {key: dict(row) for key, row in crowd.accounts.items()}
    for row in crowd.accounts.values():
        row["plan"] = "free"
    crowd.publish(now + DAY, snapshot_id="none")
    assert "fell from 60 to 0" in crowd.tick(now + DAY).held["alpha"]
    crowd.accounts.update(plans)
    crowd.settle(3, prefix="new", is_plain=True)
    crowd.publish(now + 2 * DAY, snapshot_id="again")
    assert crowd.tick(now + 2 * DAY).entered == {"alpha": 3}


def test_a_slow_change_never_holds_and_each_snapshot_is_measured_once(crowd, now):
    for day in range(1, 5):
        crowd.settle(25, prefix=f"day-{day}", is_plain=True)
        crowd.publish(now + day * DAY, snapshot_id=f"s{day}")
        for hour in (0, 1):
            assert crowd.tick(now + day * DAY + hour * HOUR).held == {}
    measured = [("first", 60), *((f"s{day}", 60 + 25 * day) for day in range(1, 5))]
    assert crowd.rows("select snapshot_id, count_accounts from audiences") == measured


def test_a_changed_definition_of_one_feature_holds_only_who_teaches_it(town, now):
    hashes = {"goal_hash": "all", "goal_hashes": {"dashboards": "d", "reports": "r"}}
    town.publish(snapshot_id="before", manifest=hashes)
    town.approve()
    other = hashes | {"goal_hash": "all2", "goal_hashes": {"dashboards": "d", "reports": "r2"}}
    town.publish(now + HOUR, snapshot_id="other", manifest=other)
    assert town.tick(now + HOUR).held == {}
    own = hashes | {"goal_hash": "all3", "goal_hashes": {"dashboards": "d2", "reports": "r"}}
    town.publish(now + 2 * HOUR, snapshot_id="own", manifest=own)
    assert "what its goal means has changed" in town.tick(now + 2 * HOUR).held["alpha"]


@pytest.mark.parametrize("edits", ["follow", "pin"])
def test_a_stage_that_only_a_version_in_between_knows_is_remembered(town, now, edits):
    """Entered with the first, sent x by the second; when a third is approved, the cursor keeps its place."""

    def approve(day, *keys, edits="follow"):
        stages = {key: {"email": f"{key}.md", "after": "1d" if place else "0d"} for place, key in enumerate(keys)}
        town.releases["alpha"] = town.release(stages=stages, edits=edits)
        town.approve(now=now + day * DAY)

    def live(day):
        town.publish(now + day * DAY, snapshot_id=f"s{day}")
        town.tick(now + day * DAY)
        town.send(now + day * DAY)

    for contact in town.contacts.values():
        contact["time_zone"] = "UTC"
    town.publish()
    approve(0, "a", "b", "d")
    live(0)
    approve(0.5, "a", "x", "d")
    live(1)
    third = ("a", "n", "d") if edits == "follow" else ("z",)  # whoever is pinned goes by the first again
    approve(1.5, *third, edits=edits)
    contact = town.rows("select contact_id from sends where stage_key = 'x'")[0][0]
    told = explain(town.journeys, town, town.ledger, contact_id=contact, now=now + 1.6 * DAY).playbooks[0]
    assert told.enrollments[0].next_stage.stage_key == "d"
    for day in (2, 3):
        live(day)
    sent = town.rows("select stage_key, count(*) from sends group by 1 order by min(send_key)")
    count = sent[0][1]
    assert count > 5
    assert sent == [("a", count), ("x", count), ("d", count)]  # neither n nor b, which stand before x's successor


def test_a_task_that_this_tick_withdraws_is_in_nobodys_way(town, now):
    call = {"task": "Call", "dedupe": "help"}
    town.releases["alpha"] = town.release(holdout="0%", stages={"call": call}, exit_when="account.arr < 0", priority=1)
    town.releases["beta"] = town.release("beta", holdout="0%", stages={"talk": {**call, "after": "1d"}})
    for name in ("alpha", "beta"):
        town.approve(name)
    town.tick()
    (leaving, *_) = sorted({account for (account,) in town.rows("select account_id from tasks")})
    town.accounts[leaving]["arr"] = -1.0
    town.publish(now + DAY, snapshot_id="s1")
    counts = town.tick(now + DAY).counts
    assert counts["pass_over:duplicate_task"] > 0
    found = town.rows("select playbook, status from tasks where account_id = ? order by 1", leaving)
    assert found == [("alpha", "withdrawn"), ("beta", "open")]
