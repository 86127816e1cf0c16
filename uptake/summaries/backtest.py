"""What playbooks would have done over past snapshots, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from uptake.domain.arms import Arm
from uptake.summaries.markdown import cell, decision, table, words

if TYPE_CHECKING:
    from uptake.operations.backtest import Backtest, Lived

_COUNTS = ("enter", "held out", "mails", "tasks", "waiting")


def backtest_summary(found: Backtest) -> str:
    """Show totals, overlaps and caps, then each playbook: its days, and what was decided in all."""
    parts = [
        f"# {len(found.playbooks)} playbook{'s' * (len(found.playbooks) != 1)}, {found.first} to {found.last}",
        "As their files say now, launched on the first day, together and with nothing else; mail is taken at once,"
        " tasks are done on their last day, people and suppressions are as they are known today. Nothing was written"
        " or sent.",
    ]
    if found.missing:
        days = ", ".join(str(day) for day in found.missing)
        parts.append(f"**Days without a snapshot**, on which nothing could be seen: {days}.")
    totals = [(one.playbook, *_counts(one.entered, one.decided), _reached(one)) for one in found.playbooks]
    parts += [
        table(("playbook", *_COUNTS, "goal reached"), totals),
        "Enter and held out: accounts. Goal reached: accounts, or contacts where the goal is theirs. The rest:"
        " contacts; waiting: at the fullest tick of each day, so that whoever waits for three days counts three times.",
    ]
    if len(found.playbooks) > 1:
        lines = [
            (*one.playbooks, f"{one.contacts:,}", *(f"{one.won[name]:,}" for name in one.playbooks))
            for one in found.overlaps
        ]
        header = ("playbook", "and", "contacts both wanted", "the first went first", "the second went first")
        parts += ["## Overlaps", table(header, lines, empty="No two playbooks wanted the same contact.")]
    hits = [(one.cap, one.playbook, f"{one.contacts:,}", f"{one.days:,}") for one in found.caps]
    of_caps = ("cap", "whose mail waited", "contacts", "on days")
    parts += ["## Caps hit", table(of_caps, hits, empty="No cap was hit.")]
    for lived in found.playbooks:
        parts += _playbook(lived)
    return "\n\n".join(parts)


def _playbook(lived: Lived) -> list[str]:
    rows = [(one.day, one.snapshot_id, *_counts(one.entered, one.decided)) for one in lived.days]
    reasons = [(*decision(what), f"{count:,}") for what, count in sorted(lived.decided.items())]
    left_out = [(words(name), f"{count:,}") for name, count in lived.left_out.items()]
    days = [
        f"## {cell(lived.playbook)}, day by day",
        table(("day", "snapshot", *_COUNTS), rows),
        f"{cell(lived.playbook)} decided, by reason:",
        table(("decision", "because", "contacts, summed over days"), reasons, empty="Nothing was due."),
    ]
    if not lived.entered and not lived.decided:
        days = [f"## {cell(lived.playbook)}", "Nobody entered."]
    return [
        *days,
        f"{cell(lived.playbook)} left out on the last day:",
        table(("reason", "count"), left_out, empty="Nobody who matches."),
    ]


def _counts(entered: Mapping[str, int], decided: Mapping[str, int]) -> tuple[str, ...]:
    treated = entered.get(Arm.TREATMENT, 0)
    waiting = sum(count for what, count in decided.items() if what.startswith("retry:"))
    counts = (treated, sum(entered.values()) - treated, decided.get("send", 0), decided.get("task", 0), waiting)
    return tuple(f"{count:,}" for count in counts)


def _reached(lived: Lived) -> str:
    return f"{sum(lived.decided.get(f'{who}:goal_reached', 0) for who in ('end', 'account_end')):,}"
