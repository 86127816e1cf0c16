from __future__ import annotations

from datetime import timedelta

import pytest

from uptake.adapters.ledger.tick_tables import SCHEMAS
from uptake.errors import Held, LedgerError

ANN, BOB, CYD = ("ann", "a1"), ("bob", "a1"), ("cyd", "a2")


def test_entered_twice_is_recorded_once(world):
    world.load(ANN, BOB, CYD)
    assert world.enter(ANN, BOB, CYD) == 2
    assert world.enter(ANN, CYD) == 0
    tables = world.ledger.enrollments.tables(now=world.now)
    assert tables["enrollments"].num_rows == 2
    assert sorted(tables["enrollment_contacts"]["contact_id"].to_pylist()) == ["ann", "bob", "cyd"]


def test_an_account_entered_again_gets_no_further_contacts(world):
    world.enter(ANN)
    assert world.enter(ANN, BOB) == 0
    assert world.ledger.enrollments.tables(now=world.now)["enrollment_contacts"].num_rows == 1


def test_every_arm_is_enrolled(world):
    world.enter(ANN, arm="holdout")
    world.enter(CYD, arm="global_control")
    arms = world.ledger.enrollments.tables(now=world.now)["enrollments"]["arm"].to_pylist()
    assert sorted(arms) == ["global_control", "holdout"]


def test_a_re_entry_keeps_the_arm_that_was_drawn(world):
    world.enter(ANN, arm="holdout")
    world.record(ended=[(world.enrollment_id("ann"), "completed")])
    assert world.enter(ANN, arm="treatment", entry_no=2) == 1
    tables = world.ledger.enrollments.tables(now=world.now)
    assert tables["enrollments"]["arm"].to_pylist() == ["holdout", "holdout"]
    assert tables["assignments"].to_pylist() == [{"playbook": "dashboards", "account_id": "a1", "arm": "holdout"}]


def test_an_open_enrollment_admits_no_second_one(world):
    world.enter(ANN)
    assert world.enter(ANN, entry_no=2) == 0


def test_the_goal_and_its_window_are_frozen_at_entry(world):
    world.enter(ANN)
    (row,) = world.ledger.read("contact_enrollments", contact_id="ann")
    assert row["window_ends_at"] == world.now + timedelta(days=28)
    assert row["enrolled_at"] == world.now


def test_planned_sends_and_decisions_are_recorded_once(world):
    world.enter(ANN, BOB)
    verdicts = [("ann", "why", "send"), ("bob", "why", "retry", "outside_window")]
    assert world.record(*verdicts) == {"send": 1, "retry:outside_window": 1}
    assert world.record(*verdicts) == {"retry:outside_window": 1}
    assert len(world.ledger.read("contact_history", contact_id="bob")) == 2
    assert world.status(world.send_of("ann")) == "planned"
    world.record(("bob", "why", "retry", "capped_person"))
    decided = [row for row in world.ledger.read("contact_history", contact_id="bob") if row["what"] == "decided"]
    assert {row["reason"] for row in decided} == {"outside_window", "capped_person"}
    verdicts = world.ledger.enrollments.tables(now=world.now)["verdicts"].to_pylist()
    assert {row["contact_id"]: row["reason"] for row in verdicts} == {"ann": None, "bob": "capped_person"}


@pytest.mark.parametrize("arm", ["holdout", "global_control"])
def test_nothing_is_planned_outside_treatment(world, arm):
    world.enter(ANN, arm=arm)
    assert world.record(("ann", "why", "send"), ("ann", "call", "task")) == {}
    assert world.ledger.read("sends_by_playbook") == []


def test_a_task_is_opened_once_for_an_enrollment(world):
    world.enter(ANN, BOB)
    assert world.record(("ann", "call", "task"), ("bob", "call", "task")) == {"task": 1}
    assert world.record(("bob", "call", "task")) == {}
    (task,) = world.ledger.read("open_tasks")
    assert (task["title"], task["contact_id"], task["account_id"]) == ("Call", "ann", "a1")


def test_an_ending_withholds_what_was_planned(world):
    (send_id,) = world.planned(ANN)
    assert world.record(endings=[("ann", "goal_reached")]) == {"end:goal_reached": 1}
    assert world.status(send_id) == "withheld"
    assert world.record(endings=[("ann", "goal_reached")]) == {}
    assert world.claim() == []
    (withheld,) = world.ledger.read("withheld_by_reason")
    assert (withheld["reason"], withheld["count_contacts"]) == ("goal_reached", 1)


