"""The demo's closing table, for the terminal: here alone the measured lift stands beside the planted truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from uptake.sandbox.truth import PlantedLift


@dataclass(frozen=True, kw_only=True)
class MeasuredLift:
    """What the product found, as differences of goal shares between treatment and holdout."""

    lift_abs: float
    ci_lower: float
    ci_upper: float


@dataclass(frozen=True, kw_only=True)
class PlaybookFigures:
    """One playbook's line."""

    playbook: str
    enrolled: Mapping[str, int]  # by arm: treatment, holdout, global_control
    count_sent: int
    lift: MeasuredLift | None  # None: too early to say


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the closing table shows."""

    count_accounts: int
    breadth_before: float
    breadth_after: float
    playbooks: tuple[PlaybookFigures, ...]
    withheld: Mapping[str, int]  # by reason: contacts × stages that were not mailed, or not at once


def print_figures(
    console: Console, figures: Figures, truths: Mapping[str, PlantedLift], pages: Mapping[str, Path]
) -> None:
    """Print the table and where the pages are."""
    console.print(_overview(figures))
    console.print(_by_playbook(figures, truths))
    if figures.withheld:
        console.print(_withheld(figures.withheld))
    for title, page in pages.items():
        console.print(f"{title}: {page}", soft_wrap=True, highlight=False)


def _overview(figures: Figures) -> Table:
    table = Table("accounts", "breadth before", "breadth after", "sent", title="The customer base")
    for column in table.columns:
        column.justify = "right"
    sent = sum(line.count_sent for line in figures.playbooks)
    table.add_row(
        f"{figures.count_accounts:,}", f"{figures.breadth_before:.1%}", f"{figures.breadth_after:.1%}", f"{sent:,}"
    )
    return table


def _by_playbook(figures: Figures, truths: Mapping[str, PlantedLift]) -> Table:
    table = Table(
        "playbook",
        title="Goals reached: lift over the holdout, in points",
        caption="Planted truth: the same days lived again without the mails, which only a demo can.",
    )
    for name in ("enrolled", "treated", "holdout", "sent", "lift", "95 % interval", "planted truth"):
        table.add_column(name, justify="right")
    for line in figures.playbooks:
        truth = truths.get(line.playbook)
        lift = line.lift
        table.add_row(
            line.playbook,
            f"{sum(line.enrolled.values()):,}",
            f"{line.enrolled.get('treatment', 0):,}",
            f"{line.enrolled.get('holdout', 0):,}",
            f"{line.count_sent:,}",
            _points(lift.lift_abs) if lift else "too early to say",
            f"{_points(lift.ci_lower)} to {_points(lift.ci_upper)}" if lift else "",
            _points(truth.lift_abs) if truth else "",
        )
    return table


def _withheld(withheld: Mapping[str, int]) -> Table:
    table = Table("withheld because", title="Not sent, or later")
    table.add_column("count", justify="right")
    for reason, count in sorted(withheld.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(reason.replace("_", " "), f"{count:,}")
    return table


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
