from datetime import timedelta

import pytest

from uptake.errors import PlaybookError, SnapshotError
from uptake.operations.standing import State, standings
from uptake.operations.tasks import close_task

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def stands(town, playbooks, now):
    """Say where a playbook of the town stands."""

    def stand(moment=now, name="alpha"):
        found = standings(playbooks, town.journeys, town, town.ledger, now=moment)
        return next(one for one in found if one.playbook == name)

    return stand


def test_a_playbook_is_a_draft_then_waits_for_its_approval_then_is_live(town, now, stands):
    assert (stands().state, stands().opens) == (State.DRAFT, "`uptake plan alpha`")
    plan = town.plan().plan
    found = stands()
    assert (found.state, found.because) == (State.WAITING, f"plan {plan.plan_id} is not approved")
    assert found.opens == f"`uptake approve {plan.plan_id} --by NAME`"
    town.approve()
    found = stands()
    assert (found.state, found.opens, found.edit) == (State.LIVE, None, None)
    assert found.because == "approved by Ada until 2026-06-01"
    assert found.would_enter == plan.count_accounts


def test_a_draft_needs_no_snapshot(town, stands):
    town.snapshot = None
    assert stands().state is State.DRAFT


def test_what_is_counted_is_what_the_ledger_and_a_tick_say(town, now, stands):
    town.approve()
    town.tick()
    found = stands()
    arms = dict(town.rows("select arm, count(*) from enrollments group by arm"))
    assert (found.enrolled, found.holdout) == (arms["treatment"], arms["holdout"])
    assert (found.entered, found.would_enter, found.sent) == (sum(arms.values()), 0, 0)
    # Planned now, or as soon as the day begins in Tokyo, which is today in UTC.
    treated = town.rows(
        "select count(*) from enrollment_contacts join enrollments using (enrollment_id) where arm = 'treatment'"
    )
    assert {one.stage_key: one.count_sends for one in found.next_sends if one.day == now.date()} == {
        "why": treated[0][0]
    }
    taken = len(town.send())
    assert stands().sent == taken > 0


def test_next_sends_are_what_ticks_send_when_nothing_stands_in_between(town, now, stands):
    town.releases["alpha"] = town.release(
        stages={
            "why": {"email": "why.md"},
            "how": {"email": "how.md", "after": "2d"},
            "more": {"email": "more.md", "after": "9d"},
        }
    )
    town.approve()
    town.tick()
    town.send()
    told = {(one.day, one.stage_key): one.count_sends for one in stands(now + HOUR).next_sends}
    sent = {}
    for hour in range(2, 7 * 24):
        moment = now + hour * HOUR
        if hour % 24 == 0:
            town.publish(moment, snapshot_id=f"s{hour}")
        if 0 <= moment.weekday() < 5:
            town.tick(moment)
            for send_id in town.send(moment):
                (row,) = town.ledger.read("send", send_id=send_id)
                key = (moment.date(), row["stage_key"])
                sent[key] = sent.get(key, 0) + 1
    assert told == sent
    assert {key for _, key in told} == {"why", "how"}


def test_a_pause_says_who_and_why_and_comes_before_all_else(town, now, stands):
    town.approve()
    town.ledger.releases.control("playbook", "alpha", "pause", reason="holiday", by="Grace", now=now)
    found = stands(now + 3 * DAY)  # stale by then, too
    assert found.state is State.PAUSED
    assert found.because == "it is paused since 2026-03-03 09:00 UTC by Grace: holiday"
    assert found.opens == "`uptake resume alpha`"
    town.ledger.releases.control("all", "*", "pause", reason="incident", by="Ada", now=now)
    assert stands().because == "everything is paused since 2026-03-03 09:00 UTC by Ada: incident"
    town.ledger.releases.control("all", "*", "resume", reason="over", by="Ada", now=now)
    town.ledger.releases.control("playbook", "alpha", "stop", reason="no use", by="Ada", now=now)
    assert stands().because == "stopped since 2026-03-03 09:00 UTC by Ada: no use"


