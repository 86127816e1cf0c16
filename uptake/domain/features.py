"""A feature of the catalogue, and how far somebody has come with it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

WINDOW_DAYS = 28  # four whole weeks, so that weekdays weigh the same in every window


class AdoptionState(StrEnum):
    """How far an account or a contact has come with one feature."""

    NEVER = "never"  #: no use at all
    TRIED = "tried"  #: used, never adopted
    ADOPTED = "adopted"  #: used on at least `adopted_days` distinct days of the last 28
    LAPSED = "lapsed"  #: adopted before, not now


def is_adopted(use_days: Set[date], on: date, *, adopted_days: int) -> bool:
    """Return whether these distinct days of use make the feature adopted on that day, the day itself included."""
    first = on - timedelta(days=WINDOW_DAYS - 1)
    return sum(first <= day <= on for day in use_days) >= adopted_days


def adoption_state(use_days: Set[date], on: date, *, adopted_days: int) -> AdoptionState:
    """Return the state of one feature on a day, from every distinct day of use up to it."""
    past = {day for day in use_days if day <= on}
    if not past:
        return AdoptionState.NEVER
    if is_adopted(past, on, adopted_days=adopted_days):
        return AdoptionState.ADOPTED
    # The count of a window can only rise on a day of use: looking there finds every adoption.
    if any(is_adopted(past, day, adopted_days=adopted_days) for day in past):
        return AdoptionState.LAPSED
    return AdoptionState.TRIED


@dataclass(frozen=True, kw_only=True)
class FeatureUse:
    """How one feature stands over all accounts that pay for it."""

    feature_key: str
    name: str
    count_accounts_entitled: int
    count_accounts_adopted: int
    count_accounts_tried: int
    count_accounts_lapsed: int

    @property
    def adopted_share(self) -> float:
        """Share of the paying accounts that adopted it, 0-1."""
        return self.count_accounts_adopted / self.count_accounts_entitled if self.count_accounts_entitled else 0.0
