"""One tick: take in whom approved releases take in, decide for everybody who is in, write it down. Sends nothing.

Playbook files are never read here: what counts is what was approved, and that is in the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from uptake.domain.eligibility import LeftOut
from uptake.domain.guardrails import FEW
from uptake.domain.playbooks import Edits, Release
from uptake.operations.audience import look_at_audience, remember_audience
from uptake.operations.gate import Gate, fresh_gate
from uptake.operations.plan import goal_hash
from uptake.ports import Approved, ControlState, Journeys, Ledger, Run, Snapshots

KIND = "tick"  # of its run rows
LEASE = timedelta(minutes=10)  # a tick that was killed on another machine holds the next one up for that long


@dataclass(frozen=True, kw_only=True)
class TickResult:
    """What a tick did. Nothing is an error here: what is held is said, with its reason."""

    status: Literal["done", "another tick is running"]
    snapshot_id: str | None = None
    gate_held: str | None = None  # why no mail was decided
    entered: Mapping[str, int] = field(default_factory=dict)  # playbook -> accounts, all arms
    held: Mapping[str, str] = field(default_factory=dict)  # playbook -> why nobody could enter
    counts: Mapping[str, int] = field(default_factory=dict)  # `send`, `retry:paused`, ... -> how many

    @property
    def reasons(self) -> tuple[str, ...]:
        """Everything that stood in the way, one sentence each."""
        gate = () if self.gate_held is None else (self.gate_held,)
        return (*gate, *(f"{playbook}: {reason}" for playbook, reason in self.held.items()))


def tick(
    journeys: Journeys,
    snapshots: Snapshots,
    ledger: Ledger,
    *,
    now: datetime,
    git_sha: str,
    owner: str,
    lease: timedelta = LEASE,
) -> TickResult:
    """Decide everything that is to be decided at `now`, once.

    Args:
        journeys: The rules, set-wise.
        snapshots: The store of snapshots; the current one is used.
        ledger: Operational truth.
        now: The moment of the tick. The same moment again changes nothing.
        git_sha: The code that decides, kept with every send.
        owner: Who runs it, e.g. host and process.
        lease: How long this tick counts as alive.

    Raises:
        Held: A newer tick took over meanwhile; nothing of this one was written.
    """
    run = ledger.runs.begin(KIND, owner=owner, now=now, lease=lease)
    if run is None:
        return TickResult(status="another tick is running")
    try:
        result = _decide(journeys, fresh_gate(snapshots, ledger, now), ledger, run, now=now, git_sha=git_sha)
    except BaseException as error:
        ledger.runs.finish(run, status="failed", detail=type(error).__name__, now=now)
        raise
    ledger.runs.finish(run, status="done", detail="; ".join(result.reasons), now=now)
    return result


def _decide(journeys: Journeys, gate: Gate, ledger: Ledger, run: Run, *, now: datetime, git_sha: str) -> TickResult:
    snapshot, approved, controls = gate.snapshot, ledger.releases.approved(), ledger.releases.controls()
    if snapshot is None:
        return TickResult(status="done", gate_held=gate.held)
    tables = ledger.enrollments.tables(now=now)
    entered: dict[str, int] = {}
    held: dict[str, str] = {}
    if gate.gate_id is not None:
        for approval in approved:
            reason = entries_held(approval, controls, now, goal_hash=goal_hash(snapshot, approval.release))
            if reason is None:
                entry = journeys.entrants(approval.release, snapshot, tables, now, controls=controls)
                reason = _beyond_tolerance(approval, len(entry.contacts["account_id"].unique()))
            if reason is None:
                audience = look_at_audience(approval.release, entry, snapshot, ledger, now)
                remember_audience(audience, ledger)
                reason = audience.held
            if reason is not None:
                held[approval.playbook] = reason
            elif entry.contacts.num_rows:
                entered[approval.playbook] = ledger.enrollments.enter(
                    entry, approval, snapshot_id=snapshot.snapshot_id, gate_id=gate.gate_id, now=now, run=run
                )
    if any(entered.values()):
        tables = ledger.enrollments.tables(now=now)
    releases, following = counting_releases(ledger, tables["enrollments"], approved)
    counts: Mapping[str, int] = {}
    if releases:
        advance = journeys.advance(
            releases, snapshot, tables, now, following=following, controls=controls, gate_held=gate.held
        )
        counts = ledger.enrollments.record(
            advance,
            releases=releases,
            snapshot_id=snapshot.snapshot_id,
            gate_id=gate.gate_id,
            git_sha=git_sha,
            run=run,
            now=now,
        )
    return TickResult(
        status="done",
        snapshot_id=snapshot.snapshot_id,
        gate_held=gate.held,
        entered=entered,
        held=held,
        counts=counts,
    )


def entries_held(approval: Approved, controls: ControlState, now: datetime, *, goal_hash: object) -> str | None:
    """Return why an approved release takes nobody in now, before anybody is counted; None when it may."""
    if controls.everything is not None:
        return f"everything is paused ({controls.everything})"
    if controls.sending_locked is not None:
        return f"sending is locked ({controls.sending_locked})"
    if (action := controls.playbooks.get(approval.playbook)) is not None:
        return "it is paused" if action == "pause" else "it is stopped"
    if now >= approval.expires_at:
        return f"its approval expired on {approval.expires_at:%Y-%m-%d}; plan and approve it again"
    if approval.plan.summary.get("goal_hash") != goal_hash:
        return f"what its goal means has changed since plan {approval.plan.plan_id}; plan and approve it again"
    return None


def _beyond_tolerance(approval: Approved, count_accounts: int) -> str | None:
    planned = approval.plan.count_accounts
    limit = math.floor(planned * (1 + approval.tolerance) + 1e-9)
    if approval.release.playbook.only_new:
        # Nobody enters at its launch: what may come in later is measured by how many match.
        outside = approval.plan.summary.get("left_out", {}).get(LeftOut.MATCHED_BEFORE_LAUNCH.value, {})
        limit = max(limit, FEW, math.floor((planned + outside.get("accounts", 0)) * approval.tolerance))
    if count_accounts <= limit:
        return None
    return (
        f"{count_accounts} accounts would enter, plan {approval.plan.plan_id} had {planned}"
        f" (at most {limit} with its tolerance); plan and approve it again"
    )


def counting_releases(
    ledger: Ledger, enrollments: pa.Table, approved: list[Approved]
) -> tuple[dict[int, Release], dict[int, int]]:
    """Return the releases of everybody who is in, by version, and which version counts for each entered one.

    The newest approved release says whether people in its playbook follow it or keep what they entered with; it
    counts also after its approval expired, and while nobody may enter.
    """
    is_open = enrollments.filter(pc.is_null(enrollments["ended_at"]))
    releases = {
        version_id: ledger.releases.version(version_id) for version_id in is_open["version_id"].unique().to_pylist()
    }
    newest = {approval.playbook: approval for approval in approved}
    following: dict[int, int] = {}
    for version_id, release in sorted(releases.items()):
        approval = newest.get(release.name)
        if approval is not None and approval.release.playbook.edits is Edits.FOLLOW:
            following[version_id] = approval.version_id
    for approval in approved:
        if approval.version_id in following.values():
            releases[approval.version_id] = approval.release
    return releases, following
