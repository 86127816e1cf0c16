"""Pauses a playbook whose mail does harm: too many complaints, bounces, unsubscribes or refusals."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from uptake.domain.guardrails import HARMS, HarmFound, harm_found
from uptake.domain.playbooks import Release
from uptake.ports import ENGINE, Approved, Ledger

_log = logging.getLogger(__name__)


def guard_mail(ledger: Ledger, approved: Sequence[Approved], *, now: datetime) -> None:
    """Pause each playbook that has a rate above its limit, until a person resumes it.

    What was sent before somebody last resumed it does not count again. Warnings stand among the alarms of `status`.
    """
    ordered = ledger.releases.controls().playbooks
    watched = [approval.release for approval in approved if approval.playbook not in ordered]
    for playbook, harm in harm_of(ledger, watched, now=now).items():
        stops = [found.told for found in harm if found.is_stop]
        if stops:
            _log.error("playbook %s is paused: %s", playbook, "; ".join(stops))
            ledger.releases.control("playbook", playbook, "pause", reason=stops[0], by=ENGINE, now=now)


def harm_of(ledger: Ledger, releases: Sequence[Release], *, now: datetime) -> dict[str, list[HarmFound]]:
    """Return playbook -> what its mail does too much of, the worst first."""
    guardrails = {release.name: release.workspace.guardrails for release in releases}
    counts = ledger.delivery.counts({name: now - rails.within for name, rails in guardrails.items()})
    return {
        name: harm_found(counts[name], {harm: getattr(rails, harm) for harm in HARMS})
        for name, rails in guardrails.items()
    }
