"""The status as text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from tests.summaries.hostile import HOSTILE, check_is_data
from uptake.operations.standing import NextSends, Standing, State
from uptake.operations.status import Status
from uptake.summaries.status import status_summary


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
