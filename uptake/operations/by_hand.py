"""What a person decides for one account: to take it into a playbook, or out of one. Both stay outside lift."""

from __future__ import annotations

from datetime import datetime

from uptake.domain.arms import Arm
from uptake.errors import Held, Refused
from uptake.operations.definitions import goal_hash
from uptake.operations.entering import entries_held
from uptake.operations.gate import fresh_gate
from uptake.ports import Journeys, Ledger, Snapshots


def enter(
    journeys: Journeys,
    snapshots: Snapshots,
    ledger: Ledger,
    *,
    account_id: str,
    playbook: str,
    reason: str,
    by: str,
    now: datetime,
) -> int:
    """Take an account into an approved playbook, whether it matches or not; return how many of its people are in.

    Exclusions, consent and suppression hold as ever, and so does the draw: an account that is held out stays out, or
    nobody could tell any more what the playbook is worth.

    Raises:
        Held: The gate, an approval or a pause stands in between.
        Refused: Nobody or no reason is named, or the account may not enter; says why.
    """
    why, who = _said(reason, by)
    gate = fresh_gate(snapshots, ledger, now)
    if gate.snapshot is None or gate.gate_id is None or gate.held is not None:
        raise Held(f"{account_id} was not taken into {playbook}: {gate.held or 'there is no passed gate'}")
    approval = next((one for one in ledger.releases.approved() if one.playbook == playbook), None)
    if approval is None:
        raise Held(f"{account_id} was not taken into {playbook}: no release of it is approved")
    controls = ledger.releases.controls()
    held = entries_held(approval, controls, now, goal_hash=goal_hash(gate.snapshot, approval.release))
    if held is not None:
        raise Held(f"{account_id} was not taken into {playbook}: {held.reason}")
    tables = ledger.enrollments.tables(now=now)
    entry = journeys.entrants(
        approval.release, gate.snapshot, tables, now, controls=controls, account_id=account_id, by_hand=True
    )
    if entry.contacts.num_rows == 0:
        reasons = sorted({str(one).replace("_", " ") for one in entry.left_out["reason"].to_pylist()})
        found = ", ".join(reasons) or f"nobody of it is in snapshot {gate.snapshot.snapshot_id}"
        raise Refused(f"{account_id} was not taken into {playbook}: {found}")
    (arm,) = set(entry.contacts["arm"].to_pylist())
    if arm != Arm.TREATMENT:
        raise Refused(f"{account_id} was not taken into {playbook}: it was drawn to {arm}, and gets nothing from it")
    ledger.enrollments.enter(
        entry,
        approval,
        snapshot_id=gate.snapshot.snapshot_id,
        gate_id=gate.gate_id,
        now=now,
        entered_by=who,
        entry_reason=why,
    )
    count: int = entry.contacts.num_rows
    return count


def leave(ledger: Ledger, *, account_id: str, playbook: str, reason: str, by: str, now: datetime) -> None:
    """Take an account out of a playbook: nothing more is sent to it from there.

    Raises Refused when it is not in, or nobody or no reason is named.
    """
    why, who = _said(reason, by)
    if ledger.enrollments.leave(playbook, account_id, reason=why, by=who, now=now) == 0:
        raise Refused(f"{account_id} is not in {playbook}; `uptake explain CONTACT` says where its people are")


def _said(reason: str, by: str) -> tuple[str, str]:
    why, who = " ".join(reason.split()), " ".join(by.split())
    if not why or not who or who == "match":
        raise Refused(f"expected a reason and the name of a person; found {why!r} and {who!r}")
    return why, who
