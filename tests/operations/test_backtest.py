from datetime import timedelta

import pytest

from uptake.errors import Held
from uptake.operations.backtest import backtest

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


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

        def look(self, days=28, until=20):
            return backtest(
                playbooks, town.journeys, town, town.ledger, name="alpha", source="x", days=days, now=now + until * DAY
            )

    return Past()


def test_it_sends_what_ticks_over_the_same_days_send_and_writes_nothing(town, past, now):
    town.releases["alpha"] = town.release(
        stages={
            "why": {"email": "why.md"},
            "how": {"email": "how.md", "after": "3d", "when": "feature.adoption_state == 'never'"},
        }
    )
    for day in range(8):
        if day == 2:
            town.states["account-1"] = town.states["account-3"] = "adopted"
            town.settle(3, prefix="new", is_plain=True)
        past.publish(day)
    before = town.everything()
    found = past.look(until=8)
    assert town.everything() == before
    # The same days, lived through.
    sent, entered = {}, {}
    for day in range(8):
        town.snapshot = town.open(f"s{day}-0")
        for hour in range(0, 24, 3):
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


def test_the_newest_snapshot_of_a_day_counts_and_days_before_are_left_aside(town, past):
    past.publish(0)
    past.publish(5)
    past.publish(5, hour=4)
    assert [one.snapshot_id for one in past.look(days=10, until=12).days] == ["s5-4"]
    with pytest.raises(Held, match="there is no snapshot of the last 2 days"):
        past.look(days=2, until=12)
