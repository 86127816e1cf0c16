"""What a playbook would have done over past snapshots, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uptake.markdown import cell, decision, table, words

if TYPE_CHECKING:
    from uptake.operations.backtest import Backtest


def backtest_summary(found: Backtest) -> str:
    """Show each day, then what was decided in all."""
    rows = [
        (
            one.day,
            one.snapshot_id,
            f"{one.entered['treatment']:,}",
            f"{one.entered.total() - one.entered['treatment']:,}",
            f"{one.decided['send']:,}",
            f"{one.decided['task']:,}",
            f"{sum(count for what, count in one.decided.items() if what.startswith('retry:')):,}",
        )
        for one in found.days
    ]
    by_reason: dict[str, int] = {}
    for one in found.days:
        for what, count in one.decided.items():
            by_reason[what] = by_reason.get(what, 0) + count
    reasons = [(*decision(what), f"{count:,}") for what, count in sorted(by_reason.items())]
    header = ("day", "snapshot", "enter", "held out", "mails", "tasks", "waiting")
    return "\n\n".join(
        [
            f"# {cell(found.playbook)} over {len(found.days)} past days",
            "As its files say now, launched on the first day and living alone; mail is taken at once, tasks are done on"
            " their last day, people and suppressions are as they are known today. Nothing was written or sent.",
            table(header, rows),
            "Enter and held out: accounts. The rest: contacts; waiting: at the fullest tick of the day.",
            "## Decided, by reason",
            table(("decision", "because", "contacts, summed over days"), reasons, empty="Nothing was due."),
            "## Left out on the last day",
            table(("reason", "count"), [(words(name), f"{n:,}") for name, n in found.left_out.items()]),
        ]
    )
