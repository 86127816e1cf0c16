"""What snapshots prove, and the pages that show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from uptake.domain.accounts import AccountPage, BaseOverview
from uptake.domain.outcomes import PlaybookOutcome
from uptake.ports.adoption import Snapshot


class Evidence(Protocol):
    """What snapshots prove."""

    def overview(self, snapshot: Snapshot) -> BaseOverview:
        """Return the whole customer base."""

    def outcomes(self, snapshot: Snapshot, *, holdouts: Mapping[str, float]) -> list[PlaybookOutcome]:
        """Return every playbook's outcome, by name; `holdouts` = the share each one was drawn with."""

    def account(self, snapshot: Snapshot, account_id: str) -> AccountPage | None:
        """Return one account's page; None when the snapshot does not have it."""

    def telling_account(self, snapshot: Snapshot) -> str | None:
        """Return the account whose page shows most."""


@dataclass(frozen=True, kw_only=True)
class ValueReport:
    """All that the leadership page shows."""

    overview: BaseOverview
    over_time: Sequence[tuple[datetime, float]]  # as_of, share of paid functionality in use; oldest first
    outcomes: Sequence[PlaybookOutcome]
    sends: Mapping[str, Mapping[str, int]]  # playbook -> send status -> count
    withheld: Mapping[str, Mapping[str, int]]  # playbook -> reason -> count of contact × stage
    gate: Mapping[str, Any]  # the gate row of the snapshot
    manifest: Mapping[str, Any]


class Pages(Protocol):
    """Reports as single files that open offline."""

    def leadership(self, report: ValueReport, *, account_link: str | None) -> str:
        """Return the leadership page as HTML; the same input gives the same bytes."""

    def account(self, page: AccountPage, *, playbooks: Sequence[str]) -> str:
        """Return one account's page as HTML; the same input gives the same bytes."""
