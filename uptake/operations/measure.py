"""Measure: what each playbook changed, against its own randomised holdout."""

from __future__ import annotations

from uptake.domain.outcomes import PlaybookOutcome
from uptake.errors import Refused
from uptake.operations.gate import refuse_held_reports
from uptake.ports import Evidence, Ledger, Snapshots


def measure(evidence: Evidence, snapshots: Snapshots, ledger: Ledger) -> list[PlaybookOutcome]:
    """Return every playbook's outcome as of the current snapshot.

    Raises:
        Refused: No snapshot is published.
        Held: A check of value did not pass for it.
    """
    snapshot = snapshots.current()
    if snapshot is None:
        raise Refused("nothing to measure: no snapshot is published; run `uptake refresh` first")
    refuse_held_reports(ledger, snapshot)
    return evidence.outcomes(snapshot, holdouts=drawn_holdouts(ledger))


def drawn_holdouts(ledger: Ledger) -> dict[str, float]:
    """Return the share of accounts each approved playbook holds out."""
    return {approved.playbook: approved.release.playbook.holdout for approved in ledger.releases.approved()}
