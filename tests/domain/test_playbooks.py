"""Playbooks as models: what may be said, how it is stored, and when it is another release."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from uptake.domain.playbook_values import FROM_FILE, ClockTime, Duration, Key, Share
from uptake.domain.playbooks import Playbook, Release, Stage, StageText
from uptake.domain.workspace import Exclusions, OptOut, Window, Workspace

NOW = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
PLAYBOOK: dict[str, Any] = {
    "teaches": "dashboards",
    "topic": "product-training",
    "audience": {"where": "account.plan == 'team'"},
    "goal": {"within": "28d"},
    "holdout": "10%",
    "stages": {"why": {"email": "why.md"}, "call": {"task": "Call", "after": "7d"}},
}
WORKSPACE: dict[str, Any] = {
    "sender": {"name": "Success", "address": "success@example.com"},
    "postal_address": "1 Example Street",
    "topics": {"product-training": 1},
    "caps": {"person": {"mails": 2, "per": "7d"}, "account": {"mails": 10, "per": "1w"}},
    "window": {"start": "08:00", "end": "18:00"},
    "holidays": ["2026-12-25"],
}


def release(**changes: Any) -> Release:
    text = StageText(subject="Hello", body="Text")
    parts = {"name": "x", "playbook": PLAYBOOK, "workspace": WORKSPACE, "texts": {"why": text}, "layout": "<mjml/>"}
    return Release.model_validate(parts | changes)


class Holder(BaseModel):
    duration: Duration = timedelta(0)
    share: Share = 0.0
    clock: ClockTime = time(0)
    key: Key = "x"


@pytest.mark.parametrize(
    ("written", "read"), [("12h", timedelta(hours=12)), ("3d", timedelta(days=3)), ("2w", timedelta(days=14))]
)
def test_a_duration_is_a_number_and_a_unit(written: str, read: timedelta) -> None:
    assert Holder(duration=written).duration == read  # type: ignore[arg-type]


@pytest.mark.parametrize("written", ["Why", "1st", "a b", "", "why\n", "wähle"])
def test_anything_but_lower_case_letters_digits_and_dashes_is_no_key(written: str) -> None:
    with pytest.raises(ValidationError, match="is no key; expected a lower-case letter, then such letters, digits"):
        Holder(key=written)


@pytest.mark.parametrize("written", ["3", 3, "3 days", "-3d", "3m", "d", "", None, "99999d"])
def test_anything_else_is_no_duration(written: object) -> None:
    with pytest.raises(ValidationError, match="is not a duration; expected a number and a unit, like 12h, 3d or 2w"):
        Holder(duration=written)  # type: ignore[arg-type]


@pytest.mark.parametrize(("written", "read"), [("10%", 0.1), ("0%", 0.0), ("100%", 1.0), ("2.5%", 0.025)])
def test_a_share_is_a_percentage(written: str, read: float) -> None:
    assert Holder(share=written).share == read  # type: ignore[arg-type]


@pytest.mark.parametrize("written", ["10", "0.1", 10, "101%", "-1%", "%", None, 1.5, -0.1])
def test_anything_else_is_no_share(written: object) -> None:
    with pytest.raises(ValidationError, match="is not a share; expected a percentage from 0% to 100%, like 10%"):
        Holder(share=written)  # type: ignore[arg-type]


def test_a_bare_number_is_a_share_in_code_but_not_in_a_file() -> None:
    assert Holder(share=0.1).share == 0.1
    with pytest.raises(ValidationError, match=r"0\.1 is not a share"):
        Holder.model_validate({"share": 0.1}, context=FROM_FILE)


@pytest.mark.parametrize("written", ["8:00", "24:00", "08:60", "08", 8, "08:00:00", None])
def test_a_time_of_day_is_hours_and_minutes(written: object) -> None:
    assert Holder(clock="23:59").clock == time(23, 59)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="is not a time of day; expected hours and minutes, like 08:00"):
        Holder(clock=written)  # type: ignore[arg-type]


@given(
    st.integers(0, 9_999).map(lambda hours: timedelta(hours=hours)),
    st.integers(0, 10_000).map(lambda n: n / 10_000),
    st.integers(0, 24 * 60 - 1).map(lambda m: time(m // 60, m % 60)),
)
def test_what_is_stored_is_read_back_as_it_was(duration: timedelta, share: float, clock: time) -> None:
    held = Holder(duration=duration, share=share, clock=clock)
    again = Holder.model_validate_json(held.model_dump_json())
    assert (again.duration, again.clock) == (duration, clock)
    assert again.share == pytest.approx(share, abs=1e-12)
    assert again.model_dump_json() == held.model_dump_json()


def test_defaults_are_the_harmless_ones() -> None:
    stored = release()
    assert stored.playbook.goal.reach == "adopted"
    assert stored.playbook.audience.contacts.max_per_account == 3
    assert stored.playbook.re_entry is None
    assert stored.workspace.consent.default_basis == "none"
    assert stored.workspace.exclusions == Exclusions()
    assert stored.workspace.holidays == (date(2026, 12, 25),)


@pytest.mark.parametrize("place", [(), ("audience",), ("goal",), ("stages", "why")])
def test_an_unknown_key_is_an_error_everywhere(place: tuple[str, ...]) -> None:
    changed = Playbook.model_validate(PLAYBOOK).model_dump(mode="json")
    inner = changed
    for step in place:
        inner = inner[step]
    inner["surprise"] = 1
    with pytest.raises(ValidationError, match="surprise"):
        Playbook.model_validate(changed)


@pytest.mark.parametrize("stage", [{}, {"email": "a.md", "task": "b"}, {"after": "3d"}])
def test_a_stage_is_an_email_or_a_task(stage: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="a stage has either `email` or `task`"):
        Stage.model_validate(stage)


@pytest.mark.parametrize("key", ["owner", "within", "dedupe", "facts", "words"])
def test_what_belongs_to_a_task_is_refused_on_an_email(key: str) -> None:
    value = {"within": "3d", "facts": ["account.arr"], "words": "call.md"}.get(key, "rep")
    assert Stage.model_validate({"task": "Call", key: value})
    with pytest.raises(ValidationError, match=f"`{key}` belongs to a task, and this stage is an e-mail"):
        Stage.model_validate({"email": "a.md", key: value})


def test_a_task_has_a_week_and_is_the_only_one_of_its_stage_unless_it_says_otherwise() -> None:
    plain, said = Stage(task="Call"), Stage.model_validate({"task": "Call", "within": "2d", "dedupe": "help"})
    assert (plain.time_to_do, said.time_to_do) == (timedelta(days=7), timedelta(days=2))
    assert (plain.dedupe_key("p", "call"), said.dedupe_key("p", "call")) == ("p/call", "help")


@pytest.mark.parametrize("email", ["../a.md", "a/b.md", "a.txt", ".md/..", ""])
def test_a_text_is_a_file_beside_the_playbook(email: str) -> None:
    with pytest.raises(ValidationError):
        Stage.model_validate({"email": email})


def test_a_window_ends_after_it_starts() -> None:
    with pytest.raises(ValidationError, match="window ends at 08:00, which is not after its start 18:00"):
        Window(start=time(18), end=time(8))
    with pytest.raises(ValidationError, match="days"):
        Window(days=(), start=time(8), end=time(18))


def test_a_playbook_opts_out_of_exclusions_one_by_one() -> None:
    reason = "For a reason worth writing down"
    assert Exclusions().without(OptOut()) == Exclusions()
    assert Exclusions().without(OptOut(churned=reason)) == Exclusions(churned=False)
    assert Exclusions().without(OptOut(internal=reason, open_ticket=reason)) == Exclusions(
        internal=False, open_ticket=False
    )
    assert Exclusions().without(OptOut(too_new=reason)).younger_than == timedelta(0)
    assert not Exclusions(churned=False).without(OptOut()).churned
    with pytest.raises(ValidationError):
        OptOut(churned="because")


def test_a_release_is_known_by_everything_in_it() -> None:
    hashes = {
        release().release_hash,
        release(layout="<mjml></mjml>").release_hash,
        release(playbook=PLAYBOOK | {"holdout": "11%"}).release_hash,
        release(workspace=WORKSPACE | {"postal_address": "2 Example Street"}).release_hash,
        release(texts={"why": StageText(subject="Hello!", body="Text")}).release_hash,
    }
    assert len(hashes) == 5
    assert release().release_hash == release().release_hash
    assert Release.model_validate_json(release().model_dump_json()).release_hash == release().release_hash


def test_a_template_is_known_by_its_text_and_layout_only() -> None:
    same = release(playbook=PLAYBOOK | {"holdout": "11%"})
    assert release().template_hash("why") == same.template_hash("why")
    assert release().template_hash("why") != release(layout="<mjml></mjml>").template_hash("why")


def test_a_workspace_cannot_be_changed_once_read() -> None:
    with pytest.raises(ValidationError):
        Workspace.model_validate(WORKSPACE).postal_address = "elsewhere"  # type: ignore[misc]


def test_a_playbook_without_a_goal_says_why_and_may_teach_nothing() -> None:
    survey = PLAYBOOK | {"goal": {"none": "A survey teaches nothing"}, "teaches": None}
    assert Playbook.model_validate(survey).measured_for == timedelta(days=7)  # as long as its longest way
    assert Playbook.model_validate(PLAYBOOK).measured_for == timedelta(days=28)
    for goal in ("none", None, {}, {"within": "3d", "none": "Both of them together"}):
        with pytest.raises(ValidationError, match="goal"):
            Playbook.model_validate(survey | {"goal": goal})
    with pytest.raises(ValidationError, match="only a playbook without a goal teaches nothing"):
        Playbook.model_validate(PLAYBOOK | {"teaches": None})
    with pytest.raises(ValidationError, match="a stage of a playbook that teaches nothing has no goal"):
        Playbook.model_validate(survey | {"stages": {"a": {"email": "a.md", "goal": {}}}})


def test_a_stage_waits_for_something_and_at_most_so_long() -> None:
    for half in ({"wait_until": "account.churned"}, {"for": "3d"}):
        with pytest.raises(ValidationError, match="`wait_until` and `for` go together"):
            Stage.model_validate({"email": "a.md"} | half)
    stage = Stage.model_validate({"email": "a.md", "wait_until": "account.churned", "for": "3d"})
    assert stage.wait_for == timedelta(days=3)
    assert Stage.model_validate_json(stage.model_dump_json()) == stage


def test_a_window_lies_within_another_or_does_not() -> None:
    week = Window(start=time(8), end=time(18))
    assert Window(days=("tue",), start=time(9), end=time(18)).lies_within(week)
    for other in (
        Window(days=("sat",), start=time(9), end=time(10)),
        Window(start=time(7), end=time(10)),
        Window(start=time(9), end=time(19)),
    ):
        assert not other.lies_within(week)
    assert week.minutes == 600


def test_a_playbook_says_how_accounts_enter() -> None:
    plain = Playbook.model_validate(PLAYBOOK)
    assert (plain.enter, plain.only_new, plain.opens_on(NOW)) == ("match", True, None)
    assert not Playbook.model_validate(PLAYBOOK | {"backfill": "all"}).only_new
    by_day = Playbook.model_validate(PLAYBOOK | {"enter": "calendar", "calendar": [NOW.date()]})
    by_hand = Playbook.model_validate(PLAYBOOK | {"enter": "manual", "holdout": "0%"})
    assert [one.takes_in(NOW) for one in (plain, by_day, by_hand)] == [True, True, False]
    assert not by_day.takes_in(NOW - timedelta(days=1))
    for wrong, says in (
        ({"enter": "calendar"}, "go together"),
        ({"calendar": ["2026-03-03"]}, "go together"),
        ({"enter": "manual"}, "outside lift; expected 0%"),
        (
            {"enter": "calendar", "calendar": ["2026-03-03"], "re_entry": {"after": "3d", "max": 2}},
            "on each of its days",
        ),
    ):
        with pytest.raises(ValidationError, match=says):
            Playbook.model_validate(PLAYBOOK | wrong)
    assert Playbook.model_validate(PLAYBOOK | {"enter": "manual", "holdout": "0%"}).enter == "manual"


@given(st.lists(st.dates(date(2026, 2, 1), date(2026, 4, 1)), min_size=1), st.integers(0, 24 * 90))
def test_a_calendar_is_open_for_two_days_from_each_of_its_days(days: list[date], hours: int) -> None:
    now = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(hours=hours)
    rules = Playbook.model_validate(PLAYBOOK | {"enter": "calendar", "calendar": days})
    opening = rules.opens_on(now)
    recent = [day for day in days if 0 <= (now.date() - day).days < 2]
    assert opening == (max(recent) if recent else None)
    later = [day for day in days if day > now.date()]
    assert rules.next_opening(now) == (min(later) if later else None)
    closed = datetime.combine(min(later), time(), UTC) if later else now
    assert rules.entry_moment(now) == (now if recent else closed)


def test_editors_take_a_way_as_a_word_as_one_or_as_a_list() -> None:
    schema = Playbook.model_json_schema()["$defs"]["Stage"]["properties"]["next"]
    assert [one.get("type", "way") for one in schema["anyOf"]] == ["string", "way", "array"]
