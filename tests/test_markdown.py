"""What is shown of results: customer data is data in it, and nothing found reads as nothing found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from uptake.backtest_summary import backtest_summary
from uptake.domain.arms import Arm
from uptake.domain.conditions import Seen
from uptake.domain.eligibility import Reason
from uptake.domain.lift import ArmLift, ArmMean, Lift, SampleRatio, Verdict
from uptake.domain.outcomes import PlaybookOutcome
from uptake.explanation import explanation_summary
from uptake.markdown import (
    lift_summary,
    outcome_summary,
    refresh_summary,
    table,
    tick_headline,
    tick_summary,
)
from uptake.operations.backtest import Backtest, CapHit, Day, Lived, Overlap
from uptake.operations.explained import (
    CapUse,
    Enrollment,
    Explanation,
    Happened,
    NextStage,
    OpenTask,
    PlaybookExplanation,
    Wait,
)
from uptake.operations.record_delivery import DeliveryResult
from uptake.operations.refresh import RefreshResult
from uptake.operations.send import SendResult
from uptake.operations.standing import NextSends, Standing, State
from uptake.operations.status import Status
from uptake.operations.tick import TickResult
from uptake.operations.tick_report import TickReport
from uptake.plan_summary import plan_headline, plan_summary
from uptake.ports import Check, ControlState
from uptake.status_summary import status_summary

#: Strict CommonMark plus what Prefect's page adds: tables and strike-through.
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = (
    "<script>x</script> ![a](http://e.example/p.png) [b](javascript:1) `c` **d** | e\n# f\n\n| g |\n- h ~~i~~ &lt; _j_"
)
BAD = {"html_inline", "html_block", "image", "link_open", "s_open", "code_inline"}


def tokens(text: str) -> list[Token]:
    found = MARKDOWN.parse(text)
    return [*found, *(child for token in found for child in token.children or [])]


def shown(text: str) -> list[str]:
    """Return what a reader sees, one entry per paragraph, heading or cell."""
    return [
        "".join(
            child.content for child in token.children or [] if child.type in ("text", "code_inline", "text_special")
        )
        for token in MARKDOWN.parse(text)
        if token.type == "inline"
    ]


def check_is_data(text: str, *, allowed: frozenset[str] = frozenset({"code_inline"})) -> None:
    """Hold that HOSTILE is text: no markup of its own, word for word, in one place each."""
    kinds = {token.type for token in tokens(text)}
    assert not kinds & (BAD - allowed), kinds
    flat = " ".join(HOSTILE.split())
    assert any(flat in part for part in shown(text)), shown(text)
    assert not any(token.type == "code_inline" and token.content == "c" for token in tokens(text))


# --- tables ---------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1, max_size=4))
@example([["- a", "1. b"], ["=", "+ c"], ["\\", "\\|"], ["~~", "&amp;"]])
def test_a_cell_shows_its_text_whatever_the_text(rows: list[list[str]]) -> None:
    text = table(("left", "right"), rows)
    cells = shown(text)[2:]
    expected = [" ".join(cell.split()) for row in rows for cell in row]
    assert [" ".join(cell.split()) for cell in cells] == [
        cell.replace("\0", "\N{REPLACEMENT CHARACTER}") for cell in expected
    ]
    assert not {token.type for token in tokens(text)} & BAD


def test_an_empty_table_says_so_and_unknown_is_a_dash() -> None:
    assert table(("a",), [], empty="Nobody.") == "Nobody."
    assert "| – | no | 2026-03-03 09:00 |" in table(
        ("a", "b", "c"), [(None, False, datetime(2026, 3, 3, 9, 0, tzinfo=UTC))]
    )


# --- summaries ------------------------------------------------------------------------------------------


def refreshed(**changes: Any) -> RefreshResult:
    counts = dict.fromkeys(
        ("lines", "events", "duplicates", "quarantined", "unattributed", "accounts", "users", "features"), 0
    )
    values = {"unmapped_events": {}, "snapshot_id": None, "gate": "held", "reasons": (), **counts, **changes}
    return RefreshResult(**values)


def test_a_held_refresh_tells_its_reasons_as_text() -> None:
    text = refresh_summary(refreshed(reasons=(HOSTILE,), unmapped_events={HOSTILE: 3}))
    assert text.startswith("# Refresh: HELD")
    check_is_data(text)


def test_a_held_refresh_shows_rows_by_id_the_override_and_the_data_docs() -> None:
    check = Check(
        name="gx:accounts_current:nothing_negative", status="failed", severity="critical", detail="2 rows",
        rows=("account_id=a1", HOSTILE),
    )  # fmt: skip
    warning = replace(check, name="dbt:plans", severity="warning", rows=())
    fine = replace(check, name="gate:lines", status="passed")
    result = refreshed(
        reasons=("gx: 2 rows",), held_snapshot_id="s2", checks=(fine, warning, check), report_reasons=("gx:value",)
    )
    text = refresh_summary(result, docs="var/data_docs/index.html")
    check_is_data(text, allowed=frozenset({"code_inline", "link_open"}))
    assert [token.attrGet("href") for token in tokens(text) if token.type == "link_open"] == [
        "var/data_docs/index.html"
    ]
    assert "uptake override s2 --by NAME --reason WHY" in text
    assert "(var/data_docs/index.html)" in text
    assert "no report is made of it" in text
    assert "gate:lines" not in text
    assert text.index("nothing\\_negative") < text.index("dbt:plans")
    assert "account\\_id=a1" in text


def test_an_empty_refresh_is_shown_and_many_unmapped_events_are_cut_short() -> None:
    assert "| lines read | 0 |" in refresh_summary(refreshed())
    text = refresh_summary(refreshed(gate="passed", snapshot_id="s1", unmapped_events={f"e{n}": n for n in range(40)}))
    assert "Published snapshot `s1`." in text
    assert "... and 25 more." in text


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
            playbook=SimpleNamespace(stages=stages, goal=goal, holdout=0.4, only_new=is_new, enter=enter),
            workspace=SimpleNamespace(approval=approval),
            texts={"why": SimpleNamespace(subject=HOSTILE)},
        ),
    )


def test_a_plan_of_old_data_says_that_nothing_would_happen() -> None:
    assert "Nothing of it would happen now" not in plan_summary(planned())
    assert "the data are 2 days old" in plan_summary(planned(planned_at=datetime(2026, 3, 5, 10, 0, tzinfo=UTC)))


def test_a_plan_shows_subjects_and_tasks_as_text() -> None:
    text = plan_summary(planned())
    check_is_data(text)
    assert "| entered before | 1 | all |" in text
    assert "| 2026-03-04 | 5 |" in text
    assert "at every tick up to 3 of them (what this plan found, and a tolerance of 50%)" in text


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


def test_a_look_at_the_past_shows_each_day_and_every_reason() -> None:
    day = Day(date(2026, 3, 3), HOSTILE)
    day.entered.update({"treatment": 9, "holdout": 2, "global_control": 1})
    day.decided.update({"send": 5, "task": 1, "retry:capped_person": 2, "retry:outside_window": 4, "end:left": 1})
    lived = Lived(
        playbook=HOSTILE, release_hash="r", days=[day, Day(date(2026, 3, 5), "s2")], entered=day.entered,
        decided=day.decided, left_out={"re_entry": 7},
    )  # fmt: skip
    other = replace(lived, playbook="beta", days=[], entered={}, decided={"account_end:goal_reached": 3})
    found = Backtest(
        first=date(2026, 3, 3), last=date(2026, 3, 5), missing=[date(2026, 3, 4)], playbooks=[lived, other],
        overlaps=[Overlap(playbooks=(HOSTILE, "beta"), contacts=6, won={HOSTILE: 4, "beta": 1})],
        caps=[CapHit(cap="person", playbook=HOSTILE, contacts=2, days=1)],
    )  # fmt: skip
    text = backtest_summary(found)
    check_is_data(text)
    for said in (
        "**Days without a snapshot**, on which nothing could be seen: 2026-03-04.",
        "| 9 | 3 | 5 | 1 | 6 | 0 |",  # of the playbook
        "| 9 | 3 | 5 | 1 | 6 |\n",  # of its day
        "| beta | 0 | 0 | 0 | 0 | 0 | 3 |",
        "| beta | 6 | 4 | 1 |",
        "| not now | capped person | 2 |",
        "| entered before | 7 |",
    ):
        assert said in text
    empty = replace(lived, entered={}, decided={})
    assert "Nobody entered." in backtest_summary(replace(found, playbooks=[empty]))
    alone = backtest_summary(replace(found, playbooks=[lived], overlaps=[], caps=[], missing=[]))
    assert "Overlaps" not in alone
    assert "No cap was hit." in alone


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


def ticked(decided: TickResult, sent: SendResult | None = None, events: int = 0) -> TickReport:
    return TickReport(folded=DeliveryResult(new_events=events), decided=decided, sent=sent or SendResult())


def test_a_tick_tells_who_came_in_what_was_decided_and_what_was_sent() -> None:
    sent = SendResult(accepted=4, expired=1, stopped=HOSTILE)
    sent.withheld[Reason.SUPPRESSED] = 2
    decided = TickResult(
        status="done", snapshot_id="s1", entered={"a": 3, "b": 0}, held={"c": HOSTILE},
        counts={"retry:outside_window": 7, "account_end:goal_reached": 1, "send": 4},
    )  # fmt: skip
    text = tick_summary(ticked(decided, sent, events=9))
    check_is_data(text)
    assert text.startswith("# Tick: 3 accounts entered, 4 mails accepted")
    for row in (
        "| a | 3 |",
        "| not now | outside window | 7 |",
        "| withheld: suppressed | 2 |",
        "| fate unknown | 1 |",
    ):
        assert row in text
    assert "| b |" not in text
    assert "9 delivery events" in text


def test_a_tick_with_nothing_due_says_so_and_one_that_found_another_says_that() -> None:
    text = tick_summary(ticked(TickResult(status="done")))
    for line in ("Nobody new.", "Nothing was due.", "Nothing was waiting to be sent."):
        assert line in text
    assert "stands in the way" not in text
    assert "another tick is running" in tick_headline(ticked(TickResult(status="another tick is running")))


LIFT = Lift(
    arms=(
        ArmLift(
            arm="treatment",
            n=30,
            mean=0.5,
            lift_abs=0.2,
            lift_rel=0.66,
            ci_lower=-0.01,
            ci_upper=0.4,
            se=0.1,
            pvalue=0.06,
        ),
    ),
    control=ArmMean(arm=HOSTILE, n=20, mean=0.3),
    srm=SampleRatio(pvalue=0.5),
    warnings=(HOSTILE,),
)


def outcome(**changes: Any) -> PlaybookOutcome:
    none: dict[Arm, int] = {}
    values: dict[str, Any] = {
        "playbook": HOSTILE, "count_enrolled": none, "count_closed": none, "count_reached": none, "lift": None,
        "verdict": Verdict.TOO_EARLY, "breadth_before": None, "breadth_after": None,
    }  # fmt: skip
    return PlaybookOutcome(**{**values, **changes})


def test_outcomes_show_points_and_their_interval_and_a_dash_before_there_is_any() -> None:
    text = outcome_summary([outcome(), outcome(playbook="b", lift=LIFT, verdict=Verdict.HELPS)], report="value.html")
    check_is_data(text)
    assert "| too early to say | – | – |" in text
    assert "| helps | +20.0 points | -1.0 to +40.0 |" in text
    assert "`value.html`" in text
    assert "No playbook has taken anybody in yet." in outcome_summary([])


def test_a_lift_names_its_arms_as_text_and_raises_the_alarm() -> None:
    check_is_data(lift_summary(LIFT))
    alarm = Lift(arms=LIFT.arms, control=LIFT.control, srm=SampleRatio(pvalue=1e-6))
    assert "ALARM" in lift_summary(alarm)


def test_status_shows_every_list_and_cuts_long_ones() -> None:
    empty = Status(gate=None, playbooks=[], sends=[], held=[], approvals=[], controls=[])
    assert "No refresh has run yet." in status_summary(empty)
    assert status_summary(empty).count("None.") == 5
    gate = {
        "status": "held",
        "checked_at": datetime(2026, 3, 3, 9, 0, tzinfo=UTC),
        "snapshot_id": None,
        "reasons": [HOSTILE],
    }
    rows: list[Any] = [{"send_id": "x", "playbook": HOSTILE, "status": "unknown"}] * 20
    text = status_summary(Status(gate=gate, playbooks=[], sends=[], held=rows, approvals=[], controls=[]))
    check_is_data(text)
    let_pass = gate | {"status": "passed", "overridden_by": HOSTILE, "override_reason": HOSTILE}
    text_of_override = status_summary(Status(gate=let_pass, playbooks=[], sends=[], held=[], approvals=[], controls=[]))
    check_is_data(text_of_override)
    assert "let pass by" in text_of_override
    assert "| playbook | stage key | account id | status | detail |" in text
    assert "... and 5 more" in text


def test_status_says_where_each_playbook_stands_and_what_it_sends() -> None:
    plain: dict[str, Any] = {
        "edit": None, "enrolled": 12, "holdout": 3, "entered": 20, "would_enter": None, "sent": 1_234,
        "open_tasks": 2, "overdue_tasks": 1,
    }  # fmt: skip
    days = [
        NextSends(day=date(2026, 3, day), stage_key=key, count_sends=5) for day, key in ((3, "a"), (3, "b"), (4, "a"))
    ]
    held = Standing(playbook=HOSTILE, state=State.HELD, because=HOSTILE, opens=HOSTILE, next_sends=days, **plain)
    live = {**plain, "edit": "edited since", "would_enter": 4}
    other = Standing(playbook="p", state=State.LIVE, because="approved", opens=None, next_sends=(), **live)
    text = status_summary(Status(gate=None, playbooks=[held, other], sends=[], held=[], approvals=[], controls=[]))
    check_is_data(text)
    assert "| live | 12 | 3 | 1,234 | 0 | 2 (1 overdue) |" in text
    assert "| held | 12 | 3 | 1,234 | 15 | 2 (1 overdue) |" in text
    assert "- p is live: approved. 4 accounts would enter at a tick now." in text
    assert "- p: edited since." in text
    assert "| 2026-03-03 | 10 |" in text
    assert "leaves now" not in text
    paused = replace(other, state=State.PAUSED, mail_waits=True, next_sends=days)
    text = status_summary(Status(gate=None, playbooks=[held, paused], sends=[], held=[], approvals=[], controls=[]))
    assert "| paused | 12 | 3 | 1,234 | 0 (15 wait) | 2 (1 overdue) |" in text
    assert "Nothing of p leaves now: these are what is due, and go only once it opens" in text


def test_an_explanation_shows_what_was_seen_as_text() -> None:
    seen = SimpleNamespace(text=f"account.name == '{HOSTILE}'", values={"account.name": HOSTILE}, holds=None)
    playbook = SimpleNamespace(
        playbook="p", enters=False, left_out="re_entry", enrollments=(), arm="treatment", feature_key=HOSTILE,
        entries_held=HOSTILE, where=(seen,), at_most=3, enter="match", closed=HOSTILE,
    )  # fmt: skip
    found: Any = SimpleNamespace(
        contact_id=HOSTILE,
        account_id="a",
        controls=ControlState(playbooks={"p": "pause"}, accounts={"a": "stop"}),
        snapshot_id="s1",
        last_mail_at=None,
        gate_held=HOSTILE,
        playbooks=(playbook,),
    )
    text = explanation_summary(found)
    check_is_data(text)
    assert "The playbook is paused." in text
    assert "The account is stopped." in text
    found.playbooks = ()
    assert "Last mail: –." in explanation_summary(found)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, "Next: the mail of stage how, due 2026-03-06 09:00 UTC."),
        ({}, "not before 2026-03-06 23:00 UTC, by the clock of Asia/Tokyo (2026-03-07 is a Saturday)."),
        (
            {"verdict": "retry", "reason": "capped_person", "detail": ""},
            "due 2026-03-06 09:00 UTC; not now, because: capped person.",
        ),
        ({"waits_for": "unknown"}, "It is under way: unknown."),
        (
            {"wait": Wait(seen=(), holds=None, until=datetime(2026, 3, 9, 9, tzinfo=UTC))},
            "It waits until this is true, at most until 2026-03-09 09:00 UTC:",
        ),
        ({"when_holds": None}, "It goes only to whom this is true of; now it is unknown:"),
        (
            {
                "kind": "task", "waits_for": "task",
                "task": OpenTask(
                    task_id=7, title=HOSTILE, owner=None, due_at=datetime(2026, 3, 8, 9, tzinfo=UTC),
                    lapses_at=datetime(2026, 3, 15, 9, tzinfo=UTC),
                ),
            },
            "Task 7 is open, to be done by nobody known until 2026-03-08 09:00 UTC",
        ),
    ],
)  # fmt: skip
def test_an_explanation_says_what_comes_next_and_when(changed: dict[str, Any], says: str) -> None:
    seen = Seen(text="account.arr > 1", values={"account.arr": HOSTILE}, holds=False)
    plain: dict[str, Any] = {
        "stage_key": "how", "kind": "email", "due_at": datetime(2026, 3, 6, 9, tzinfo=UTC),
        "earliest_at": datetime(2026, 3, 6, 23, tzinfo=UTC), "zone": "Asia/Tokyo", "wait": None, "task": None,
        "closed_because": "2026-03-07 is a Saturday",
        "when": (seen,), "when_holds": False, "waits_for": None, "verdict": None, "reason": None, "detail": HOSTILE,
    }  # fmt: skip
    at = datetime(2026, 3, 3, 9, tzinfo=UTC)
    history = (
        Happened(at=at, stage_key="why", what="decided", outcome="retry", reason="outside_window", detail=HOSTILE),
        Happened(at=at, stage_key="why", what="sent", outcome="accepted", reason=None, detail=HOSTILE),
        Happened(at=at, stage_key=None, what="left", outcome="ended", reason="goal_reached", detail=""),
    )
    entry = Enrollment(
        enrollment_id=1, entry_no=1, arm="treatment", enrolled_at=datetime(2026, 3, 3, 9, tzinfo=UTC), ended_at=None,
        is_contact_in=True, feature_key=None, ending=None, ended_stages=(), next_stage=NextStage(**(plain | changed)),
        was_contact_in=True, history=history,
    )  # fmt: skip
    one = PlaybookExplanation(
        playbook=HOSTILE, approved_by="Ada", expires_at=None, entries_held=None, at_most=3, arm="treatment",
        enters=False, left_out="in_already", where=(), where_holds=True, feature_key=None, enrollments=(entry,),
        person_cap=CapUse(mails=1, at_most=3, per=timedelta(days=7)),
    )  # fmt: skip
    found = Explanation(
        contact_id="c", account_id="a", snapshot_id="s", as_of=datetime(2026, 3, 3, 9, tzinfo=UTC), gate_held=None,
        controls=ControlState(), last_mail_at=None, playbooks=(one,),
    )  # fmt: skip
    text = explanation_summary(found)
    check_is_data(text)
    assert says in text
    assert "Caps: this person 1 of 3 mails in 7 days; the account: no cap." in text
    assert "why: not now, because: outside window" in text
    assert "09:00 UTC: why: mail accepted\n" in text
    assert "09:00 UTC: left, because: goal reached" in text


@pytest.mark.parametrize("mark", ["- ", "1. ", "+ ", "* ", "> ", "# ", "=== ", "    ", "<script "])
def test_a_reason_that_looks_like_a_list_stays_one_line_of_one_list(mark: str) -> None:
    found = tokens(refresh_summary(refreshed(reasons=(f"{mark}a", "b"))))
    assert [token.type for token in found].count("bullet_list_open") == 1
    assert [token.type for token in found].count("list_item_open") == 2
    assert not {"ordered_list_open", "blockquote_open", "code_block", "html_block"} & {token.type for token in found}
