"""Plan a playbook: who would enter now, in which arm, who would not and why, and when the mails would leave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from uptake.domain.eligibility import LeftOut
from uptake.domain.ids import SEPARATOR
from uptake.domain.playbooks import Release
from uptake.errors import Held
from uptake.operations import foresight
from uptake.operations.audience import look_at_audience
from uptake.operations.definitions import goal_hash
from uptake.operations.entering import carried
from uptake.operations.gate import gate, override_of
from uptake.ports import Entry, Journeys, Ledger, Plan, Playbooks, Snapshot, Snapshots


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """A stored plan, with the release and the whole lists behind its counts."""

    plan: Plan
    release: Release
    entry: Entry  # contacts who would enter; who would not, each with a reason
    first_tick: pa.Table  # what a tick would decide for the entrants: contact, stage, verdict, reason

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON takes it, with every list whole."""
        return {
            "plan": asdict(self.plan),
            "release": self.release.model_dump(mode="json"),
            "contacts": self.entry.contacts.to_pylist(),
            "left_out": self.entry.left_out.to_pylist(),
            "first_tick": self.first_tick.to_pylist(),
        }


def plan(
    playbooks: Playbooks,
    journeys: Journeys,
    snapshots: Snapshots,
    ledger: Ledger,
    *,
    name: str,
    git_sha: str,
    now: datetime,
    against: str | None = None,
) -> PlanResult:
    """Compute and store the plan of one playbook; see `plans`."""
    (planned,) = plans(playbooks, journeys, snapshots, ledger, names=[name], git_sha=git_sha, now=now, against=against)
    return planned


def plans(
    playbooks: Playbooks,
    journeys: Journeys,
    snapshots: Snapshots,
    ledger: Ledger,
    *,
    names: Sequence[str],
    git_sha: str,
    now: datetime,
    against: str | None = None,
) -> Iterator[PlanResult]:
    """Compute and store the plans of playbooks over the current snapshot, each alone; the ledger is read once.

    Of a playbook whose calendar is closed it is the plan of its next day, as if the snapshot were of that day: so an
    approval that is given before covers that day.

    With `against`, the id of another snapshot, it says who would enter on one of them and not on the other.

    Raises:
        PlaybookError: The files of one of them are wrong; nothing was stored.
        Held: There is no snapshot, or its gate did not pass.
        SnapshotError: There is no snapshot `against`.
    """
    releases = [playbooks.release(name) for name in names]
    found = gate(snapshots, ledger)
    if found.snapshot is None or found.held is not None:
        raise Held(f"{', '.join(names)} cannot be planned: {found.held}")
    other = None if against is None else snapshots.open(against)
    tables = ledger.enrollments.tables(now=now)
    for release in releases:
        yield _plan(release, found.snapshot, other, tables, journeys, ledger, git_sha=git_sha, now=now)


def _plan(
    release: Release,
    snapshot: Snapshot,
    other: Snapshot | None,
    tables: Mapping[str, pa.Table],
    journeys: Journeys,
    ledger: Ledger,
    *,
    git_sha: str,
    now: datetime,
) -> PlanResult:
    name = release.name
    opens_at = release.playbook.entry_moment(now)
    entry = journeys.entrants(release, snapshot, tables, opens_at, controls=ledger.releases.controls())
    audience = look_at_audience(release, entry, snapshot, ledger, now)
    forecast = journeys.stage_counts(release, entry, snapshot, tables, opens_at)
    first = foresight.first_tick(journeys, release, entry, snapshot, tables, ledger, opens_at)
    version_id = ledger.releases.save_version(release, git_sha=git_sha, now=now)
    count_accounts = len(entry.contacts["account_id"].unique())
    plan_hash = _plan_hash(release, snapshot, entry.contacts)
    planned = Plan(
        plan_id=f"{name}-{now:%Y%m%dT%H%M}-{plan_hash[:6]}",
        playbook=name,
        version_id=version_id,
        release_hash=release.release_hash,
        plan_hash=plan_hash,
        snapshot_id=snapshot.snapshot_id,
        planned_at=now,
        count_accounts=count_accounts,
        count_contacts=entry.contacts.num_rows,
        summary={
            **_summary(release, snapshot, entry, forecast),
            "opens_on": None if opens_at == now else opens_at.date().isoformat(),
            "gate": override_of(ledger.gates.of(snapshot.snapshot_id)),
            # Where nobody is asked there is no audience that a later one could be compared with.
            "audience": audience.count_accounts if release.playbook.takes_in(opens_at) else None,
            "audience_held": audience.held if release.playbook.takes_in(opens_at) else None,
            "measured_by": carried(ledger, release, count_accounts),
            "matched_before_launch": _outside(entry, tables["launches"], name),
            "first_tick": foresight.counted(first),
            "edit": foresight.touched(journeys, release, snapshot, tables, ledger, now),
            "provable": foresight.provable(release, entry, tables),
            "since": foresight.since(entry, ledger, name),
            "against": None
            if other is None
            else foresight.against(journeys, release, entry, other, tables, ledger, opens_at),
        },
    )
    ledger.releases.save_plan(planned, entrants=entry.contacts)
    return PlanResult(plan=planned, release=release, entry=entry, first_tick=first)


