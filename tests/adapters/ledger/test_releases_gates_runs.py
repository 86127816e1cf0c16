from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

from uptake.errors import Held, LedgerError
from uptake.ports import Audience, Check

LEASE = timedelta(minutes=5)


def test_the_same_release_is_one_version(world, make_world):
    again = make_world(name="dashboards")
    assert again.version_id == world.version_id
    edited = make_world(name="dashboards", priority=5)
    assert edited.version_id != world.version_id
    assert world.ledger.releases.version(world.version_id) == world.release
    assert world.ledger.releases.version(world.version_id).release_hash == world.release.release_hash


def test_an_unknown_version_or_plan_is_an_error(world):
    with pytest.raises(LedgerError, match="no playbook version 999"):
        world.ledger.releases.version(999)
    with pytest.raises(LedgerError, match="no plan 'x'"):
        world.ledger.releases.plan("x")
    assert world.ledger.releases.latest_plan("x") is None


def test_a_plan_comes_back_as_it_was(world):
    assert world.ledger.releases.plan(world.plan.plan_id) == world.plan
    world.ledger.releases.save_plan(world.plan)
    assert world.ledger.releases.latest_plan("dashboards") == world.plan
    assert len(world.ledger.read("plans")) == 1


def test_whom_a_plan_takes_in_is_stored_with_it_and_read_apart(world, open_again):
    people = {"account_id": ['a"b', "ü\\n"], "contact_id": ["ann", "bob"], "arm": ["treatment", "holdout"]}
    plan = replace(world.plan, plan_id="with people", summary={"arms": {"holdout": 1, "treatment": 1}})
    world.ledger.releases.save_plan(plan, entrants=pa.table({**people, "u": [0.1, 0.9]}))
    releases = open_again().releases
    assert releases.latest_plan("dashboards") == plan
    assert releases.entrants("with people").to_pydict() == people
    assert releases.entrants(world.plan.plan_id).num_rows == 0


def test_the_newest_approval_of_each_playbook_counts(world, make_world):
    make_world(name="other")
    edited = make_world(name="dashboards", priority=5)
    approved = {one.playbook: one for one in world.ledger.releases.approved()}
    assert set(approved) == {"dashboards", "other"}
    assert approved["dashboards"].release == edited.release
    assert approved["dashboards"].plan == edited.plan
    assert approved["dashboards"].expires_at == world.now + timedelta(days=90)
    assert [row["approved_by"] for row in world.ledger.read("approvals")] == ["Grace"] * 3


def test_the_newest_control_of_each_target_counts(world):
    control, now = world.ledger.releases.control, world.now
    assert world.ledger.releases.controls().playbooks == {}
    control("playbook", "p", "pause", reason="r", by="Grace", now=now)
    control("playbook", "q", "stop", reason="r", by="Grace", now=now)
    control("account", "a", "stop", reason="r", by="Grace", now=now)
    control("all", "", "pause", reason="holiday", by="Grace", now=now)
    control("playbook", "p", "resume", reason="r", by="Grace", now=now)
    state = world.ledger.releases.controls()
    assert (dict(state.playbooks), dict(state.accounts)) == ({"q": "stop"}, {"a": "stop"})
    assert state.everything == "holiday"
    control("all", "", "resume", reason="r", by="Grace", now=now)
    assert world.ledger.releases.controls().everything is None
    assert len(world.ledger.read("controls")) == 6


def test_only_the_newest_gate_row_of_a_snapshot_counts(world):
    record, now = world.ledger.gates.record, world.now
    check = Check(name="c", status="failed", severity="critical", detail="0 rows, expected 1")
    assert world.ledger.gates.passed("s1") == world.gate_id
    assert world.ledger.gates.passed("s2") is None
    record(snapshot_id="s1", status="held", checks=[check], reasons=["c: 0 rows"], as_of=None, now=now)
    assert world.ledger.gates.passed("s1") is None
    record(snapshot_id=None, status="held", checks=[], reasons=["no snapshot"], as_of=None, now=now)
    latest = world.ledger.gates.latest()
    assert latest is not None
    assert (latest["snapshot_id"], latest["reasons"], latest["checked_at"]) == (None, ["no snapshot"], now)
    (row,) = world.ledger.read("gate_of_snapshot", snapshot_id="s1")
    assert row["checks"][0]["detail"] == "0 rows, expected 1"
    assert [row["status"] for row in world.ledger.read("gates", count=2)] == ["held", "held"]


def test_an_override_is_a_passed_row_that_keeps_what_had_failed(world):
    failed = Check(name="gx:m:r", status="failed", severity="critical", detail="2 rows", rows=("account_id=a1",))
    value = Check(name="gx:fct_outcomes:r", status="failed", severity="critical", protects="reports")
    row = {
        "snapshot_id": "s9",
        "checks": [failed, value],
        "reasons": ["gx:m:r failed"],
        "as_of": world.now,
        "now": world.now,
    }
    world.ledger.gates.record(status="held", **row)
    assert world.ledger.gates.passed("s9") is None
    assert world.ledger.gates.let_pass() == {}
    gate_id = world.ledger.gates.record(status="passed", overridden_by="Grace", override_reason="looked at it", **row)
    assert world.ledger.gates.passed("s9") == gate_id
    found = world.ledger.gates.of("s9")
    assert found["checks"] == (failed, value)
    assert (found["overridden_by"], found["override_reason"], found["reasons"]) == (
        "Grace",
        "looked at it",
        ["gx:m:r failed"],
    )
    assert "checks" not in world.ledger.gates.latest()
    assert world.ledger.gates.of("s8") is None
    assert world.ledger.gates.let_pass() == {"s9": {"gx:m:r", "gx:fct_outcomes:r"}}


