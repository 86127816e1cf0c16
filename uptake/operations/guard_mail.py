"""Pauses a playbook whose mail does harm: too many complaints, bounces, unsubscribes or refusals."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from uptake.domain.guardrails import HARMS, HarmFound, harm_found
from uptake.domain.playbooks import Release
from uptake.ports import Approved, Ledger

_log = logging.getLogger(__name__)

_ENGINE = "uptake"


def guard_mail(ledger: Ledger, approved: Sequence[Approved], *, now: datetime) -> None:
    """Pause each playbook that has a rate above its limit, until a person resumes it.

    What was sent before somebody last resumed it does not count again. Warnings are told by `harm_of`.
    """
    ordered = ledger.releases.controls().playbooks
    for approval in approved:
        if approval.playbook in ordered:
            continue
        stops = [found.told for found in harm_of(ledger, approval.release, now=now) if found.is_stop]
        if stops:
            _log.error("playbook %s is paused: %s", approval.playbook, "; ".join(stops))
            ledger.releases.control("playbook", approval.playbook, "pause", reason=stops[0], by=_ENGINE, now=now)


def harm_of(ledger: Ledger, release: Release, *, now: datetime) -> list[HarmFound]:
    """Return what one playbook's mail does too much of; the worst first."""
    guardrails = release.workspace.guardrails
    counts = ledger.delivery.counts(release.name, since=now - guardrails.within)
    return harm_found(counts, {harm: getattr(guardrails, harm) for harm in HARMS})
