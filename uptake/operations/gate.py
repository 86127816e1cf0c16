"""Whether a snapshot may be acted upon. What is missing, unreadable, unchecked or stale is a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from uptake.errors import Held, SnapshotError
from uptake.ports import Check, Ledger, Snapshot, Snapshots

#: How far a snapshot's as_of may lie back before nothing is mailed from it.
FRESH_FOR = timedelta(hours=36)
#: How far it may lie ahead: clocks differ, days do not.
SKEW = timedelta(minutes=10)
_WITH_OVERRIDE = "`uptake refresh` with data that pass; or `uptake override` of what was held"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The current snapshot, and why nothing may be concluded from it: `held` is None when it is sound."""

    snapshot: Snapshot | None
    gate_id: int | None
    held: str | None
    opens: str = "`uptake refresh`"  # what a person does about it


def gate(snapshots: Snapshots, ledger: Ledger) -> Gate:
    """Look at the current snapshot and its gate row, whatever its age."""
    try:
        snapshot = snapshots.current()
    except SnapshotError as error:
        return Gate(snapshot=None, gate_id=None, held=f"the current snapshot cannot be read: {error}")
    if snapshot is None:
        told = "there is no snapshot yet; `uptake refresh` makes one"
        return Gate(snapshot=None, gate_id=None, held=f"{told}{_last_held(ledger)}")
    gate_id = ledger.gates.passed(snapshot.snapshot_id)
    if gate_id is None:
        told = f"snapshot {snapshot.snapshot_id} has no passed gate{_last_held(ledger)}"
        return Gate(snapshot=snapshot, gate_id=None, held=told, opens=_WITH_OVERRIDE)
    return Gate(snapshot=snapshot, gate_id=gate_id, held=None)


def override_of(row: Mapping[str, Any] | None) -> str | None:
    """Say who let a held snapshot pass, and why; None for a row that passed by itself, or for none at all."""
    if row is None or row.get("overridden_by") is None:
        return None
    return f"let pass by {row['overridden_by']}: {row['override_reason']}"


def refuse_held_reports(ledger: Ledger, snapshot: Snapshot) -> None:
    """Raise Held when a check that protects reports did not pass for this snapshot, and nobody overrode it."""
    row = ledger.gates.of(snapshot.snapshot_id)
    if row is None or row["overridden_by"] is not None:
        return
    reasons = [reason_of(check) for check in row["checks"] if check.blocks and check.protects == "reports"]
    if reasons:
        raise Held(f"no report of snapshot {snapshot.snapshot_id}: {'; '.join(reasons)}")


def reason_of(check: Check) -> str:
    """Return a check that did not pass as one line."""
    return f"{check.name} {check.status}: {check.detail}".rstrip(": ")


def _last_held(ledger: Ledger) -> str:
    """Say why the last refresh published nothing, if that was so."""
    last = ledger.gates.latest()
    if last is None or last["status"] != "held" or not last["reasons"]:
        return ""
    more = len(last["reasons"]) - 1
    return f"; the last refresh was held: {last['reasons'][0]}" + (f" (and {more} more)" if more else "")


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
        last = _last_held(ledger)
        opens = _WITH_OVERRIDE if last else Gate.opens  # nobody can let old data pass
        return Gate(snapshot=found.snapshot, gate_id=None, held=stale + last, opens=opens)
    return found
