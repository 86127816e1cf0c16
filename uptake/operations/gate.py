"""Whether a snapshot may be acted upon. What is missing, unreadable, unchecked or stale is a failure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from uptake.errors import SnapshotError
from uptake.ports import Ledger, Snapshot, Snapshots

#: How far a snapshot's as_of may lie back before nothing is mailed from it.
FRESH_FOR = timedelta(hours=36)
#: How far it may lie ahead: clocks differ, days do not.
SKEW = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The current snapshot, and why nothing may be concluded from it: `held` is None when it is sound."""

    snapshot: Snapshot | None
    gate_id: int | None
    held: str | None


def gate(snapshots: Snapshots, ledger: Ledger) -> Gate:
    """Look at the current snapshot and its gate row, whatever its age."""
    try:
        snapshot = snapshots.current()
    except SnapshotError as error:
        return Gate(snapshot=None, gate_id=None, held=f"the current snapshot cannot be read: {error}")
    if snapshot is None:
        return Gate(snapshot=None, gate_id=None, held="there is no snapshot yet; `uptake refresh` makes one")
    gate_id = ledger.gates.passed(snapshot.snapshot_id)
    if gate_id is None:
        return Gate(snapshot=snapshot, gate_id=None, held=f"snapshot {snapshot.snapshot_id} has no passed gate")
    return Gate(snapshot=snapshot, gate_id=gate_id, held=None)


def fresh_gate(snapshots: Snapshots, ledger: Ledger, now: datetime) -> Gate:
    """Look at the current snapshot as a tick must: passed, and not older than `FRESH_FOR`."""
    found = gate(snapshots, ledger)
    if found.snapshot is not None and found.held is None and found.snapshot.as_of - now > SKEW:
        ahead = (
            f"snapshot {found.snapshot.snapshot_id} is of the future: as of {found.snapshot.as_of:%Y-%m-%d %H:%M} UTC"
        )
        return Gate(snapshot=found.snapshot, gate_id=None, held=f"{ahead}, now is {now:%Y-%m-%d %H:%M}")
    if found.snapshot is not None and found.held is None and now - found.snapshot.as_of > FRESH_FOR:
        as_of = f"{found.snapshot.as_of:%Y-%m-%d %H:%M} UTC"
        hours = int(FRESH_FOR / timedelta(hours=1))
        stale = f"snapshot {found.snapshot.snapshot_id} is stale: as of {as_of}, expected at most {hours} h ago"
        return Gate(snapshot=found.snapshot, gate_id=None, held=stale)
    return found
