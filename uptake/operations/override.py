"""Override: a person lets one held snapshot pass, by name and reason. Never what nobody could look at, never age."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from uptake.errors import Refused
from uptake.operations.gate import FRESH_FOR, SKEW, reason_of
from uptake.ports import Check, Ledger, Snapshot, Snapshots

SHORTEST = 10  # letters of a reason that tells anything to whoever asks later


@dataclass(frozen=True, kw_only=True)
class Overridden:
    """What was let pass."""

    snapshot: Snapshot
    by: str
    reason: str
    checks: tuple[Check, ...]  # those that had held it


def override(
    snapshots: Snapshots,
    ledger: Ledger,
    *,
    snapshot_id: str,
    by: str,
    reason: str,
    people: Callable[[], pa.Table],
    now: datetime,
) -> Overridden:
    """Publish the snapshot that the last refresh held, from mail or from reports alone, although checks of it failed.

    It holds for this very snapshot: the next refresh is judged anew. To the checks that had failed, and to no other,
    the snapshot is the new normal: where they compare with earlier ones they begin with it (`Gates.let_pass`). The gate
    row keeps every check, what had failed, who let it pass, why and when; status, plan and report show it.

    Args:
        snapshots: Has the held marts.
        ledger: Operational truth.
        snapshot_id: As the last refresh named it.
        by: Who says so; a claim, and said to be.
        reason: Why these data are right all the same.
        people: Reads names and addresses as they are now, after everything was found in order.
        now: The moment.

    Raises:
        Refused: Nobody or nothing is named, it is not what the last refresh held, a check did not run or could not
            read its data, or the data are older than any mail may rest on.
        SnapshotError: What was held is gone or damaged.
    """
    name, why = " ".join(by.split()), " ".join(reason.split())
    refused = f"snapshot {snapshot_id or '(none is named)'} stays held"
    if not name or len(why) < SHORTEST:
        raise Refused(f"{refused}: expected a name and a reason of at least {SHORTEST} letters")
    last = ledger.gates.latest()
    row = ledger.gates.of(snapshot_id)
    blocking = () if row is None else tuple(check for check in row["checks"] if check.blocks)
    if last is None or row is None or last["gate_id"] != row["gate_id"] or last["overridden_by"] or not blocking:
        told = "no refresh has run" if last is None else f"the last one was {last['status']}, {last['snapshot_id']}"
        raise Refused(f"{refused}: it is not what the last refresh held ({told})")
    for check in blocking:
        if check.status != "failed":
            raise Refused(f"{refused}: {reason_of(check)}; what did not run has nothing anybody could have looked at")
    if row["as_of"] is None or now - row["as_of"] > FRESH_FOR or row["as_of"] - now > SKEW:
        raise Refused(f"{refused}: nothing is mailed from data as of {row['as_of']}, whoever lets them pass")
    found = people()
    snapshot = snapshots.release(snapshot_id)
    # As in a refresh: people before the gate row, the gate row last.
    ledger.people.load(found, now=now)
    ledger.gates.record(
        snapshot_id=snapshot_id,
        status="passed",
        checks=row["checks"],
        reasons=row["reasons"],
        as_of=row["as_of"],
        now=now,
        overridden_by=name,
        override_reason=why,
    )
    return Overridden(snapshot=snapshot, by=name, reason=why, checks=blocking)
