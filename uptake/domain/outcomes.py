"""Did an account reach what the playbook wanted, inside its window? Counted alike in every arm."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import date, timedelta

from uptake.domain.arms import Arm
from uptake.domain.features import is_adopted
from uptake.domain.lift import Lift, Verdict


def goal_reached_on(
    use_days: Set[date], *, enrolled_on: date, window_ends_on: date, adopted_days: int | None
) -> date | None:
    """Return the first day of the window on which the goal held; None when it never did.

    Args:
        use_days: Distinct days on which the taught feature was used, before entry too.
        enrolled_on: First day of the window.
        window_ends_on: Last day of the window, included.
        adopted_days: Distinct days of 28 that make it adopted; None when the goal is to have tried it at all.
    """
    day = enrolled_on
    while day <= window_ends_on:
        if (
            any(used <= day for used in use_days)
            if adopted_days is None
            else is_adopted(use_days, day, adopted_days=adopted_days)
        ):
            return day
        day += timedelta(days=1)
    return None


@dataclass(frozen=True, kw_only=True)
class PlaybookOutcome:
    """What one playbook has to show: counts by arm, and the lift once windows have closed."""

    playbook: str
    count_enrolled: Mapping[Arm, int]
    count_closed: Mapping[Arm, int]  # windows over: only these are compared
    count_reached: Mapping[Arm, int]  # of the closed ones
    lift: Lift | None  # None while either arm has fewer than two closed windows
    verdict: Verdict
    breadth_before: float | None  # mean over treated accounts with a closed window
    breadth_after: float | None

    @property
    def is_final(self) -> bool:
        """Whether no window is open any more."""
        return dict(self.count_enrolled) == dict(self.count_closed)
