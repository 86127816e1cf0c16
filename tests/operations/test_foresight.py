from collections import Counter
from datetime import timedelta

import pytest

from uptake.errors import SnapshotError
from uptake.operations.plan import plan

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def told(town, now, **options):
    return town.plan(now=now, **options).plan.summary


def test_what_the_first_tick_would_decide_is_what_it_decides(town, now):
    tight = {"caps": {"person": {"mails": 3, "per": "7d"}, "account": {"mails": 1, "per": "7d"}}}
    town.releases["alpha"] = town.release(workspace=tight)
    town.releases["beta"] = town.release("beta", priority=1, holdout="0%", workspace=tight)
    town.approve("beta")
    town.tick()  # its mails take the room
    foreseen = told(town, now)["first_tick"]
    town.approve()
    town.tick()
    found = Counter(
        verdict if reason is None else f"{verdict}:{reason}"
        for verdict, reason in town.rows(
            "select d.verdict, d.reason from decisions d join enrollments e using (enrollment_id)"
            " where e.playbook = 'alpha' and d.superseded_at is null"
        )
    )
    assert foreseen == dict(found)
    assert {"retry:outside_window", "retry:priority_lost"} <= set(foreseen)


def test_nobody_who_enters_is_decided_about_and_the_first_plan_changes_nothing(town, now):
    town.releases["alpha"] = town.release(audience={"where": "account.plan == 'nobody'"})
    found = told(town, now)
    assert (found["first_tick"], found["edit"], found["since"], found["against"]) == ({}, None, None, None)


@pytest.mark.parametrize("edits", ["follow", "pin"])
def test_an_edit_tells_what_changes_and_where_people_stand_now_and_then(town, now, edits):
    town.approve()
    town.tick()
    town.send()  # whose window is closed waits for `why`
    later = now + HOUR
    count_in = dict(
        town.rows(
            "select coalesce(s.status, 'waits'), count(*) from enrollment_contacts c join enrollments e"
            " using (enrollment_id) left join sends s using (enrollment_id, contact_id)"
            " where e.arm = 'treatment' group by 1"
        )
    )
    assert told(town, later)["edit"] is None
    town.releases["alpha"] = town.release(
        edits=edits,
        stages={"why": {"email": "why.md"}, "new": {"email": "new.md", "after": "1d"}, "call": {"task": "Call"}},
    )
    found = told(town, later)["edit"]
    before = {"why": count_in["waits"], "how": count_in["accepted"]}
    then = {"why": count_in["waits"], "new": count_in["accepted"]} if edits == "follow" else before
    assert (found["stand_now"], found["stand_then"]) == (before, then)
    assert found["follows"] is (edits == "follow")
    assert [(one["key"], one["how"]) for one in found["changes"] if one["part"] == "stage"] == [
        ("new", "added"), ("call", "changed"), ("how", "removed"),
    ]  # fmt: skip


def test_what_could_be_proved_counts_those_of_before_too(town, now):
    first = told(town, now)
    arms = first["arms"]
    assert (first["provable"]["treated"], first["provable"]["held_out"]) == (
        arms["treatment"]["accounts"], arms["holdout"]["accounts"],
    )  # fmt: skip
    assert first["provable"]["is_hopeless"]  # a dozen accounts
    town.approve()
    town.tick()
    assert told(town, now + HOUR)["provable"] == first["provable"]
    town.releases["alpha"] = town.release(holdout="0%")
    without = type(town)(_folder(town))
    without.settle(5, is_plain=True)
    without.publish()
    without.releases["alpha"] = town.release(holdout="0%")
    found = told(without, now)["provable"]
    without.ledger.close()
    assert (found["held_out"], found["detectable_lift"], found["is_hopeless"]) == (0, None, True)
    town.releases["alpha"] = town.release(goal={"none": "A newsletter teaches nothing"}, holdout="0%")
    assert told(town, now + 2 * HOUR)["provable"] is None


def _folder(town):
    folder = town.folder / "other"
    folder.mkdir()
    return folder


def test_who_enters_and_leaves_between_two_snapshots_and_since_the_last_plan(town, playbooks, now):
    town.settle(3, prefix="stays", is_plain=True)
    town.settle(1, prefix="goes", is_plain=True)
    town.publish(snapshot_id="before")
    old = town.snapshot
    town.plan()
    town.settle(2, prefix="comes", is_plain=True)
    town.accounts["goes-0"]["plan"] = "free"
    town.accounts["stays-0"]["count_open_tickets"] = 1
    town.publish(now + HOUR, snapshot_id="after")
    town.open = lambda snapshot_id: {"before": old}[snapshot_id]
    found = plan(
        playbooks, town.journeys, town, town.ledger, name="alpha", git_sha="x", now=now + HOUR, against="before"
    ).plan.summary
    assert found["against"] == {
        "snapshot_id": "before", "as_of": now.isoformat(), "match_now": ["comes-0", "comes-1"],
        "match_no_more": ["goes-0"], "enter_now": ["comes-0", "comes-1"], "enter_no_more": ["goes-0", "stays-0"],
    }  # fmt: skip
    assert (found["since"]["more"], found["since"]["fewer"]) == (["comes-0", "comes-1"], ["goes-0", "stays-0"])


def test_a_snapshot_that_is_not_there_is_said_and_nothing_is_planned(town, playbooks, now):
    def missing(snapshot_id):
        raise SnapshotError(f"no snapshot {snapshot_id}")

    town.open = missing
    with pytest.raises(SnapshotError, match="no snapshot ghost"):
        plan(playbooks, town.journeys, town, town.ledger, name="alpha", git_sha="x", now=now, against="ghost")
    assert town.rows("select count(*) from plans") == [(0,)]
