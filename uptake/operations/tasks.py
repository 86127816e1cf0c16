"""Tasks for people: what is to be done, by whom, with what is known and what could be said; and closing them.

A closed task ends its stage and counts as a touch. Names are looked up when somebody asks, and kept nowhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from uptake.errors import Refused, SnapshotError
from uptake.ports import Claimed, Ledger, MergeFields, Snapshot, Snapshots, Words

Outcome = Literal["done", "declined"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One open task."""

    task_id: int
    playbook: str
    stage_key: str
    title: str
    owner: str | None  # as the playbook names it, else the account's CSM; None: nobody is known
    due_at: datetime
    is_overdue: bool
    account_id: str
    contact_id: str  # the person chosen first at entry, of those who had come to the stage
    contact_name: str | None  # as it is known now; None when nobody is, or the person was erased
    contact_role: str | None
    feature_key: str
    opened_at: datetime
    facts: Mapping[str, Any]  # what the snapshot said when it was opened
    words: str | None  # what could be said; None without a text, or when it cannot be filled any more


COLUMNS = tuple(field.name for field in fields(Task))


def tasks(
    ledger: Ledger, snapshots: Snapshots, merge_fields: MergeFields, words: Words, *, now: datetime
) -> list[Task]:
    """Return every open task, the most urgent first."""
    rows = ledger.read("open_tasks")
    filled = said(ledger, snapshots, merge_fields, words, rows)
    return [
        Task(
            task_id=row["task_id"],
            playbook=row["playbook"],
            stage_key=row["stage_key"],
            title=row["title"],
            owner=row["owner"],
            due_at=row["due_at"],
            is_overdue=row["due_at"] < now,
            account_id=row["account_id"],
            contact_id=row["contact_id"],
            contact_name=row["full_name"] or row["given_name"],
            contact_role=row["role"],
            feature_key=row["feature_key"],
            opened_at=row["opened_at"],
            facts=row["facts"],
            words=filled.get(row["task_id"]),
        )
        for row in rows
    ]


def said(
    ledger: Ledger, snapshots: Snapshots, merge_fields: MergeFields, words: Words, rows: list[Mapping[str, Any]]
) -> dict[int, str]:
    """Return the suggested words of each task that has a text, filled from the current snapshot."""
    snapshot = _snapshot(snapshots)
    of_version: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        of_version[row["version_id"]].append(row)
    found: dict[int, str] = {}
    for version_id, mine in of_version.items():
        release = ledger.releases.version(version_id)
        asked = [_as_asked(row) for row in mine if row["stage_key"] in release.words]
        if snapshot is None or not asked:
            continue
        values = merge_fields.values(snapshot, release, asked)
        for one in asked:
            if one.send_id in values:
                filled = words(release, one.stage_key, values[one.send_id])
                found |= {} if filled is None else {int(one.send_id): filled}
    return found


def _snapshot(snapshots: Snapshots) -> Snapshot | None:
    """A list of tasks is worth having without words, too."""
    try:
        return snapshots.current()
    except SnapshotError:
        return None


def _as_asked(row: Mapping[str, Any]) -> Claimed:
    """Ask for merge fields as a mail does; nothing is sent, so there is no address."""
    return Claimed(
        send_id=str(row["task_id"]),
        enrollment_id=row["enrollment_id"],
        version_id=row["version_id"],
        playbook=row["playbook"],
        stage_key=row["stage_key"],
        account_id=row["account_id"],
        contact_id=row["contact_id"],
        feature_key=row["feature_key"],
        snapshot_id="",
        address="",
        given_name=row["given_name"],
        full_name=row["full_name"],
        locale=row["locale"],
    )


def close_task(ledger: Ledger, *, task_id: int, outcome: Outcome, reason: str, by: str, now: datetime) -> None:
    """Close a task: its stage is over, and it counts as a touch.

    Raises:
        Refused: There is no such task, it is closed already, or nobody or no reason is named.
    """
    why, who = " ".join(reason.split()), " ".join(by.split())
    if not why or not who:
        raise Refused(f"task {task_id} was not closed: expected a reason and a name; found {why!r} and {who!r}")
    ledger.tasks.close(task_id, outcome=outcome, reason=why, by=who, now=now)