def test_the_last_audience_is_found_among_those_that_held_or_did_not(world):
    releases = world.ledger.releases
    assert releases.last_audience("p") is None
    kinds = [("s1", 10, None), ("s2", 90, "its audience rose"), ("s3", 91, "its audience rose")]
    for number, (snapshot_id, count, held) in enumerate(kinds):
        at = world.now + timedelta(days=number)
        releases.save_audience(
            Audience(playbook="p", snapshot_id=snapshot_id, count_accounts=count, held=held, measured_at=at)
        )
    assert releases.last_audience("p").snapshot_id == "s3"
    assert releases.last_audience("p", is_held=False).count_accounts == 10
    assert releases.last_audience("p", is_held=True).measured_at == world.now + timedelta(days=2)
    assert releases.last_audience("q") is None
    (row,) = [row for row in world.ledger.read("audiences") if row["playbook"] == "p"]
    assert (row["snapshot_id"], row["held_because"]) == ("s3", "its audience rose")


def test_one_run_of_a_kind_at_a_time(world):
    runs, now = world.ledger.runs, world.now
    assert runs.last_heartbeat("tick") is None
    first = runs.begin("tick", owner="a", now=now, lease=LEASE)
    assert runs.begin("tick", owner="b", now=now, lease=LEASE) is None
    assert runs.begin("refresh", owner="b", now=now, lease=LEASE) is not None
    runs.finish(first, status="done", detail="", now=now)
    second = runs.begin("tick", owner="b", now=now, lease=LEASE)
    assert second.fence == first.fence + 1


def test_a_heartbeat_keeps_a_run_alive(world):
    runs, now = world.ledger.runs, world.now
    run = runs.begin("tick", owner="a", now=now, lease=LEASE)
    runs.heartbeat(run, now=now + timedelta(minutes=4), lease=LEASE)
    assert runs.begin("tick", owner="b", now=now + timedelta(minutes=6), lease=LEASE) is None
    assert runs.last_heartbeat("tick") == now + timedelta(minutes=4)


def test_a_dead_run_is_taken_over_and_its_ghost_is_fenced_off(world):
    runs, now = world.ledger.runs, world.now
    ghost = runs.begin("tick", owner="a", now=now, lease=LEASE)
    taken = runs.begin("tick", owner="b", now=now + LEASE, lease=LEASE)
    assert taken.fence == ghost.fence + 1
    with pytest.raises(Held, match="taken over"):
        runs.heartbeat(ghost, now=now + LEASE, lease=LEASE)
    runs.finish(taken, status="done", detail="", now=now + LEASE)
    assert [row["status"] for row in world.ledger.read("runs", count=1)] == ["done"]


def test_a_run_whose_process_died_on_this_machine_is_taken_over_at_once(ledger, now):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    lease = timedelta(minutes=10)
    first = ledger.runs.begin("tick", owner=f"here:{int(dead.stdout)}", now=now, lease=lease)
    assert ledger.runs.begin("tick", owner="elsewhere:1", now=now, lease=lease) is None
    second = ledger.runs.begin("tick", owner=f"here:{os.getpid()}", now=now, lease=lease)
    assert (first.fence, second.fence) == (1, 2)
    assert ledger.runs.begin("tick", owner="here:1", now=now, lease=lease) is None, "that process is alive"


# --- orders of people and orders of the engine ---


@pytest.mark.parametrize("order", ["stop", "pause"])
@pytest.mark.parametrize("is_person_first", [True, False])
def test_the_engines_own_pause_never_weakens_what_a_person_ordered(world, order, is_person_first):
    def person():
        world.ledger.releases.control("playbook", "p", order, reason="law", by="Grace", now=world.now)

    def engine():
        world.ledger.releases.control("playbook", "p", "pause", reason="400", by="uptake", now=world.now)

    for give in (person, engine) if is_person_first else (engine, person):
        give()
    assert dict(world.ledger.releases.controls().playbooks) == {"p": order}
    world.ledger.releases.control("playbook", "p", "resume", reason="ok", by="Grace", now=world.now)
    assert dict(world.ledger.releases.controls().playbooks) == {}, "a person's resume ends both"
    engine()
    assert dict(world.ledger.releases.controls().playbooks) == {"p": "pause"}


def test_a_shorter_rate_limit_never_shortens_a_longer_one(world):
    control, now = world.ledger.releases.control, world.now
    for minutes in (10, 1):
        control("sending", "", "pause", reason="429", by="uptake", now=now, until=now + timedelta(minutes=minutes))
    assert world.ledger.releases.controls().sending_paused_until == now + timedelta(minutes=10)
    control("sending", "", "resume", reason="they said so", by="Grace", now=now)
    assert world.ledger.releases.controls().sending_paused_until is None


def test_a_forgotten_ledger_stays_locked_whatever_else_is_resumed(world):
    control, now = world.ledger.releases.control, world.now
    since = now - timedelta(hours=3)
    control("forgotten", since.isoformat(), "stop", reason="restored", by="ledger", now=now)
    control("forgotten", now.isoformat(), "stop", reason="again", by="ledger", now=now + timedelta(minutes=1))
    for scope in ("sending", "all"):
        control(scope, "*", "resume", reason="go", by="Grace", now=now)
    state = world.ledger.releases.controls()
    assert (state.sending_locked, state.forgotten.since) == ("restored", since)
    assert state.forgotten.locked_at == now + timedelta(minutes=1), "the log's silence counts from the newest hint"
    control("forgotten", since.isoformat(), "resume", reason="asked", by="uptake", now=now)
    state = world.ledger.releases.controls()
    assert (state.sending_locked, state.forgotten) == (None, None)