@pytest.mark.parametrize(
    ("happens", "because", "opens"),
    [
        ("stale", "snapshot test is stale", "`uptake refresh`"),
        ("locked", "sending is locked (key)", "`uptake resume --sending`"),
        ("locked and stale", "sending is locked (key)", "`uptake resume --sending`"),
        ("restored and stale", "sending is locked (an old copy)", "`uptake reconcile`"),
        ("crowd", "40 accounts would enter", "`uptake plan alpha`, read it, `uptake approve`"),
        ("redefined", "what its goal means has changed", "`uptake plan alpha`"),
    ],
)
def test_a_held_one_says_why_and_what_opens_it(town, now, stands, happens, because, opens):
    town.approve()
    town.tick()
    moment = now + 2 * DAY if "stale" in happens else now + HOUR
    if "locked" in happens:
        town.ledger.releases.control("sending", "", "stop", reason="key", by="uptake", now=now)
    if "restored" in happens:
        control = town.ledger.releases.control
        control("forgotten", now.isoformat(), "stop", reason="an old copy", by="uptake", now=now)
    if happens == "crowd":
        town.settle(40, prefix="new", is_plain=True)
        town.publish(snapshot_id="crowd")
    if happens == "redefined":
        town.publish(snapshot_id="other", manifest={"goal_hash": "another"})
    found = stands(moment)
    assert found.state is State.HELD
    assert because in found.because
    assert opens in found.opens
    assert found.would_enter is None


def test_a_snapshot_that_cannot_be_read_is_told_and_all_else_is_shown(town, now, stands, monkeypatch):
    town.approve()
    town.tick()

    def fail(*_args, **_options):
        raise SnapshotError("snapshot test: no column")

    monkeypatch.setattr(town.journeys, "entrants", fail)
    found = stands()
    assert (found.state, found.because) == (State.HELD, "the current snapshot cannot be read: snapshot test: no column")
    assert found.enrolled > 0


def test_an_audience_that_changed_is_told_as_a_tick_would(town, now, stands):
    town.settle(40, is_plain=True, prefix="more")
    town.publish(snapshot_id="many")
    town.approve()
    town.tick()
    for row in town.accounts.values():
        row["plan"] = "free"
    town.publish(now + HOUR, snapshot_id="none")
    found = stands(now + HOUR)
    assert (found.state, found.because) == (State.HELD, town.tick(now + HOUR).held["alpha"])
    assert "audience" in found.because


def test_by_hand_and_by_calendar_wait(town, now, stands):
    town.releases["alpha"] = town.release(enter="manual", holdout="0%", backfill="none")
    town.approve()
    assert (stands().state, "uptake enter ACCOUNT alpha" in stands().opens) == (State.WAITING, True)
    town.releases["alpha"] = town.release(enter="calendar", calendar=["2026-03-09"], backfill="none")
    town.approve()
    assert stands().because == "the next day of its calendar is 2026-03-09"
    town.publish(now + 6 * DAY, snapshot_id="day")
    town.approve(now=now + 6 * DAY)
    assert stands(now + 6 * DAY).state is State.LIVE
    town.publish(now + 9 * DAY, snapshot_id="later")
    assert stands(now + 9 * DAY).because == "no day of its calendar is left"


def test_an_edit_that_nobody_approved_is_told(town, now, stands, playbooks, monkeypatch):
    town.approve()
    town.releases["alpha"] = town.release(priority=7)
    assert "edited since it was approved; `uptake plan alpha`" in stands().edit
    plan = town.plan(now=now + HOUR).plan
    assert stands(now + HOUR).edit == f"edited; plan {plan.plan_id} of the new version waits for an approval"
    town.approve(now=now + 2 * HOUR)
    assert stands(now + 2 * HOUR).edit is None

    def broken(name):
        raise PlaybookError("playbook.yml:3: unknown key")

    monkeypatch.setattr(playbooks, "release", broken)
    assert stands().edit == "its files are wrong: playbook.yml:3: unknown key"
    monkeypatch.setattr(playbooks, "names", list)
    assert stands().edit == "its files are gone; what was approved goes on"


def test_open_and_overdue_tasks_are_counted(town, now, stands):
    town.releases["alpha"] = town.release(stages={"call": {"task": "Call", "within": "2d"}})
    town.approve()
    town.tick()
    assert stands().open_tasks == stands().enrolled > 0
    assert stands().overdue_tasks == 0
    later = now + 3 * DAY
    assert stands(later).overdue_tasks == stands(later).open_tasks
    for task in town.ledger.read("open_tasks"):
        close_task(town.ledger, task_id=task["task_id"], outcome="done", reason="Spoke", by="Ada", now=later)
    assert stands(later).open_tasks == 0
