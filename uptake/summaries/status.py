"""How everything stands, in words: where each playbook is, what it will send, what waits for somebody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from uptake.operations.gate import override_of
from uptake.summaries.markdown import SHOWN, bullets, cell, count_accounts, table, words

if TYPE_CHECKING:
    from uptake.operations.standing import Standing
    from uptake.operations.status import Status


def status_summary(status: Status) -> str:
    """Show how everything stands."""
    gate = status.gate
    if gate is None:
        told = "No refresh has run yet."
    else:
        told = f"Gate: **{gate['status']}** at {cell(gate['checked_at'])} UTC, snapshot {cell(gate['snapshot_id'])}."
        if (by_whom := override_of(gate)) is not None:
            told += f" It was held, and **{cell(by_whom)}**. What had failed:"
    alarms = [bullets(status.alarms)] if status.alarms else []
    parts = ["# Status", *alarms, told]
    if gate is not None and gate["reasons"]:
        parts.append(bullets(gate["reasons"]))
    parts += ["## Playbooks", *_playbooks(status.playbooks)]
    for title, rows in (
        ("Enrollments", status.enrollments),
        ("Sends", status.sends),
        ("Approvals", _picked(status.approvals, "playbook approved_by approved_at expires_at")),
        (
            "Held (waits for you) or unknown (waits for evidence)",
            _picked(status.held, "playbook stage_key account_id status detail"),
        ),
        (
            "Controls, newest first",
            [
                {**row, "target": row["target"][:60]}  # one release may name a thousand sends
                for row in _picked(status.controls, "scope target action reason ordered_by ordered_at")
            ],
        ),
    ):
        shown = rows[:SHOWN]
        header = [words(name) for name in shown[0]] if shown else ()
        parts += [f"## {title}", table(header, [list(row.values()) for row in shown])]
        if len(rows) > len(shown):
            parts.append(f"... and {len(rows) - len(shown)} more; `--json` lists all.")
    return "\n\n".join(parts)


def _playbooks(found: Sequence[Standing]) -> list[str]:
    header = ("playbook", "state", "enrolled", "holdout", "sent", "next 7 days", "open tasks")
    rows = [
        (
            one.playbook,
            one.state,
            f"{one.enrolled:,}",
            f"{one.holdout:,}",
            f"{one.sent:,}",
            _next_week(one),
            f"{one.open_tasks:,}" + (f" ({one.overdue_tasks:,} overdue)" if one.overdue_tasks else ""),
        )
        for one in found
    ]
    parts = [
        table(header, rows, empty="There is no playbook yet."),
        "Enrolled and holdout: accounts that are in now. Next 7 days: mails to them, at most"
        + (", and 0 while nothing leaves." if any(one.mail_waits for one in found) else "."),
    ]
    if found:
        parts += ["### Why, and what opens it", bullets(line for one in found for line in _why(one))]
    days: defaultdict[date, dict[str, int]] = defaultdict(dict)
    for one in found:
        for step in one.next_sends:
            days[step.day][one.playbook] = days[step.day].get(one.playbook, 0) + step.count_sends
    names = [one.playbook for one in found if one.next_sends]
    if names:
        lines = [(day, *(f"{mine.get(name, 0):,}" for name in names)) for day, mine in sorted(days.items())]
        waiting = [one.playbook for one in found if one.next_sends and one.mail_waits]
        parts += ["### Next sends", table(("day", *names), lines)]
        if waiting:
            parts.append(
                f"Nothing of {cell(', '.join(waiting))} leaves now: these are what is due, and go only once it opens"
                " (what is over seven days late by then is passed over)."
            )
    return parts


def _next_week(one: Standing) -> str:
    count = sum(step.count_sends for step in one.next_sends)
    return f"0 ({count:,} wait)" if one.mail_waits and count else f"{count:,}"


def _why(one: Standing) -> list[str]:
    told = f"{one.playbook} is {one.state}: {one.because}."
    if one.would_enter:
        told += f" {count_accounts(one.would_enter)} would enter at a tick now."
    if one.opens is not None:
        told += f" What opens it: {one.opens}."
    return [told] if one.edit is None else [told, f"{one.playbook}: {one.edit}."]


def _picked(rows: Sequence[Mapping[str, Any]], names: str) -> list[Mapping[str, Any]]:
    """Return the columns a person reads; `--json` has them all."""
    return [{name: row.get(name) for name in names.split()} for row in rows]
