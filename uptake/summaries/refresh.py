"""What a refresh brought in and the gate found, and what a person let pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uptake.summaries.markdown import SHOWN, bullets, cell, table

if TYPE_CHECKING:
    from uptake.operations.override import Overridden
    from uptake.operations.refresh import RefreshResult


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
