"""What a tick decided and sent, and what stood in its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uptake.summaries.markdown import bullets, cell, count_accounts, decision, table, words

if TYPE_CHECKING:
    from uptake.operations.tick_report import TickReport


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
    if report.doubled is not None:
        parts.append(f"**A mail left twice**: {cell(report.doubled)}.")
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
