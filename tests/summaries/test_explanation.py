"""An explanation as text: what was seen, what happened, and what comes next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tests.summaries.hostile import HOSTILE, check_is_data
from uptake.domain.answers import Answer
from uptake.domain.conditions import Seen
from uptake.operations.explained import (
    Answered,
    CapUse,
    Enrollment,
    Explanation,
    Happened,
    NextStage,
    OpenTask,
    PlaybookExplanation,
    Stopped,
    Wait,
)
from uptake.ports import ControlState
from uptake.summaries.explanation import explanation_summary


def test_an_explanation_shows_what_was_seen_as_text() -> None:
    seen = SimpleNamespace(text=f"account.name == '{HOSTILE}'", values={"account.name": HOSTILE}, holds=None)
    playbook = SimpleNamespace(
        playbook="p", enters=False, left_out="re_entry", enrollments=(), arm="treatment", feature_key=HOSTILE,
        entries_held=HOSTILE, where=(seen,), at_most=3, enter="match", closed=HOSTILE,
        answered=Answered(answer=Answer.COLLEAGUE, given_at=datetime(2026, 3, 3, 9, tzinfo=UTC)),
    )  # fmt: skip
    found: Any = SimpleNamespace(
        contact_id=HOSTILE,
        account_id="a",
        controls=ControlState(playbooks={"p": "pause"}, accounts={"a": "stop"}),
        snapshot_id="s1",
        last_mail_at=None,
        gate_held=HOSTILE,
        stops=(
            Stopped(
                topic=HOSTILE, reason="unsubscribed", source=HOSTILE, suppressed_at=datetime(2026, 3, 2, tzinfo=UTC)
            ),
            Stopped(topic="", reason="erased", source="forget", suppressed_at=datetime(2026, 3, 4, 9, tzinfo=UTC)),
        ),
        playbooks=(playbook,),
    )
    text = explanation_summary(found)
    check_is_data(text)
    assert "The playbook is paused." in text
    assert "Has answered on the preference page that a colleague is the right person for this (2026-03-03 09:00" in text
    assert "The account is stopped." in text
    assert "- No mail at all, because: erased (forget, 2026-03-04 09:00 UTC)." in text
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
        Happened(at=at, stage_key="call", what="task", outcome="declined", reason=None, detail="by Ada: They leave"),
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
        controls=ControlState(), last_mail_at=None, stops=(), playbooks=(one,),
    )  # fmt: skip
    text = explanation_summary(found)
    check_is_data(text)
    assert says in text
    assert "Caps: this person 1 of 3 mails in 7 days; the account: no cap." in text
    assert "why: not now, because: outside window" in text
    assert "09:00 UTC: why: mail accepted\n" in text
    assert "09:00 UTC: left, because: goal reached" in text
    assert "09:00 UTC: call: task declined (by Ada: They leave)" in text
