"""What playbooks changed, and what an experiment shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uptake.domain.lift import Lift
from uptake.domain.outcomes import PlaybookOutcome
from uptake.summaries.markdown import bullets, table


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
