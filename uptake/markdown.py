"""What operations found, in words: for the terminal and for Prefect's artifacts. Ids and counts only, no address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from uptake.domain.lift import Lift
from uptake.domain.outcomes import PlaybookOutcome

if TYPE_CHECKING:
    from uptake.bootstrap import Status, TickReport
    from uptake.operations.explain import Explanation, PlaybookExplanation
    from uptake.operations.plan import PlanResult
    from uptake.operations.refresh import RefreshResult

_SHOWN = 15


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "None.") -> str:
    """Return a Markdown table; cells are data, never markup."""
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    if not lines:
        return empty
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *lines])


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    text = " ".join(str(value).split())
    for mark in "\\`*_|<>[]":
        text = text.replace(mark, f"\\{mark}")
    return text


def refresh_summary(result: RefreshResult) -> str:
    """Say what came in and what the gate found."""
    parts = [
        f"# Refresh: {'HELD' if result.gate == 'held' else 'passed'}",
        table(
            ("lines", "events", "duplicates", "quarantined", "unattributed", "accounts", "users", "features"),
            [
                (
                    f"{result.lines:,}",
                    f"{result.events:,}",
                    f"{result.duplicates:,}",
                    f"{result.quarantined:,}",
                    f"{result.unattributed:,}",
                    f"{result.accounts:,}",
                    f"{result.users:,}",
                    f"{result.features:,}",
                )
            ],
        ),
    ]
    if result.snapshot_id:
        parts.append(f"Published snapshot `{result.snapshot_id}`.")
    if result.reasons:
        parts += ["Nothing was published and no mail will be sent, because:", _bullets(result.reasons)]
    if result.unmapped_events:
        most = sorted(result.unmapped_events.items(), key=lambda item: (-item[1], item[0]))
        parts += ["## Events no feature claims", table(("event", "count"), most[:_SHOWN])]
    return "\n\n".join(parts)


def plan_summary(result: PlanResult) -> str:
    """Say who would enter, who would not and why, and what would be sent when."""
    plan, summary = result.plan, result.plan.summary
    stages = [
        (key, "e-mail" if stage.email else "task", result.release.texts[key].subject if stage.email else stage.task)
        for key, stage in result.release.playbook.stages.items()
    ]
    days: dict[str, dict[str, int]] = {}
    for row in summary["sends_by_day"]:
        days.setdefault(row["day"], {})[row["stage_key"]] = row["count_sends"]
    keys = [key for key, kind, _ in stages if kind == "e-mail"]
    return "\n\n".join(
        [
            f"# Plan {_cell(plan.plan_id)}",
            f"**{plan.count_accounts:,} accounts** with {plan.count_contacts:,} contacts would enter, as of "
            f"{_cell(datetime.fromisoformat(summary['as_of']))} UTC. Nothing is sent until this plan is approved.",
            table(
                ("arm", "accounts", "contacts"),
                [(arm, f"{n['accounts']:,}", f"{n['contacts']:,}") for arm, n in summary["arms"].items()],
                empty="Nobody would enter.",
            ),
            "## Left out",
            table(
                ("reason", "accounts", "contacts"),
                [(reason, f"{n['accounts']:,}", f"{n['contacts']:,}") for reason, n in summary["left_out"].items()],
            ),
            "## First sends, by day",
            table(
                ("day", *keys), [(day, *(counts.get(key, 0) for key in keys)) for day, counts in sorted(days.items())]
            ),
            "## Stages",
            table(("stage", "kind", "subject or task"), stages),
            f"Release `{plan.release_hash[:12]}`, plan `{plan.plan_hash[:12]}`, snapshot `{plan.snapshot_id}`."
            " Approve with "
            f"`uptake approve {plan.plan_id} --by NAME`, or run this deployment again with mode *approve and run*.",
        ]
    )


def tick_summary(report: TickReport) -> str:
    """Say what was decided and sent, and what stood in the way."""
    rows = [(name.replace("_", " "), f"{count:,}") for name, count in report.counts.items() if count]
    parts = [f"# Tick: {report.decided.status}", table(("what", "count"), rows, empty="Nothing was due.")]
    if report.reasons:
        parts += ["## What stood in the way", _bullets(report.reasons)]
    return "\n\n".join(parts)


def outcome_summary(outcomes: Sequence[PlaybookOutcome]) -> str:
    """Say what each playbook changed."""
    rows = []
    for outcome in outcomes:
        arm = outcome.lift.arms[0] if outcome.lift else None
        rows.append(
            (
                outcome.playbook,
                sum(outcome.count_enrolled.values()),
                sum(outcome.count_closed.values()),
                f"{arm.lift_abs * 100:+.1f} pp" if arm else None,
                f"{arm.ci_lower * 100:+.1f} to {arm.ci_upper * 100:+.1f} pp" if arm else None,
                outcome.verdict.value,
            )
        )
    header = ("playbook", "enrolled", "windows closed", "lift", "95 % interval", "verdict")
    return "# What the playbooks changed\n\n" + table(header, rows, empty="No playbook has taken anybody in yet.")


def lift_summary(lift: Lift) -> str:
    """Show an estimate as a table."""
    rows: list[Sequence[Any]] = [
        (lift.control.arm, f"{lift.control.n:,}", f"{lift.control.mean:.6g}", None, None, None)
    ]
    rows += [
        (
            arm.arm,
            f"{arm.n:,}",
            f"{arm.mean:.6g}",
            f"{arm.lift_abs:+.6g} ({arm.lift_rel:+.1%})",
            f"{arm.ci_lower:+.6g} to {arm.ci_upper:+.6g}",
            f"{arm.pvalue:.3g}",
        )
        for arm in lift.arms
    ]
    parts = [table(("arm", "n", "mean", "lift", "95 % interval", "p"), rows)]
    balance = "ALARM: the arms are not what was drawn, no verdict holds" if lift.srm.alarm else "as drawn"
    parts.append(f"Sample ratio: {balance} (p = {lift.srm.pvalue:.3g}).")
    if lift.warnings:
        parts.append(_bullets(lift.warnings))
    return "\n\n".join(parts)


def status_summary(status: Status) -> str:
    """Show how everything stands."""
    gate = status.gate
    if gate is None:
        told = "No refresh has run yet."
    else:
        told = f"Gate: **{gate['status']}** at {_cell(gate['checked_at'])} UTC, snapshot {_cell(gate['snapshot_id'])}."
    parts = ["# Status", told]
    if gate is not None and gate["reasons"]:
        parts.append(_bullets(gate["reasons"]))
    for title, rows in (
        ("Enrollments", status.playbooks),
        ("Sends", status.sends),
        ("Approvals", status.approvals),
        ("Held or unknown: waits for evidence or a person", status.held),
        ("Controls, newest first", status.controls),
    ):
        shown = rows[:_SHOWN]
        parts += [f"## {title}", table(list(shown[0]) if shown else (), [list(row.values()) for row in shown])]
        if len(rows) > len(shown):
            parts.append(f"... and {len(rows) - len(shown)} more; `--json` lists all.")
    return "\n\n".join(parts)


def explanation_summary(found: Explanation) -> str:
    """Say why somebody did or did not get a mail."""
    parts = [
        f"# Contact {_cell(found.contact_id)} of {_cell(found.account_id)}",
        f"As of snapshot `{found.snapshot_id}`. Last mail: {_cell(found.last_mail_at)}.",
    ]
    if found.gate_held:
        parts.append(f"The gate holds: {_cell(found.gate_held)}")
    return "\n\n".join([*parts, *(_playbook(one) for one in found.playbooks)])


def _playbook(one: PlaybookExplanation) -> str:
    if one.enters:
        told = "Would enter at the next tick."
    elif one.left_out:
        told = f"Left out: {one.left_out.replace('_', ' ')}."
    elif one.enrollments:
        told = "Is in, or has been."
    else:
        told = "Does not match."
    parts = [
        f"## {_cell(one.playbook)}: {told}",
        f"Arm of the account: **{one.arm}**. Teaches: {_cell(one.feature_key)}.",
    ]
    if one.entries_held:
        parts.append(f"Nobody may enter now: {_cell(one.entries_held)}")
    parts.append(
        table(("predicate", "seen", "holds"), [(seen.text, _values(seen.values), seen.holds) for seen in one.where])
    )
    for entry in one.enrollments:
        parts.append(
            f"Entry {entry.entry_no} on {_cell(entry.enrolled_at)}, arm {entry.arm}"
            + (f", ended {_cell(entry.ended_at)}" if entry.ended_at else "")
            + ("" if entry.is_contact_in else "; this contact was not chosen, or has left")
            + "."
        )
        if entry.ended_stages:
            parts.append(_bullets(f"{key}: over since {_cell(at)}" for key, at in entry.ended_stages))
        if (step := entry.next_stage) is not None:
            verdict = (
                f"now: {step.verdict} {step.reason or ''} {step.detail}".strip() if step.verdict else "not due yet"
            )
            parts.append(f"Next: {_cell(step.stage_key)}, due {_cell(step.due_at)}; {_cell(verdict)}.")
    return "\n\n".join(parts)


def _values(values: Any) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items()) if hasattr(values, "items") else str(values)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_cell(line)}" for line in lines)
