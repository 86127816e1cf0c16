"""What was planned, approved, ordered by people, and seen of audiences."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

import pyarrow as pa

from uptake.domain.playbooks import Release

#: Who gives an order that no person gave.
ENGINE = "uptake"
ENGINE_NAMES = frozenset({ENGINE, "ledger"})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a playbook would do, at one snapshot and moment."""

    plan_id: str
    playbook: str
    version_id: int
    release_hash: str
    plan_hash: str
    snapshot_id: str
    planned_at: datetime
    count_accounts: int  # entering, all arms
    count_contacts: int
    summary: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Approved:
    """A release that may take accounts in, while `now` < expires_at and entrants stay within tolerance."""

    playbook: str
    version_id: int
    release: Release
    plan: Plan
    approved_by: str
    expires_at: datetime
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """A ledger that may not know all that was sent: sending stays locked until `reconcile` has asked the service."""

    since: datetime  # from here on it may have forgotten
    locked_at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class ControlState:
    """What is paused. A person's newest order counts; the engine's own adds to it and never takes any of it back."""

    everything: str | None = None  # the reason, while everything is paused
    playbooks: Mapping[str, Literal["pause", "stop"]] = field(default_factory=dict)
    accounts: Mapping[str, Literal["pause", "stop"]] = field(default_factory=dict)
    sending_locked: str | None = None  # the reason: 401, 403, a restored ledger
    sending_paused_until: datetime | None = None  # 429
    forgotten: Forgotten | None = None  # part of `sending_locked`, too


@dataclass(frozen=True, kw_only=True)
class Audience:
    """How many accounts matched a playbook on one snapshot, whether they are in or not."""

    playbook: str
    snapshot_id: str
    count_accounts: int
    held: str | None  # why that was too much of a change; None when it was not
    measured_at: datetime


class Releases(Protocol):
    """Versions, plans, approvals, controls."""

    def save_version(self, release: Release, *, git_sha: str, now: datetime) -> int: ...
    def version(self, version_id: int) -> Release: ...
    def save_plan(self, plan: Plan, *, entrants: pa.Table | None = None) -> None:
        """Store a plan with whom it takes in: account_id, contact_id, arm; None: nobody."""

    def entrants(self, plan_id: str) -> pa.Table:
        """Return whom a stored plan takes in."""

    def plan(self, plan_id: str) -> Plan: ...
    def latest_plan(self, playbook: str) -> Plan | None: ...
    def approve(self, plan: Plan, *, by: str, now: datetime, expires_at: datetime, tolerance: float) -> None: ...
    def save_audience(self, audience: Audience) -> None: ...
    def last_audience(self, playbook: str, *, is_held: bool | None = None) -> Audience | None:
        """Return what was measured last; with `is_held`, among those alone that held, or did not."""

    def approved(self) -> list[Approved]:
        """Return the newest approval of each playbook, also when expired: people already in go on."""

    def once_approved(self, playbooks: Collection[str]) -> list[int]:
        """Return every version of these playbooks that was ever approved."""

    def control(
        self,
        scope: Literal["all", "playbook", "account", "sending", "forgotten"],
        target: str,
        action: Literal["pause", "resume", "stop"],
        *,
        reason: str,
        by: str,
        now: datetime,
        until: datetime | None = None,
    ) -> None:
        """Record an order. One given by a name in `ENGINE_NAMES` is the engine's own."""

    def controls(self) -> ControlState: ...