def _outside(entry: Entry, launches: pa.Table, playbook: str) -> list[str]:
    """Return the accounts that stay out for having matched before the launch, as long as that is still to come."""
    if playbook in launches["playbook"].to_pylist():
        return []
    is_old = pc.equal(entry.left_out["reason"], LeftOut.MATCHED_BEFORE_LAUNCH.value)
    found: list[str] = pc.unique(entry.left_out.filter(is_old)["account_id"]).sort().to_pylist()
    return found


def _plan_hash(release: Release, snapshot: Snapshot, contacts: pa.Table) -> str:
    """Return the hash of the release, the snapshot, the people and their arms."""
    columns = [pc.fill_null(contacts[name], "") for name in ("account_id", "contact_id", "feature_key", "arm")]
    people = pc.binary_join_element_wise(*columns, SEPARATOR).combine_chunks().sort()
    (text,) = pc.binary_join(pa.ListArray.from_arrays([0, len(people)], people), "\n").to_pylist()
    return hashlib.sha256("\n".join([release.release_hash, snapshot.snapshot_id, text]).encode()).hexdigest()


def _summary(release: Release, snapshot: Snapshot, entry: Entry, forecast: pa.Table) -> Mapping[str, Any]:
    """Return what a plan shows, as JSON: counts, first sends by day and texts."""
    contacts = entry.contacts
    return {
        "as_of": snapshot.as_of.isoformat(),
        "goal_hash": goal_hash(snapshot, release),
        "arms": {
            row["arm"]: {"accounts": row["account_id_count_distinct"], "contacts": row["contact_id_count"]}
            for row in contacts.group_by("arm")
            .aggregate([("account_id", "count_distinct"), ("contact_id", "count")])
            .sort_by("arm")
            .to_pylist()
        },
        "balance": _balance(contacts),
        "left_out": {
            row["reason"]: {"accounts": row["account_id_count_distinct"], "contacts": row["contact_id_count"]}
            for row in entry.left_out.group_by("reason")
            .aggregate([("account_id", "count_distinct"), ("contact_id", "count")])
            .sort_by("reason")
            .to_pylist()
        },
        "sends_by_day": [{**row, "day": row["day"].isoformat()} for row in forecast.to_pylist()],
        "texts": {key: text.model_dump() for key, text in release.texts.items()},
    }


def _balance(contacts: pa.Table) -> dict[str, dict[str, int]]:
    """Return stratum -> arm -> accounts: what the draw made of each kind of account."""
    counted = contacts.group_by(["stratum", "arm"]).aggregate([("account_id", "count_distinct")])
    found: dict[str, dict[str, int]] = {}
    for row in counted.sort_by([("stratum", "ascending"), ("arm", "ascending")]).to_pylist():
        found.setdefault(row["stratum"], {})[row["arm"]] = row["account_id_count_distinct"]
    return found
