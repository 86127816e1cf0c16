"""What operations found, in words: for the terminal and for Prefect's artifacts. Ids and counts only, no address."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from uptake.domain.lift import Lift
from uptake.domain.outcomes import PlaybookOutcome

if TYPE_CHECKING:
    from uptake.operations.override import Overridden
    from uptake.operations.reconcile import ReconcileResult
    from uptake.operations.refresh import RefreshResult
    from uptake.operations.tick_report import TickReport

SHOWN = 15
# Whatever Markdown, or the HTML within it, could take for markup anywhere in a line; and where a line begins.
_ESCAPES = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>#|~&$"})
_LEADING = re.compile(r"^(\d*)([-+=.)])")

_DECISIONS = {
    "send": "send",
    "task": "open a task",
    "retry": "not now",
    "pass_over": "stage passed over",
    "end": "contact leaves",
    "account_end": "enrollment ends",
}


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "None.") -> str:
    """Return a Markdown table; cells are data, never markup."""
    lines = ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    if not lines:
        return empty
    return "\n".join(["| " + " | ".join(map(cell, header)) + " |", "|" + "---|" * len(header), *lines])


def cell(value: Any) -> str:
    """Return a value as text that Markdown takes for nothing else."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return " ".join(str(value).split()).translate(_ESCAPES)


def words(name: Any) -> str:
    """Return a name of the code as words."""
    return {"re_entry": "entered before"}.get(str(name), str(name).replace("_", " "))


def count_accounts(count: int) -> str:
    """Return `1 account`, `2 accounts`."""
    return f"{count:,} account{'' if count == 1 else 's'}"


def refresh_summary(result: RefreshResult, *, docs: str | None = None) -> str:
    """Say what came in and what the gate found; `docs` is where the data docs are, when they were written."""
    parts = [f"# Refresh: {'HELD' if result.gate == 'held' else 'passed'}"]
    if result.snapshot_id:
        parts.append(f"Published snapshot `{result.snapshot_id}`.")
    if result.count_removed:
        parts.append(f"Old snapshots that nothing cites, removed: {result.count_removed}.")
    if result.reasons:
        parts += ["Nothing was published, because:", bullets(result.reasons)]
    if result.held_snapshot_id:
        parts += [
            "The candidate is kept. Whoever has looked at what failed and knows that the data are right may publish"
            " it all the same, with the deployment *override* or this command; the ledger keeps name and reason:",
            f"```\nuptake override {result.held_snapshot_id} --by NAME --reason WHY\n```",
        ]
    if result.report_reasons:
        parts += ["Mail may leave, but no report is made of it, because:", bullets(result.report_reasons)]
    if result.unsound:
        rows = [(check.status, check.severity, check.name, check.detail) for check in result.unsound[:SHOWN]]
        parts += ["## Checks that did not pass", table(("status", "severity", "check", "found and expected"), rows)]
        if len(result.unsound) > len(rows):
            parts.append(f"... and {len(result.unsound) - len(rows)} more; the data docs show all.")
    samples = [(check.name, row) for check in result.unsound for row in check.rows]
    if samples:
        parts += ["## Some of their rows, by id", table(("check", "row"), samples[:SHOWN])]
    if docs is not None:
        parts.append(f"[All checks, in the data docs]({docs})")
    counts = {
        "lines read": result.lines,
        "events": result.events,
        "duplicates": result.duplicates,
        "quarantined: could not be read": result.quarantined,
        "events of nobody known": result.unattributed,
        "accounts": result.accounts,
        "users": result.users,
        "features": result.features,
    }
    parts.append(table(("what", "count"), [(what, f"{count:,}") for what, count in counts.items()]))
    if result.unmapped_events:
        most = sorted(result.unmapped_events.items(), key=lambda item: (-item[1], item[0]))
        shown = [(name, f"{count:,}") for name, count in most[:SHOWN]]
        parts += ["## Events no feature claims", table(("event", "count"), shown)]
        if len(most) > len(shown):
            parts.append(f"... and {len(most) - len(shown):,} more.")
    return "\n\n".join(parts)


def override_summary(result: Overridden) -> str:
    """Say what was let pass, by whom and why, and what follows from it."""
    rows = [(check.name, check.detail) for check in result.checks]
    return "\n\n".join(
        [
            f"# Snapshot {cell(result.snapshot.snapshot_id)} was let pass",
            f"By {cell(result.by)}: {cell(result.reason)}",
            "## What had failed",
            table(("check", "found and expected"), rows),
            "Nobody was mailed by this run; a tick may mail from this snapshot now. Checks that compare with earlier"
            " snapshots and are named here begin with this one: a refresh that finds the same again passes. What is"
            " wrong in itself holds the next refresh, too.",
        ]
    )


