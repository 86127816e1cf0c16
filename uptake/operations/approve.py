"""Approve the release of a plan, so that ticks may take accounts in. The name is a claim, and said to be."""

from __future__ import annotations

from datetime import datetime

from uptake.domain.edits import changes
from uptake.domain.playbooks import Release
from uptake.domain.workspace import Automatic
from uptake.errors import LedgerError, Refused
from uptake.operations.audience import remember_audience
from uptake.ports import Approved, Audience, Ledger, Plan


def approve(ledger: Ledger, *, plan_id: str, by: str, now: datetime) -> Approved:
    """Approve a stored plan until its workspace's `expires`, within its `tolerance`.

    Raises:
        Refused: There is no such plan, a newer plan is of another release, or nobody is named.
    """
    name = " ".join(by.split())
    if not name:
        raise Refused(f"{plan_id} was not approved: nobody is named; expected --by NAME")
    try:
        plan = ledger.releases.plan(plan_id)
    except LedgerError as error:
        raise Refused(str(error)) from error
    newest = ledger.releases.latest_plan(plan.playbook)
    if newest is not None and newest.release_hash != plan.release_hash:
        raise Refused(f"{plan_id} is of an older release of {plan.playbook}; approve its newest plan, {newest.plan_id}")
    if (audience := plan.summary.get("audience")) is not None:
        # Whoever approves has seen how many match: that is what later snapshots are compared with.
        remember_audience(
            Audience(
                playbook=plan.playbook,
                snapshot_id=plan.snapshot_id,
                count_accounts=audience,
                held=None,
                measured_at=now,
            ),
            ledger,
        )
    # Before the approval: were it lost in between, nobody would have entered by mistake.
    ledger.enrollments.launch(plan, plan.summary.get("matched_before_launch", []), now=now)
    release = ledger.releases.version(plan.version_id)
    rules = release.workspace.approval
    expires_at = now + rules.expires
    ledger.releases.approve(plan, by=name, now=now, expires_at=expires_at, tolerance=rules.tolerance)
    return Approved(
        playbook=plan.playbook,
        version_id=plan.version_id,
        release=release,
        plan=plan,
        approved_by=name,
        expires_at=expires_at,
        tolerance=rules.tolerance,
    )


AUTOMATIC = "within limits"  # who approved, where nobody did


def approve_within_limits(ledger: Ledger, *, plan_id: str, now: datetime) -> Approved:
    """Approve a plan that is within the limits a person has approved before; nothing else is approved by itself.

    The limits are those of the release that is approved now: a plan cannot bring its own. An edit may change stages
    and texts; whatever else changes is for a person.

    Raises:
        Refused: It is not within them; says every reason.
    """
    try:
        plan = ledger.releases.plan(plan_id)
    except LedgerError as error:
        raise Refused(str(error)) from error
    before = next((one for one in ledger.releases.approved() if one.playbook == plan.playbook), None)
    limits = None if before is None else before.release.workspace.approval.automatic
    if before is None:
        reasons = ["a person has to approve it the first time"]
    elif limits is None:
        reasons = ["the approved release sets no limits (`approval.automatic` in _workspace.yml)"]
    else:
        reasons = _beyond(plan, ledger.releases.version(plan.version_id), before.release, limits)
    if reasons:
        raise Refused(f"{plan_id} was not approved: {'; '.join(reasons)}")
    return approve(ledger, plan_id=plan_id, by=AUTOMATIC, now=now)


def _beyond(plan: Plan, release: Release, approved: Release, limits: Automatic) -> list[str]:
    """Return what of a plan goes beyond the limits."""
    found = []
    if plan.count_accounts > limits.accounts:
        found.append(f"{plan.count_accounts} accounts would enter, the limit is {limits.accounts}")
    mails = sum(row["count_sends"] for row in plan.summary["sends_by_day"])
    if mails > limits.mails:
        found.append(f"{mails} mails would leave within two weeks, the limit is {limits.mails}")
    if plan.summary.get("audience_held"):
        found.append(plan.summary["audience_held"])
    if plan.summary.get("gate"):
        found.append(f"the snapshot was {plan.summary['gate']}")
    others = [f"{one.part} {one.key}" for one in changes(approved, release) if one.part != "stage"]
    if others:
        found.append(f"more than stages was edited: {', '.join(others)}")
    return found
