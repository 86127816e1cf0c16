"""Pick people whom a stage can be shown for. Renders nothing and names nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from uptake.domain.playbooks import Release
from uptake.errors import Refused
from uptake.operations.gate import gate
from uptake.ports import Journeys, Ledger, Playbooks, Snapshot, Snapshots


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One contact a stage can be shown for."""

    contact_id: str
    account_id: str
    feature_key: str | None
    facts: Mapping[str, Any]  # what conditions see, by dotted name


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What the renderer needs to show one stage."""

    release: Release
    stage_key: str
    snapshot: Snapshot
    samples: tuple[Sample, ...]


def preview(
    playbooks: Playbooks,
    journeys: Journeys,
    snapshots: Snapshots,
    ledger: Ledger,
    *,
    name: str,
    now: datetime,
    stage_key: str | None = None,
    contact_id: str | None = None,
    limit: int = 3,
) -> Preview:
    """Pick sample contacts of one e-mail stage: those who would enter now, else anybody of the snapshot.

    Args:
        playbooks: The folder; its files count here, approved or not.
        journeys: The rules.
        snapshots: The store of snapshots.
        ledger: Operational truth.
        name: The playbook.
        now: The moment of asking.
        stage_key: An e-mail stage; default the first.
        contact_id: Show it for this contact, whether it would enter or not.
        limit: How many samples at most.

    Raises:
        PlaybookError: The playbook's files are wrong.
        Refused: There is no such stage or contact, or no snapshot.
    """
    release = playbooks.release(name)
    mails = list(release.texts)
    chosen = stage_key if stage_key is not None else next(iter(mails), None)
    if chosen is None or chosen not in release.texts:
        raise Refused(
            f"{name} has no e-mail stage {chosen!r}; expected one of {', '.join(mails) or 'none: it has no mail'}"
        )
    snapshot = gate(snapshots, ledger).snapshot
    if snapshot is None:
        raise Refused(f"{name} cannot be previewed: there is no snapshot that can be read; `uptake refresh` makes one")
    tables = ledger.enrollments.tables(now=now)
    if contact_id is None:
        entry = journeys.entrants(release, snapshot, tables, now, controls=ledger.releases.controls())
        people = entry.contacts.select(["contact_id", "account_id", "feature_key"]).slice(0, limit)
        if people.num_rows == 0:
            people = journeys.taught(release, snapshot, limit=limit)
    else:
        people = journeys.taught(release, snapshot, contact_id=contact_id)
        if people.num_rows == 0:
            raise Refused(f"snapshot {snapshot.snapshot_id} knows no contact {contact_id!r}")
    return Preview(
        release=release,
        stage_key=chosen,
        snapshot=snapshot,
        samples=tuple(
            Sample(
                contact_id=row["contact_id"],
                account_id=row["account_id"],
                feature_key=row["feature_key"],
                facts={name: value for name, value in row.items() if "." in name},
            )
            for row in journeys.facts(outside(people), snapshot, tables, now).to_pylist()
        ),
    )


def outside(people: pa.Table) -> pa.Table:
    """Return contacts as `Journeys.facts` wants them when no enrollment is meant."""
    nothing = pa.nulls(people.num_rows, pa.int64())
    return people.append_column("entry_no", nothing).append_column("age_days", nothing)
