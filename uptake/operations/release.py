"""A person decides about messages whose fate nobody knows: send them again, by name and reason."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from uptake.errors import UsageError
from uptake.ports import ENGINE_NAMES, Ledger


def release(ledger: Ledger, send_ids: Sequence[str] | None, *, by: str, reason: str, now: datetime) -> int:
    """Order messages to be sent again (None: every held one); return how many. They pass every check anew.

    An `unknown` one may be named too, before its day is over. Raises UsageError for one that is neither.
    """
    stuck = {row["send_id"]: row["status"] for row in ledger.read("stuck_sends")}
    if send_ids is None:
        send_ids = [send_id for send_id, status in stuck.items() if status == "held"]
    if strangers := [send_id for send_id in send_ids if send_id not in stuck]:
        raise UsageError(f"not held or unknown: {', '.join(strangers[:5])}; `uptake held` lists what is")
    return ledger.sends.release(list(send_ids), by=by, reason=reason, now=now)


def person(by: str) -> str:
    """Return a person's name. Raises UsageError for one under which the engine itself gives orders."""
    if by.strip().lower() in ENGINE_NAMES or not by.strip():
        raise UsageError(f"{by!r} is no person's name; say who orders this")
    return by
