"""Tasks for people, through the real tick and ledger."""

from datetime import timedelta

import pytest

from uptake.adapters.merge_fields_duckdb import DuckMergeFields
from uptake.adapters.templates import fill_words
from uptake.errors import Refused
from uptake.operations.tasks import close_task, tasks
from uptake.summaries.tasks import as_rows, task_summary

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
STAGES = {
    "call": {
        "task": "Offer a session",
        "within": "2d",
        "facts": ["account.arr", "feature.adoption_state"],
        "words": "call.md",
    },
    "why": {"email": "why.md", "after": "1d"},
}
WORDS = "Hello {{ contact.given_name|default('there') }}, you pay for {{ account.seats }} seats."


@pytest.fixture
def calls(town):
    """A playbook that begins with a call, approved and ticked."""
    town.releases["alpha"] = town.release(stages=STAGES, holdout="30%").model_copy(update={"words": {"call": WORDS}})
    for account in town.accounts.values():
        account["csm"] = f"csm-of-{account['account_id']}"
    town.publish()
    town.approve()
    town.tick()
    return town


def listed(town, now):
    return tasks(town.ledger, town, DuckMergeFields(), fill_words, now=now)


def test_every_treated_account_gets_one_task_with_owner_date_facts_and_words(calls, now):
    found = listed(calls, now + HOUR)
    treated = calls.rows("select account_id from enrollments where arm = 'treatment'")
    assert sorted((task.account_id,) for task in found) == sorted(treated)
    assert calls.rows("select count(*) from enrollments where arm <> 'treatment'")[0][0] > 0
    for task in found:
        account = calls.accounts[task.account_id]
        assert (task.title, task.owner) == ("Offer a session", f"csm-of-{task.account_id}")
        assert (task.opened_at, task.due_at, task.is_overdue) == (now, now + 2 * DAY, False)
        assert task.facts == {"account.arr": account["arr"], "feature.adoption_state": "never"}
        assert task.words == f"Hello there, you pay for {account['seats']} seats."
    assert listed(calls, now + 4 * DAY)[0].is_overdue


def test_a_named_owner_comes_before_the_csm(town, now):
    town.releases["alpha"] = town.release(stages={"call": {"task": "Call", "owner": "desk"}})
    town.approve()
    town.tick()
    assert {task.owner for task in listed(town, now)} == {"desk"}


def test_the_mail_after_a_task_waits_until_somebody_closed_it(calls, now):
    calls.publish(now + DAY, snapshot_id="s1")
    assert calls.tick(now + DAY).counts.get("send", 0) == 0
    (first, *_) = listed(calls, now)
    close_task(calls.ledger, task_id=first.task_id, outcome="done", reason="Shown", by="Ada", now=now + DAY)
    calls.publish(now + 2 * DAY, snapshot_id="s2")
    moment = now + 2 * DAY - HOUR / 2  # everybody's window is open
    assert calls.tick(moment).counts.get("send", 0) == 0  # a day after the end of the stage, not before
    calls.tick(now + 2 * DAY)
    assert {row[0] for row in calls.rows("select account_id from sends")} <= {first.account_id}


def test_who_closed_a_task_and_why_is_told_of_everybody_it_was_for(calls, now):
    first = listed(calls, now)[0]
    close_task(calls.ledger, task_id=first.task_id, outcome="declined", reason="They leave", by="Ada", now=now + HOUR)
    history = calls.ledger.read("contact_history", contact_id=first.contact_id)
    (closed,) = (row for row in history if row["what"] == "task")
    told = (closed["stage_key"], closed["outcome"], closed["detail"])
    assert told == ("call", "declined", "by Ada: They leave")


def test_a_task_nobody_closes_holds_the_journey_up_for_a_week_after_its_date_and_no_longer(calls, now):
    late = now + 9 * DAY  # two to do it, and a week
    calls.publish(late + DAY, snapshot_id="s1")
    assert calls.tick(late + DAY - HOUR).counts.get("send", 0) == 0
    assert calls.tick(late + DAY).counts["send"] > 0
    assert listed(calls, late + DAY)  # and stays on the list


@pytest.mark.parametrize("days_late", [2, 5])  # before and after the next mail has left
def test_a_task_closed_after_it_lapsed_moves_no_later_stage(town, now, days_late):
    stages = {"call": STAGES["call"], "why": {"email": "w.md", "after": "3d"}, "how": {"email": "h.md", "after": "4d"}}
    town.releases["alpha"] = town.release(stages=stages)
    town.approve()
    town.tick()
    lapses = now + 9 * DAY  # two to do it, and a week
    due = {lapses + 4 * DAY: "why", lapses + 8 * DAY: "how"}  # three days later is a Sunday, so why leaves on Monday
    for day in range(10):
        moment = lapses + day * DAY
        if day == days_late:
            for task in listed(town, moment):
                close_task(
                    town.ledger, task_id=task.task_id, outcome="done", reason="Shown", by="Ada", now=moment - HOUR
                )
        town.publish(moment, snapshot_id=f"s{day}")
        town.tick(moment)
        sent = {stage for (stage,) in town.rows("select distinct stage_key from sends")}
        assert sent == {stage for at, stage in due.items() if at <= moment}
        town.send(moment)


def test_an_adopted_feature_withdraws_the_task(calls, now):
    (first, *others) = listed(calls, now)
    calls.states[first.account_id] = "adopted"
    calls.publish(now + HOUR, snapshot_id="s1")
    calls.tick(now + HOUR)
    assert [task.task_id for task in listed(calls, now)] == [task.task_id for task in others]


def test_a_tick_again_opens_no_second_task(calls, now):
    before = calls.everything()
    calls.tick(now)
    assert calls.everything() == before


def test_closing_needs_a_reason_and_a_name(calls, now):
    (first, *_) = listed(calls, now)
    for reason, by in (("", "Ada"), ("Called", " ")):
        with pytest.raises(Refused, match="expected a reason and a name"):
            close_task(calls.ledger, task_id=first.task_id, outcome="done", reason=reason, by=by, now=now)


def test_a_spreadsheet_never_takes_customer_data_for_a_formula(calls, now):
    (first, *_) = listed(calls, now)
    wicked = first.__class__(**{**first.__dict__, "contact_name": "=1+1", "title": "a,b"})
    (row,) = as_rows([wicked])
    assert "'=1+1" in row
    assert "=1+1" not in row
    assert "Offer a session" in task_summary([first])
    assert task_summary([]) == "No task is open."


def test_a_list_without_a_snapshot_has_no_words(calls, now):
    calls.is_readable = False
    assert {task.words for task in listed(calls, now)} == {None}
