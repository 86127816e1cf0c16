"""What a report knows about the customer base and about one account. Nobody has a name here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from uptake.domain.features import AdoptionState, FeatureUse


@dataclass(frozen=True, kw_only=True)
class BaseOverview:
    """The whole customer base in one snapshot; churned and internal accounts left out."""

    snapshot_id: str
    as_of: datetime
    source: str
    count_accounts: int
    count_contacts: int
    count_entitled: int  # account × feature pairs that are paid for
    count_adopted: int
    count_used_ever: int
    breadths: tuple[float, ...]  # adoption breadth of every account that has one, 0-1
    features: tuple[FeatureUse, ...]  # most adopted first

    @property
    def in_use_share(self) -> float | None:
        """Share of paid functionality in use, 0-1; None when nothing is paid for."""
        return self.count_adopted / self.count_entitled if self.count_entitled else None


@dataclass(frozen=True, kw_only=True)
class ContactRow:
    """One person's line in the grid of an account."""

    contact_id: str
    role: str | None
    active_days_28: int | None
    states: Mapping[str, AdoptionState]  # by feature_key; absent = never


@dataclass(frozen=True, kw_only=True)
class AccountPage:
    """One account, for its own page."""

    account_id: str
    snapshot_id: str
    as_of: datetime
    facts: Mapping[str, Any]  # the columns of accounts_current
    features: tuple[tuple[str, str, AdoptionState, date | None], ...]  # key, name, account's state, last used on
    contacts: tuple[ContactRow, ...]  # most active first
    count_contacts: int  # all of them, also those not shown
    next_steps: tuple[tuple[str, str, int], ...]  # feature name, reason, for how many people
