from datetime import timedelta

import pytest

from uptake.errors import Held, UsageError
from uptake.operations.backtest import backtest
from uptake.operations.tasks import close_task

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def _fewer_ticks(monkeypatch):
    monkeypatch.setattr("uptake.operations.backtest.EVERY", 6 * HOUR)


@pytest.fixture
def past(town, playbooks, now):
    """Publish days of a town, and look back at them."""
    shown = []
    town.open = lambda snapshot_id: next(one for one in shown if one.snapshot_id == snapshot_id)
    town.history = lambda source: [
        {"snapshot_id": one.snapshot_id, "as_of": one.as_of.isoformat()} for one in reversed(shown)
    ]

    class Past:
        def publish(self, day, hour=0):
            town.publish(now + day * DAY + hour * HOUR, snapshot_id=f"s{day}-{hour}")
            shown.append(town.snapshot)

        def look(self, first=0, last=None, until=20, names=("alpha",)):
            found = self.all(first, last, until, names)
            return found.playbooks[0]

        def all(self, first=0, last=None, until=20, names=()):
            return backtest(
                playbooks,
                town.journeys,
                town,
                town.ledger,
                names=names,
                source="x",
                first=(now + first * DAY).date(),
                last=(now + (until if last is None else last) * DAY).date(),
                now=now + until * DAY,
            )

    return Past()


def test_it_sends_what_ticks_over_the_same_days_send_and_writes_nothing(town, past, now):
    town.releases["alpha"] = town.release(
        stages={
            "why": {"email": "why.md"},
            "how": {"email": "how.md", "after": "3d", "when": "feature.adoption_state == 'never'"},
        }
    )
    for day in range(5):
        if day == 2:
            town.states["account-1"] = town.states["account-3"] = "adopted"
            town.settle(3, prefix="new", is_plain=True)
        past.publish(day)
    before = town.everything()
    found = past.look(until=5)
    assert town.everything() == before
    # The same days, lived through.
    sent, entered = {}, {}
    for day in range(5):
        town.snapshot = town.open(f"s{day}-0")
        for hour in range(0, 24, 6):
            moment = now + day * DAY + hour * HOUR
            if day == hour == 0:
                town.approve(now=moment)
            result = town.tick(moment)
            at = (now + day * DAY).date()
            entered[at] = entered.get(at, 0) + result.entered.get("alpha", 0)
            sent[at] = sent.get(at, 0) + len(town.send(moment))
    assert {one.day: one.decided["send"] for one in found.days} == sent
    assert {one.day: one.entered.total() for one in found.days} == entered
    assert sum(sent.values()) > 20
    goals = sum(one.decided["account_end:goal_reached"] for one in found.days)
    assert goals == town.rows("select count(*) from enrollments where end_reason = 'goal_reached'")[0][0] > 0
    assert found.left_out["re_entry"] > 0


def test_it_counts_tasks_pass_overs_and_who_waits(town, past):
    town.releases["alpha"] = town.release(
        holdout="0%",
        stages={
            "call": {"task": "Call", "within": "2d"},
            "never": {"email": "x.md", "when": "account.arr < 0"},
            "last": {"email": "y.md"},
        },
    )
    for day in range(4):
        past.publish(day)
    first, second, third, *_ = past.look(until=4).days
    count = first.decided["task"]
    assert count > 10
    assert (second.decided["task"], second.decided["pass_over:condition_false"]) == (0, 0)
    assert third.decided["pass_over:condition_false"] == count  # the task is done on its last day
    assert 0 < third.decided["send"] <= count
    assert 0 < third.decided["retry:outside_window"] <= count


def test_who_matched_on_the_first_day_stays_out_without_backfill(town, past):
    town.releases["alpha"] = town.release(backfill="none")
    past.publish(0)
    town.settle(4, prefix="new", is_plain=True)
    past.publish(1)
    first, second = past.look(until=2).days
    assert (first.entered.total(), second.entered.total()) == (0, 4)


def test_the_newest_snapshot_of_a_day_counts_and_other_days_are_left_aside(town, past, now):
    for day, hour in ((0, 0), (5, 0), (5, 4), (7, 0), (9, 0)):
        past.publish(day, hour)
    found = past.all(first=4, last=8, until=12)
    assert [one.snapshot_id for one in found.playbooks[0].days] == ["s5-4", "s7-0"]
    assert found.missing == [(now + day * DAY).date() for day in (4, 6, 8)]


