"""A person pauses, resumes or stops a playbook, an account, or everything: by name and reason, kept in the ledger."""

from __future__ import annotations

from datetime import datetime
from difflib import get_close_matches
from typing import Literal

from uptake.errors import Refused, UsageError
from uptake.operations.release import person
from uptake.ports import Ledger, Playbooks

Action = Literal["pause", "resume", "stop"]


def control(
    playbooks: Playbooks,
    ledger: Ledger,
    action: Action,
    *,
    playbook: str | None = None,
    account_id: str | None = None,
    reason: str,
    by: str,
    now: datetime,
) -> str:
    """Order it from the commit of this call on; return what it is about. Without playbook and account: everything.

    A pause holds people where they are; a stop ends what is open at the next tick, and nothing planned for it leaves.
    Both keep anybody from entering until somebody resumes. To stop everything is an order for each approved playbook:
    each goes on by its own name.

    Raises:
        UsageError: Nobody, no reason, two targets, or one that nobody knows is named.
        Refused: Everything shall be stopped, and nothing was ever approved.
    """
    who, why = person(by), " ".join(reason.split())
    if not why:
        raise UsageError(f"nothing was ordered: expected a reason; found {reason!r}")
    if playbook is not None and account_id is not None:
        raise UsageError(f"name a playbook or an account; `uptake exit {account_id} {playbook}` takes the one out")
    if playbook is not None:
        known = playbooks.names()
        if playbook not in known and ledger.releases.latest_plan(playbook) is None:
            alike = get_close_matches(playbook, known, n=1)
            meant = f"did you mean `{alike[0]}`?" if alike else f"expected one of {', '.join(known)}"
            raise UsageError(f"no playbook {playbook!r}; {meant}")
        ledger.releases.control("playbook", playbook, action, reason=why, by=who, now=now)
        return playbook
    if account_id is not None:
        if not ledger.read("account_contacts", account_id=account_id):
            raise UsageError(f"nobody knows account {account_id!r}: no contact of it was ever loaded")
        ledger.releases.control("account", account_id, action, reason=why, by=who, now=now)
        return f"account {account_id}"
    if action == "stop":
        return _stop_all(ledger, reason=why, by=who, now=now)
    ledger.releases.control("all", "*", action, reason=why, by=who, now=now)
    return "everything"


def _stop_all(ledger: Ledger, *, reason: str, by: str, now: datetime) -> str:
    approved = sorted(one.playbook for one in ledger.releases.approved())
    if not approved:
        raise Refused("there is nothing to stop: no playbook was ever approved")
    for name in approved:
        ledger.releases.control("playbook", name, "stop", reason=reason, by=by, now=now)
    return ", ".join(approved)
