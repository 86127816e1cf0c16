"""A plan as text: whom it takes in, what it says to them, and what it warns of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from tests.summaries.hostile import HOSTILE, check_is_data, tokens
from uptake.summaries.plan import plan_headline, plan_summary

BODY = "Hello,\n\n```\n**[a]({{ feature.guide_url }})**\n```\n"


def planned(*, is_new: bool = False, enter: str = "match", **changes: Any) -> Any:
    summary = {
        "as_of": "2026-03-03T09:00:00+00:00",
        "arms": {"treatment": {"accounts": 2, "contacts": 5}},
        "left_out": {"re_entry": {"accounts": 1, "contacts": 0}, "not_chosen": {"accounts": 1, "contacts": 4}},
        "sends_by_day": [{"day": "2026-03-04", "stage_key": "why", "count_sends": 5}],
        **changes.pop("summary", {}),
    }
    plan = {
        "plan_id": "feature-breadth-20260303T0900-abcdef",
        "playbook": "feature-breadth",
        "release_hash": "r" * 64,
        "plan_hash": "p" * 64,
        "snapshot_id": "s1",
        "planned_at": datetime(2026, 3, 3, 9, 30, tzinfo=UTC),
        "count_accounts": 2,
        "count_contacts": 5,
        "summary": summary,
        **changes,
    }
    stages = {"why": SimpleNamespace(email="why.md", task=None), "call": SimpleNamespace(email=None, task=HOSTILE)}
    goal = SimpleNamespace(by="account", reach="adopted", within=timedelta(days=14))
    approval = SimpleNamespace(expires=timedelta(days=90), tolerance=0.5)
    return SimpleNamespace(
        plan=SimpleNamespace(**plan),
        release=SimpleNamespace(
            name="feature-breadth",
            playbook=SimpleNamespace(stages=stages, goal=goal, holdout=0.4, only_new=is_new, enter=enter),
            workspace=SimpleNamespace(approval=approval),
            texts={"why": SimpleNamespace(subject=HOSTILE, body=BODY)},
            words={"call": "Shall we <b>look</b>?"},
        ),
    )


def test_a_plan_of_old_data_says_that_nothing_would_happen() -> None:
    assert "Nothing of it would happen now" not in plan_summary(planned())
    assert "the data are 2 days old" in plan_summary(planned(planned_at=datetime(2026, 3, 5, 10, 0, tzinfo=UTC)))


def test_a_plan_shows_how_the_draw_fell_on_each_kind_of_account() -> None:
    balance = {"team/11-50": {"holdout": 1, "treatment": 3}, HOSTILE: {"treatment": 2}}
    text = plan_summary(planned(summary={"balance": balance}))
    check_is_data(text)
    assert "| plan and seats | treatment | holdout |" in text
    assert "| team/11-50 | 3 (75%) | 1 (25%) |" in text
    assert "| 2 (100%) | 0 (0%) |" in text
    assert "## Balance" not in plan_summary(planned())


def test_a_plan_shows_subjects_and_tasks_as_text() -> None:
    text = plan_summary(planned())
    check_is_data(text)
    assert "| entered before | 1 | all |" in text
    assert "| 2026-03-04 | 5 |" in text
    assert "at every tick up to 3 of them (what this plan found, and a tolerance of 50%)" in text


def test_a_plan_shows_each_text_as_it_is_written() -> None:
    found = [token.content for token in tokens(plan_summary(planned())) if token.type == "fence"]
    assert found[:2] == [BODY, "Shall we <b>look</b>?\n"]


def test_a_plan_tells_what_it_foresees() -> None:
    edit = {
        "approved_plan": HOSTILE, "follows": True, "stand_now": {"why": 3, "": 1}, "stand_then": {"new": 3, "": 1},
        "changes": [{"part": "stage", "key": HOSTILE, "how": "changed", "fields": ["after"]}],
    }  # fmt: skip
    against = {"snapshot_id": HOSTILE, "as_of": "2026-03-02T09:00:00+00:00", "match_now": [HOSTILE] * 16}
    against |= {key: [] for key in ("match_no_more", "enter_now", "enter_no_more")}  # type: ignore[arg-type]
    provable = {"treated": 90, "held_out": 10, "rate": 0.5, "detectable_lift": 0.4669, "is_hopeless": True}
    summary = {
        "first_tick": {"send": 4, "retry:capped_person": 1}, "edit": edit, "against": against, "provable": provable,
        "since": {"plan_id": HOSTILE, "more": ["a", "b"], "fewer": []},
    }  # fmt: skip
    text = plan_summary(planned(summary=summary))
    check_is_data(text)
    for said in (
        "| not now | capped person | 1 |",
        "**Too few to prove anything.** With 90 treated and 10 held-out accounts",
        "a lift of 47 percentage points",
        "| why | 3 | 0 |",
        "| none left | 1 | 1 |",
        "Match here and not there: 16 accounts.",
        "... and 1 more",
        "2 more accounts enter, 0 of it do not.",
    ):
        assert said in text
    none = planned(summary={"provable": provable | {"held_out": 0, "detectable_lift": None}})
    assert "**No lift can be shown**" in plan_summary(none)
    pinned = planned(summary={"edit": edit | {"follows": False}})
    assert "keep what they entered with" in plan_summary(pinned)


def test_a_plan_of_nobody_says_so_and_warns_of_its_approval() -> None:
    nothing = {"arms": {}, "left_out": {}, "sends_by_day": []}
    empty = planned(count_accounts=0, count_contacts=0, summary=nothing)
    text = plan_summary(empty)
    assert "Nobody would enter." in text
    assert "No e-mail would be sent." in text
    assert "This plan takes nobody in" in text
    assert "0 accounts with 0 contacts" in plan_headline(empty)
    assert "1 account with" in plan_headline(planned(count_accounts=1))
    # Who matched before it was launched stays out, and others may come to match.
    later = planned(count_accounts=0, count_contacts=0, summary=nothing, is_new=True)
    assert "Whoever comes to match enters, for 90 days and at every tick up to 10 accounts" in plan_summary(later)
    nobody = {"treated": 0, "held_out": 0, "rate": 0.5, "detectable_lift": None, "is_hopeless": True}
    assert "No lift" not in plan_summary(planned(summary=nothing | {"provable": nobody}))
    assert "by hand; nobody enters by itself" in plan_summary(planned(enter="manual"))


def test_a_plan_of_a_closed_calendar_says_of_which_day_it_is() -> None:
    closed = planned(summary={"opens_on": "2026-04-01"}, enter="calendar")
    assert "this is its plan for 2026-04-01" in plan_summary(closed)
    assert "would enter on 2026-04-01; nobody was mailed" in plan_headline(closed)
    assert "calendar is closed" not in plan_summary(planned())