def test_an_enrollment_ends_with_all_its_contacts(world):
    first, second = world.planned(ANN, BOB)
    assert world.record(ended=[(world.enrollment_id("ann"), "exit_condition")]) == {"account_end:exit_condition": 1}
    tables = world.ledger.enrollments.tables(now=world.now)
    assert tables["enrollment_contacts"].num_rows == 0
    assert tables["enrollments"]["status"].to_pylist() == ["ended"]
    assert {world.status(first), world.status(second)} == {"withheld"}


def test_a_run_that_was_overtaken_writes_nothing(world):
    world.enter(ANN)
    old = world.run()
    world.run()
    with pytest.raises(Held, match="another tick has taken over"):
        world.record(("ann", "why", "send"), run=old)
    assert world.ledger.enrollments.tables(now=world.now)["verdicts"].num_rows == 0


def test_mail_without_a_passed_gate_is_refused_and_nothing_is_written(world):
    world.enter(ANN)
    world.gate_id = world.ledger.gates.record(
        snapshot_id="s1", status="held", checks=[], reasons=["no"], as_of=None, now=world.now
    )
    with pytest.raises(Held, match="no passed gate"):
        world.record(("ann", "why", "send"))
    assert world.ledger.enrollments.tables(now=world.now)["verdicts"].num_rows == 0


def test_a_stage_the_release_lacks_is_an_error_and_nothing_is_written(world):
    world.enter(ANN)
    with pytest.raises(LedgerError, match="nope"):
        world.record(("ann", "nope", "send"))
    assert world.ledger.enrollments.tables(now=world.now)["verdicts"].num_rows == 0


def test_the_tables_are_typed_when_empty(world):
    for name, table in world.ledger.enrollments.tables(now=world.now).items():
        assert table.schema == SCHEMAS[name], name
        assert table.num_rows == 0, name


def test_the_tables_tell_a_journey_where_it_stands(world):
    world.planned(ANN, BOB)
    world.record(("bob", "how", "pass_over", "condition_false"))
    send_id = world.send_of("ann")
    claimed = world.claim(limit=1)
    assert [one.send_id for one in claimed] == [send_id]
    assert world.intend([send_id]) == {}
    world.ledger.sends.accepted([send_id], message_id="m1", now=world.now)
    tables = world.ledger.enrollments.tables(now=world.now)
    for name, table in tables.items():
        assert table.schema == SCHEMAS[name], name
    ends = {(row["contact_id"], row["stage_key"]): row["ended_at"] for row in tables["stage_ends"].to_pylist()}
    moment = world.now.replace(tzinfo=None)
    assert ends == {("ann", "why"): moment, ("bob", "how"): moment}
    (waiting,) = tables["open_sends"].to_pylist()
    assert (waiting["contact_id"], waiting["status"]) == ("bob", "planned")
    (touch,) = tables["touches"].to_pylist()
    assert touch["address_hash"] == world.ledger.people.address_hash_of("ann")
    assert touch["accepted_at"] == moment
    people = {row["contact_id"]: row for row in tables["people"].to_pylist()}
    assert people["ann"]["has_address"] is True
    assert people["ann"]["erased"] is False


def test_touches_of_long_ago_are_left_out(world):
    (send_id,) = world.planned(ANN)
    world.claim()
    world.intend([send_id])
    world.ledger.sends.accepted([send_id], message_id=None, now=world.now)
    assert world.ledger.enrollments.tables(now=world.now + timedelta(days=89))["touches"].num_rows == 1
    assert world.ledger.enrollments.tables(now=world.now + timedelta(days=91))["touches"].num_rows == 0


def test_a_stage_that_waited_for_somebody_who_leaves_is_no_longer_waiting(world):
    world.load(("ann", "a1"), ("bob", "a1"))
    world.enter(("ann", "a1"), ("bob", "a1"))
    world.record(("ann", "why", "retry", "outside_window"), ("bob", "why", "retry", "outside_window"))
    world.record(endings=[("ann", "exit_condition")])
    found = {row["reason"]: row["count_contacts"] for row in world.ledger.read("withheld_by_reason")}
    assert found == {"exit_condition": 1, "outside_window": 1}
    world.record(ended=[(world.enrollment_id("bob"), "goal_reached")])
    found = {row["reason"]: row["count_contacts"] for row in world.ledger.read("withheld_by_reason")}
    assert found == {"exit_condition": 1, "goal_reached": 1}