def tick_headline(report: TickReport) -> str:
    """Say in one line what a tick did."""
    if report.decided.status != "done":
        return f"{report.decided.status}; this one decided nothing"
    entered = sum(report.decided.entered.values())
    return f"{count_accounts(entered)} entered, {report.sent.accepted:,} mails accepted"


def tick_summary(report: TickReport) -> str:
    """Say what was decided and sent, and what stood in the way."""
    decided, sent = report.decided, report.sent
    outcomes = {
        "accepted by the mail service": sent.accepted,
        "validated only (sandbox mode)": sent.sandboxed,
        "fate unknown": sent.unknown + sent.expired,
        "failed": sent.failed,
        "put back for a later tick": sent.put_back,
        **{f"withheld: {words(reason)}": count for reason, count in sent.withheld.items()},
    }
    found = [(what, f"{count:,}") for what, count in outcomes.items() if count]
    decisions = [(*decision(name), f"{count:,}") for name, count in decided.counts.items()]
    parts = [f"# Tick: {tick_headline(report)}"]
    if report.reasons:
        parts += ["## What stands in the way", bullets(report.reasons)]
    parts += [
        "## Taken in",
        table(
            ("playbook", "accounts, all arms"),
            [(name, f"{count:,}") for name, count in decided.entered.items() if count],
            empty="Nobody new.",
        ),
        "## Decided",
        table(("decision", "because", "count"), decisions, empty="Nothing was due."),
        "## Sent",
        table(("what", "mails"), found, empty="Nothing was waiting to be sent."),
    ]
    if report.folded.new_events:
        parts.append(f"{report.folded.new_events:,} delivery events were taken in.")
    if report.told is not None and report.told.posted:
        parts.append(f"The task webhook was told of {report.told.posted:,} tasks.")
    if report.told is not None and report.told.trouble is not None:
        told = cell(report.told.trouble)
        parts.append(f"**The task webhook was not told of all tasks**; a later tick tries again: {told}")
    if decided.snapshot_id:
        parts.append(f"Snapshot `{decided.snapshot_id}`.")
    return "\n\n".join(parts)


def decision(name: str) -> tuple[str, str | None]:
    """Return a count's name, like `retry:paused`, as what was decided and why."""
    verdict, _, reason = name.partition(":")
    return _DECISIONS.get(verdict, words(verdict)), words(reason) if reason else None


def outcome_summary(outcomes: Sequence[PlaybookOutcome], *, report: str | None = None) -> str:
    """Say what each playbook changed; `report` is the file name of the value report, when one was written."""
    rows = []
    for outcome in outcomes:
        arm = outcome.lift.arms[0] if outcome.lift else None
        rows.append(
            (
                outcome.playbook,
                outcome.verdict.value,
                f"{arm.lift_abs * 100:+.1f} points" if arm else None,
                f"{arm.ci_lower * 100:+.1f} to {arm.ci_upper * 100:+.1f}" if arm else None,
                sum(outcome.count_enrolled.values()),
                sum(outcome.count_closed.values()),
                outcome.is_final,
            )
        )
    header = ("playbook", "verdict", "lift", "95 % interval", "accounts", "windows closed", "final")
    parts = [
        "# What the playbooks changed",
        table(header, rows, empty="No playbook has taken anybody in yet."),
        "Lift: accounts that reached the goal inside their window, treated minus holdout, in percentage points. The"
        " verdict counts, not the lift: before a playbook is final, the interval is for reading and not for deciding.",
    ]
    if report is not None:
        parts.append(f"The value report, `{report}`, was written anew; it is on the internal pages under *Reports*.")
    return "\n\n".join(parts)


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
        parts.append(bullets(lift.warnings))
    return "\n\n".join(parts)


def held_summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """List messages whose fate nobody knows."""
    columns = ["send_id", "playbook", "stage_key", "account_id", "contact_id", "status", "detail", "sending_at"]
    told = table([words(name) for name in columns], [[row[name] for name in columns] for row in rows])
    return f"# {len(rows)} messages of unknown fate\n\n{told}"


def reconcile_summary(result: ReconcileResult) -> str:
    """Say what the mail service's log told."""
    lines = [
        f"{result.asked} messages of unknown fate were looked up, {result.found} had been taken.",
        f"{result.held} are newly held: `uptake held` lists them.",
        f"{result.remembered} messages were taken that this ledger did not know of.",
    ]
    if result.trouble is not None:
        lines.append(f"**The log could not be asked**: {cell(result.trouble)}")
    if result.locked is not None:
        lines.append(f"**Sending stays locked**: {cell(result.locked)}")
    return "\n\n".join(lines)


def bullets(lines: Iterable[str]) -> str:
    """Return a list; lines are data, never markup."""
    return "\n".join("- " + _LEADING.sub(r"\1\\\2", cell(line)) for line in lines)
