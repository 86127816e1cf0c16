from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from uptake.adapters.ledger.schema import tasks
from uptake.adapters.ledger.tick_tables import SCHEMAS
from uptake.errors import Held, LedgerError, Refused

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
    assert world.decided() == {("why", "send", None): 1, ("why", "retry", "capped_person"): 1}


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
    assert (task["owner"], task["facts"]) == ("csm-1", {"account.arr": 5.0})
    assert task["due_at"] == world.now + timedelta(days=7)


def open_task(world, *contacts):
    world.load(*contacts)
    world.enter(*contacts)
    world.record(*((contact_id, "call", "task") for contact_id, _ in contacts))
    (task,) = world.ledger.read("open_tasks")
    return task


def test_an_open_task_is_waited_for_and_a_closed_one_ends_the_stage_of_all_who_came_to_it(world):
    task = open_task(world, ANN, BOB)
    assert task["full_name"] == "Ann"
    tables = world.ledger.enrollments.tables(now=world.now)
    assert tables["stage_ends"].num_rows == 0
    waiting = tables["open_tasks"].to_pylist()
    assert {row["contact_id"] for row in waiting} == {"ann", "bob"}
    assert {row["dedupe_key"] for row in waiting} == {"dashboards/call"}
    world.now += timedelta(hours=2)
    close = {"outcome": "done", "reason": "They will try it", "by": "Ada", "now": world.now}
    world.ledger.tasks.close(task["task_id"], **close)
    world.ledger.tasks.close(task["task_id"], **close)  # said twice
    tables = world.ledger.enrollments.tables(now=world.now)
    ends = {(row["contact_id"], row["stage_key"], row["ended_at"]) for row in tables["stage_ends"].to_pylist()}
    moment = world.now.replace(tzinfo=None)
    assert ends == {("ann", "call", moment), ("bob", "call", moment)}
    assert tables["open_tasks"].num_rows == 0
    (touch,) = tables["touches"].to_pylist()
    assert (touch["contact_id"], touch["account_id"], touch["accepted_at"]) == ("ann", "a1", moment)
    assert touch["address_hash"] == world.ledger.people.address_hash_of("ann")
    assert touch["is_mail"] is False


def test_a_task_that_is_closed_stays_as_it_was_closed(world):
    task_id = open_task(world, ANN)["task_id"]
    close = {"reason": "No time", "by": "Ada", "now": world.now}
    world.ledger.tasks.close(task_id, outcome="declined", **close)
    with pytest.raises(Refused, match=f"task {task_id} is declined since .* by Ada"):
        world.ledger.tasks.close(task_id, outcome="done", **close)
    with pytest.raises(Refused, match="there is no task 999"):
        world.ledger.tasks.close(999, outcome="done", **close)


def test_a_task_is_withdrawn_when_its_enrollment_ends(world):
    task = open_task(world, ANN)
    world.record(ended=[(task["enrollment_id"], "goal_reached")])
    assert world.ledger.read("open_tasks") == []
    (row,) = world.ledger.read("task", task_id=task["task_id"])
    assert (row["status"], row["close_reason"], row["closed_by"]) == ("withdrawn", "goal_reached", "uptake")
    assert world.ledger.enrollments.tables(now=world.now)["touches"].num_rows == 0  # nobody was touched


def test_an_account_never_has_two_open_tasks_of_one_kind(world):
    open_task(world, ANN)
    names = [column.name for column in tasks.c if column.name not in ("task_id", "stage_key")]
    again = sa.select(*(tasks.c[name] for name in names), sa.literal(99), sa.literal("visit"))
    insert = sa.insert(tasks).from_select([*names, "task_id", "stage_key"], again)
    with pytest.raises(LedgerError, match=r"(?i)unique"), world.ledger._store.write() as connection:
        connection.execute(insert)


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
    assert world.decided() == {}


def test_mail_without_a_passed_gate_is_refused_and_nothing_is_written(world):
    world.enter(ANN)
    world.gate_id = world.ledger.gates.record(
        snapshot_id="s1", status="held", checks=[], reasons=["no"], as_of=None, now=world.now
    )
    with pytest.raises(Held, match="no passed gate"):
        world.record(("ann", "why", "send"))
    assert world.decided() == {}


def test_a_stage_the_release_lacks_is_an_error_and_nothing_is_written(world):
    world.enter(ANN)
    with pytest.raises(LedgerError, match="nope"):
        world.record(("ann", "nope", "send"))
    assert world.decided() == {}


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
