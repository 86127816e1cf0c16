"""Whether a playbook takes anybody in now; if not, why, and what opens it. A tick, `status` and `explain` ask here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import pyarrow as pa

from uptake.domain.edits import changes_who_enters
from uptake.domain.eligibility import LeftOut
from uptake.domain.guardrails import FEW
from uptake.domain.playbooks import Playbook, Release
from uptake.operations.audience import look_at_audience
from uptake.operations.definitions import goal_hash
from uptake.ports import Approved, Audience, ControlState, Entry, Journeys, Ledger, Plan, Snapshot


class Hold(NamedTuple):
    """Why nobody enters, and what a person does about it."""

    reason: str
    opens: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one approved playbook would do now with whoever matches."""

    hold: Hold | None
    entry: Entry | None = None  # None: nobody was counted
    audience: Audience | None = None


def look(
    journeys: Journeys,
    approval: Approved,
    snapshot: Snapshot,
    tables: Mapping[str, pa.Table],
    ledger: Ledger,
    controls: ControlState,
    now: datetime,
) -> Look:
    """Count who would enter over a snapshot that passed its gate, and measure the audience. Writes nothing."""
    hold = entries_held(approval, controls, now, goal_hash=goal_hash(snapshot, approval.release))
    if hold is not None:
        return Look(hold=hold)
    if not approval.release.playbook.takes_in(now):
        return Look(hold=None)  # nobody is asked today, which is no change of the audience
    entry = journeys.entrants(approval.release, snapshot, tables, now, controls=controls)
    hold = _beyond_tolerance(approval, len(entry.contacts["account_id"].unique()))
    if hold is not None:
        return Look(hold=hold, entry=entry)
    audience = look_at_audience(approval.release, entry, snapshot, ledger, now)
    if audience.held is not None:
        hold = Hold(audience.held, f"{_anew(approval)}; or the audience coming back to what it was")
    return Look(hold=hold, entry=entry, audience=audience)


def closed_today(playbook: Playbook, now: datetime) -> str | None:
    """Return why nobody enters by matching today, whatever they match; None when they may."""
    if playbook.enter == "manual":
        return "takes in nobody by itself: people are taken in by hand"
    if playbook.takes_in(now):
        return None
    following = playbook.next_opening(now)
    return "no day of its calendar is left" if following is None else f"the next day of its calendar is {following}"


def entries_held(approval: Approved, controls: ControlState, now: datetime, *, goal_hash: object) -> Hold | None:
    """Return why an approved release takes nobody in now, before anybody is counted; None when it may."""
    if controls.everything is not None:
        return Hold(f"everything is paused ({controls.everything})", "`uptake resume --all`")
    if controls.sending_locked is not None:
        return Hold(f"sending is locked ({controls.sending_locked})", opener(controls))
    if (action := controls.playbooks.get(approval.playbook)) is not None:
        said = "it is paused" if action == "pause" else "it is stopped"
        return Hold(said, f"`uptake resume {approval.playbook}`")
    if now >= approval.expires_at:
        reason = f"its approval expired on {approval.expires_at:%Y-%m-%d}; plan and approve it again"
        return Hold(reason, _anew(approval))
    if approval.plan.summary.get("goal_hash") != goal_hash:
        reason = f"what its goal means has changed since plan {approval.plan.plan_id}; plan and approve it again"
        return Hold(reason, _anew(approval))
    return None


def opener(controls: ControlState) -> str:
    """Return the command that opens the lock on sending; a ledger that has forgotten asks the log first."""
    return "`uptake reconcile`" if controls.forgotten is not None else "`uptake resume --sending`"


def limit_of(plan: Plan, playbook: Playbook, tolerance: float) -> int:
    """Return how many accounts may enter in one tick once a plan is approved."""
    planned = measured_by(plan)
    limit = math.floor(planned * (1 + tolerance) + 1e-9)
    left_out = plan.summary.get("left_out", {})
    if playbook.only_new:
        # Nobody enters at its launch: what may come in later is measured by how many match.
        outside = left_out.get(LeftOut.MATCHED_BEFORE_LAUNCH.value, {}).get("accounts", 0)
        limit = max(limit, FEW, math.floor((planned + outside) * tolerance))
    if playbook.enter == "calendar":
        # Whoever has entered on this day of it comes again on the next.
        again = sum(left_out.get(why.value, {}).get("accounts", 0) for why in (LeftOut.IN_ALREADY, LeftOut.RE_ENTRY))
        limit = math.floor((plan.count_accounts + again) * (1 + tolerance) + 1e-9)
    return limit


def measured_by(plan: Plan) -> int:
    """Return how many accounts those who enter later are measured by."""
    return max(plan.count_accounts, int(plan.summary.get("measured_by", 0)))


def carried(ledger: Ledger, release: Release, count_accounts: int) -> int:
    """Return what a new plan is measured by: an edit that is not about who enters takes nothing back.

    Most of those who match enter at once, so whatever is planned later finds few, and a tolerance of a few would hold
    everybody who comes after.
    """
    for approved in ledger.releases.approved():
        if approved.playbook == release.name and not changes_who_enters(approved.release, release):
            return max(count_accounts, measured_by(approved.plan))
    return count_accounts


def _beyond_tolerance(approval: Approved, count_accounts: int) -> Hold | None:
    limit = limit_of(approval.plan, approval.release.playbook, approval.tolerance)
    if count_accounts <= limit:
        return None
    return Hold(
        f"{count_accounts} accounts would enter, plan {approval.plan.plan_id} had {measured_by(approval.plan)}"
        f" (at most {limit} with its tolerance); plan and approve it again",
        _anew(approval),
    )


def _anew(approval: Approved) -> str:
    return f"`uptake plan {approval.playbook}`, read it, `uptake approve`"