def test_what_cannot_be_tried_is_said(town, past, now):
    past.publish(1)
    past.publish(2)
    kept = f"{(now + DAY).date()}, the newest of {(now + 2 * DAY).date()}"
    with pytest.raises(Held, match=f"there is no snapshot of these days; the oldest is of {kept}"):
        past.all(first=3, last=9)
    with pytest.raises(UsageError, match="the first day, 2026-03-05, is after the last, 2026-03-04"):
        past.all(first=2, last=1)
    with pytest.raises(UsageError, match="2026-03-06 is still to come"):
        past.all(first=1, last=3, until=2)
    town.releases.clear()
    with pytest.raises(UsageError, match="no playbook"):
        past.all(first=1, last=2)


def test_a_day_that_has_just_begun_has_its_first_tick(town, past):
    past.publish(0)
    assert past.look(until=0).days[0].decided["send"] > 0


def test_data_older_than_a_tick_trusts_move_nobody(town, past):
    stages = {"a": {"email": "a.md"}, "b": {"email": "b.md", "after": "40h"}}
    town.releases["alpha"] = town.release(holdout="0%", stages=stages)
    past.publish(0)
    past.publish(7)
    first, second = past.look(until=8).days
    assert first.decided["send"] > 10  # a; b is due after 40 hours, when the data are too old
    assert second.decided["send"] > 0


def test_playbooks_together_meet_as_in_the_same_ticks(town, past, now):
    """Three playbooks for the same people and narrow caps: who waits for whom is what the ledger of these days has."""
    caps = {"caps": {"person": {"mails": 2, "per": "7d"}, "account": {"mails": 3, "per": "7d"}}}
    mails = {key: {"email": f"{key}.md", "after": "1d" if key == "two" else "0d"} for key in ("one", "two")}
    town.releases["alpha"] = town.release(stages=mails, priority=50, workspace=caps)
    town.releases["beta"] = town.release("beta", stages=mails, priority=10, holdout="20%", workspace=caps)
    calls = {"call": {"task": "Call", "within": "1d"}, **mails}
    town.releases["gamma"] = town.release("gamma", stages=calls, audience={"where": "account.arr > 25000"})
    for day in range(3):
        past.publish(day)
    before = town.everything()
    found = past.all(until=3)
    assert town.everything() == before
    for day in range(3):
        town.snapshot = town.open(f"s{day}-0")
        for hour in range(0, 24, 6):
            moment = now + day * DAY + hour * HOUR
            for task in town.ledger.read("open_tasks"):
                if task["due_at"] <= moment:
                    close_task(town.ledger, task_id=task["task_id"], outcome="done", reason="x", by="Ada", now=moment)
            if day == hour == 0:
                for name in town.releases:
                    town.approve(name, now=moment)
            town.tick(moment)
            town.send(moment)
    sent = dict(town.rows("select playbook, count(*) from sends group by 1"))
    assert {one.playbook: one.decided["send"] for one in found.playbooks} == sent
    assert {one.playbook: sum(one.entered.values()) for one in found.playbooks} == dict(
        town.rows("select playbook, count(*) from enrollments group by 1")
    )
    decided = "from decisions d join enrollments e using (enrollment_id) where d.reason = ?"
    for cap in ("person", "account"):
        assert {one.playbook: one.contacts for one in found.caps if one.cap == cap} == dict(
            town.rows(f"select e.playbook, count(distinct d.contact_id) {decided} group by 1", f"capped_{cap}")
        )
    assert {one.cap for one in found.caps} == {"person", "account"}
    lost = town.rows(
        f"select substr(detail, 1, instr(detail, '/') - 1), e.playbook, count(distinct d.contact_id) {decided}"
        " and detail <> '' group by 1, 2",
        "priority_lost",
    )
    assert {
        (winner, loser, overlap.won[winner])
        for overlap in found.overlaps
        for winner, loser in (overlap.playbooks, overlap.playbooks[::-1])
        if overlap.won[winner]
    } == set(lost)
    both = town.rows(
        "select count(distinct a.contact_id) from (select * from enrollment_contacts join enrollments using"
        " (enrollment_id) where playbook = 'alpha' and arm = 'treatment') a join (select * from enrollment_contacts"
        " join enrollments using (enrollment_id) where playbook = 'beta' and arm = 'treatment') b using (contact_id)"
    )
    assert found.overlaps[0].playbooks == ("alpha", "beta")
    assert found.overlaps[0].contacts == both[0][0] > 5
