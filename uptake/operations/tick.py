"""One tick: take in whom approved releases take in, decide for everybody who is in, write it down. Sends nothing.

Playbook files are never read here: what counts is what was approved, and that is in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from uptake.operations.audience import remember_audience
from uptake.operations.definitions import counting_releases
from uptake.operations.entering import look
from uptake.operations.gate import Gate, fresh_gate
from uptake.operations.guard_mail import guard_mail
from uptake.ports import Journeys, Ledger, Run, Snapshots

KIND = "tick"  # of its run rows
ENTERED = frozenset({"enrollments", "enrollment_contacts", "assignments"})  # the tables that entering changes
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
    approved = ledger.releases.approved()
    guard_mail(ledger, approved, now=now)
    snapshot, controls = gate.snapshot, ledger.releases.controls()
    if snapshot is None:
        return TickResult(status="done", gate_held=gate.held)
    tables = ledger.enrollments.tables(now=now)
    entered: dict[str, int] = {}
    held: dict[str, str] = {}
    if gate.gate_id is not None:
        for approval in approved:
            found = look(journeys, approval, snapshot, tables, ledger, controls, now)
            if found.audience is not None:
                remember_audience(found.audience, ledger)
            if found.hold is not None:
                held[approval.playbook] = found.hold.reason
            elif found.entry is not None and found.entry.contacts.num_rows:
                entered[approval.playbook] = ledger.enrollments.enter(
                    found.entry, approval, snapshot_id=snapshot.snapshot_id, gate_id=gate.gate_id, now=now, run=run
                )
    if any(entered.values()):
        # As large as the customer base: neither read nor held twice. People stay as they were when the tick began.
        tables = {name: table for name, table in tables.items() if name not in ENTERED}
        tables |= ledger.enrollments.tables(now=now, only=ENTERED)
    releases, following = counting_releases(ledger, tables["enrollments"], approved)
    counts: Mapping[str, int] = {}
    if releases:
        advance = journeys.advance(
            releases, snapshot, tables, now, following=following, controls=controls, gate_held=gate.held
        )
        del tables
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
