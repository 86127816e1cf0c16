"""What one tick decided, written in one transaction by whole sets: endings, decisions, planned sends, tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from uptake.adapters.keyed_hash_duckdb import keyed_hashes
from uptake.adapters.ledger.arrow import TIMESTAMP, fetch, stage, unstage
from uptake.adapters.ledger.decide import VERDICTS, decide, is_asked_again
from uptake.adapters.ledger.runs import check_fence
from uptake.adapters.ledger.schema import (
    ENDED,
    OPEN,
    decisions,
    enrollment_contacts,
    enrollments,
    sends,
    snapshot_gates,
    tasks,
)
from uptake.adapters.ledger.store import Store
from uptake.adapters.ledger.upsert import insert_new
from uptake.domain.arms import Arm
from uptake.domain.eligibility import Reason, Verdict
from uptake.domain.ids import SEND
from uptake.domain.playbooks import Release
from uptake.domain.sends import SendStatus
from uptake.errors import Held, LedgerError
from uptake.ports import Advance, Keys, Run

WITHDRAWN = "withdrawn"  # status of a task whose enrollment ended before anybody did it
_PLANNED = pa.schema(
    [
        ("enrollment_id", pa.int64()),
        ("contact_id", pa.string()),
        ("stage_key", pa.string()),
        ("version_id", pa.int64()),
        ("feature_key", pa.string()),
        ("due_at", TIMESTAMP),
        ("window_ends_at", TIMESTAMP),
        ("playbook", pa.string()),
        ("account_id", pa.string()),
        ("entry_no", pa.int32()),
        ("arm", pa.string()),
        ("template_hash", pa.string()),
    ]
)


class Recorder:
    """Writes an `Advance`."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def record(
        self,
        advance: Advance,
        *,
        releases: Mapping[int, Release],
        snapshot_id: str,
        gate_id: int | None,
        git_sha: str,
        run: Run,
        now: datetime,
    ) -> Mapping[str, int]:
        """Write all of it or nothing. Raises Held when a newer run took over, or mail was decided without a gate."""
        with self._store.write() as connection:
            check_fence(connection, run)
            self._store.stop(connection)
            counts: Counter[str] = Counter()
            counts.update(end_contacts(connection, advance.endings, run_id=run.run_id, now=now))
            counts.update(_end_enrollments(connection, advance.account_endings, run_id=run.run_id, now=now))
            verdicts = advance.verdicts
            if verdicts.num_rows:
                constants = {"snapshot_id": snapshot_id, "gate_id": gate_id}
                for name, value in constants.items():
                    same = pa.scalar(value, VERDICTS.field(name).type)
                    verdicts = verdicts.append_column(name, pa.repeat(same, verdicts.num_rows))
                decide(connection, verdicts, run_id=run.run_id, now=now)
                stages = _stages(verdicts, releases, now)
                planning = {"snapshot_id": snapshot_id, "gate_id": gate_id, "run_id": run.run_id}
                wanted = verdicts.filter(pc.equal(verdicts["verdict"], Verdict.SEND.value))
                if wanted.num_rows:
                    _check_gate(connection, snapshot_id, gate_id)
                    planned = {**planning, "git_sha": git_sha}
                    counts["send"] = self._plan_sends(connection, wanted, stages, planned, now)
                wanted = verdicts.filter(pc.equal(verdicts["verdict"], Verdict.TASK.value))
                if wanted.num_rows:
                    counts["task"] = _open_tasks(connection, wanted, stages, planning, now)
                counts.update(_count_waits(verdicts))
        return {name: count for name, count in sorted(counts.items()) if count}

    def _plan_sends(
        self,
        connection: sa.Connection,
        wanted: pa.Table,
        stages: pa.Table,
        planning: Mapping[str, object],
        now: datetime,
    ) -> int:
        staged, about = stage(connection, "wanted", wanted), stage(connection, "stages", stages)
        known = (
            (sends.c.enrollment_id == staged.c.enrollment_id)
            & (sends.c.stage_key == staged.c.stage_key)
            & (sends.c.contact_id == staged.c.contact_id)
        )
        query = (
            sa.select(
                *(staged.c[name] for name in _PLANNED.names[:4]),
                sa.func.coalesce(staged.c.feature_key, ""),
                staged.c.due_at,
                staged.c.window_ends_at,
                enrollments.c.playbook,
                enrollments.c.account_id,
                enrollments.c.entry_no,
                enrollments.c.arm,
                about.c.template_hash,
            )
            .select_from(_in_treatment(staged).join(about, _same_stage(staged, about)).outerjoin(sends, known))
            .where(sa.or_(sends.c.send_key.is_(None), is_asked_again()))
            .order_by(staged.c.enrollment_id, staged.c.contact_id)
        )
        planned = fetch(connection, query, _PLANNED)
        unstage(connection, staged, about)
        if planned.num_rows == 0:
            return 0
        names = ("playbook", "account_id", "entry_no", "stage_key", "contact_id")
        ids = keyed_hashes(self._keys.pseudonym, SEND, planned, names)
        planned = planned.drop_columns(["entry_no"]).append_column("send_id", ids)
        rows = stage(connection, "planned", planned)
        constants = {
            **planning,
            "status": SendStatus.PLANNED.value,
            "detail": "",
            "planned_at": now,
            "updated_at": now,
        }
        # What was stopped before its intent is the same send, decided on what is known now.
        fresh = ("version_id", "feature_key", "due_at", "window_ends_at", "template_hash")
        again = sa.update(sends).where(sends.c.send_id == rows.c.send_id, is_asked_again())
        count = connection.execute(
            again.values(**constants, reason=None, **{name: rows.c[name] for name in fresh})
        ).rowcount
        constants["attempt"] = 0
        select = sa.select(
            *(rows.c[name] for name in planned.column_names),
            *(sa.literal(value, sends.c[name].type) for name, value in constants.items()),
        ).where(sa.true())
        count += connection.execute(
            insert_new(connection, sends).from_select([*planned.column_names, *constants], select)
        ).rowcount
        unstage(connection, rows)
        return count


def _check_gate(connection: sa.Connection, snapshot_id: str, gate_id: int | None) -> None:
    """No passed gate row for this very snapshot: no mail."""
    gate = sa.select(snapshot_gates.c.gate_id).where(
        snapshot_gates.c.gate_id == gate_id,
        snapshot_gates.c.snapshot_id == snapshot_id,
        snapshot_gates.c.status == "passed",
    )
    if connection.scalar(gate) is None:
        raise Held(f"gate {gate_id} is no passed gate of snapshot {snapshot_id}; nothing was written")


def _stages(verdicts: pa.Table, releases: Mapping[int, Release], now: datetime) -> pa.Table:
    """What each stage that is sent or opened needs from its release: its template's hash, or what its task is."""
    acting = verdicts.filter(pc.is_in(verdicts["verdict"], pa.array([Verdict.SEND.value, Verdict.TASK.value])))
    pairs = acting.select(["version_id", "stage_key"]).group_by(["version_id", "stage_key"]).aggregate([])
    rows = []
    for pair in pairs.to_pylist():
        version_id, stage_key = pair["version_id"], pair["stage_key"]
        release = releases.get(version_id)
        if release is None or stage_key not in release.playbook.stages:
            raise LedgerError(f"a verdict names stage {stage_key!r} of version {version_id}, which was not given")
        stage = release.playbook.stages[stage_key]
        rows.append(
            {
                **pair,
                "title": stage.task,
                "template_hash": None if stage.task else release.template_hash(stage_key),
                "dedupe_key": stage.dedupe_key(release.name, stage_key),
                "do_by": now + stage.time_to_do,
            }
        )
    kinds = [
        ("version_id", pa.int64()),
        ("stage_key", pa.string()),
        ("title", pa.string()),
        ("template_hash", pa.string()),
        ("dedupe_key", pa.string()),
        ("do_by", pa.timestamp("us", "UTC")),
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds))


def _same_stage(left: sa.Table, right: sa.Table) -> sa.ColumnElement[bool]:
    return (left.c.version_id == right.c.version_id) & (left.c.stage_key == right.c.stage_key)


def _in_treatment(staged: sa.Table) -> sa.Join:
    """Join verdicts to what is still open, in the one arm that gets anything."""
    enrollment, contact = enrollments.c, enrollment_contacts.c
    is_in = (enrollment.enrollment_id == staged.c.enrollment_id) & (enrollment.status == OPEN)
    is_open = (contact.enrollment_id == staged.c.enrollment_id) & (contact.contact_id == staged.c.contact_id)
    return staged.join(enrollments, is_in & (enrollment.arm == Arm.TREATMENT.value)).join(
        enrollment_contacts, is_open & (contact.status == OPEN)
    )


def _open_tasks(
    connection: sa.Connection, wanted: pa.Table, stages: pa.Table, planning: Mapping[str, object], now: datetime
) -> int:
    """Open one task per enrollment and stage, at the turn of the contact chosen first at entry."""
    staged, about = stage(connection, "wanted", wanted), stage(connection, "stages", stages)
    constants = {**planning, "status": OPEN, "opened_at": now}
    turns = (
        sa.select(
            staged.c.enrollment_id,
            staged.c.stage_key,
            enrollments.c.playbook,
            enrollments.c.account_id,
            staged.c.contact_id,
            staged.c.version_id,
            sa.func.coalesce(staged.c.feature_key, "").label("feature_key"),
            staged.c.owner,
            sa.func.coalesce(staged.c.facts, "{}").label("facts"),
            about.c.title,
            about.c.dedupe_key,
            about.c.do_by.label("due_at"),
            sa.func.row_number()
            .over(
                partition_by=(staged.c.enrollment_id, staged.c.stage_key),
                order_by=(enrollment_contacts.c.contact_rank, staged.c.contact_id),
            )
            .label("turn"),
        )
        .select_from(_in_treatment(staged).join(about, _same_stage(staged, about)))
        .subquery()
    )
    columns = [column.name for column in turns.c if column.name != "turn"]
    rows = (
        sa.select(
            *(turns.c[name] for name in columns),
            *(sa.literal(value, tasks.c[name].type) for name, value in constants.items()),
        )
        .where(turns.c.turn == 1)
        .order_by(turns.c.enrollment_id, turns.c.stage_key)
    )
    count = connection.execute(insert_new(connection, tasks).from_select([*columns, *constants], rows)).rowcount
    unstage(connection, staged, about)
    return count


def _count_waits(verdicts: pa.Table) -> dict[str, int]:
    """Count the verdicts that send nothing, as `retry:paused`."""
    counted = verdicts.group_by(["verdict", "reason"]).aggregate([([], "count_all")]).to_pylist()
    acting = (Verdict.SEND.value, Verdict.TASK.value)
    return {f"{row['verdict']}:{row['reason']}": row["count_all"] for row in counted if row["verdict"] not in acting}


def end_contacts(connection: sa.Connection, endings: pa.Table, *, run_id: int | None, now: datetime) -> dict[str, int]:
    """End the journeys of contacts (enrollment_id, contact_id, reason), inside a transaction with the stop lock."""
    if endings.num_rows == 0:
        return {}
    staged = stage(connection, "endings", endings)
    contact = enrollment_contacts.c
    is_ending = (
        (contact.enrollment_id == staged.c.enrollment_id)
        & (contact.contact_id == staged.c.contact_id)
        & (contact.status == OPEN)
    )
    counts = _count_reasons(connection, staged, enrollment_contacts, is_ending)
    connection.execute(
        sa.update(enrollment_contacts).where(is_ending).values(status=ENDED, ended_at=now, end_reason=staged.c.reason)
    )
    same = (sends.c.enrollment_id == staged.c.enrollment_id) & (sends.c.contact_id == staged.c.contact_id)
    waits = (decisions.c.enrollment_id == staged.c.enrollment_id) & (decisions.c.contact_id == staged.c.contact_id)
    _withhold(connection, staged, same, waits, run_id=run_id, now=now)
    unstage(connection, staged)
    return {f"end:{reason}": count for reason, count in counts.items()}


def _end_enrollments(
    connection: sa.Connection, endings: pa.Table, *, run_id: int | None, now: datetime
) -> dict[str, int]:
    if endings.num_rows == 0:
        return {}
    staged = stage(connection, "account_endings", endings)
    is_ending = (enrollments.c.enrollment_id == staged.c.enrollment_id) & (enrollments.c.status == OPEN)
    counts = _count_reasons(connection, staged, enrollments, is_ending)
    ended = {"status": ENDED, "ended_at": now, "end_reason": staged.c.reason}
    connection.execute(sa.update(enrollments).where(is_ending).values(**ended))
    contact = enrollment_contacts.c
    is_left = (contact.enrollment_id == staged.c.enrollment_id) & (contact.status == OPEN)
    connection.execute(sa.update(enrollment_contacts).where(is_left).values(**ended))
    is_moot = (tasks.c.enrollment_id == staged.c.enrollment_id) & (tasks.c.status == OPEN)
    withdrawn = {"status": WITHDRAWN, "closed_by": "uptake", "close_reason": staged.c.reason, "closed_at": now}
    connection.execute(sa.update(tasks).where(is_moot).values(**withdrawn))
    same, waits = (table.c.enrollment_id == staged.c.enrollment_id for table in (sends, decisions))
    _withhold(connection, staged, same, waits, run_id=run_id, now=now)
    unstage(connection, staged)
    return {f"account_end:{reason}": count for reason, count in counts.items()}


def end_by_hand(
    connection: sa.Connection, playbook: str, account_id: str, *, reason: str, by: str, now: datetime
) -> int:
    """End the open enrollment of an account in a playbook because a person says so."""
    is_it = (
        (enrollments.c.playbook == playbook) & (enrollments.c.account_id == account_id) & (enrollments.c.status == OPEN)
    )
    found = connection.scalars(sa.select(enrollments.c.enrollment_id).where(is_it)).all()
    if found:
        endings = pa.table({"enrollment_id": found, "reason": [Reason.STOPPED.value] * len(found)})
        _end_enrollments(connection, endings, run_id=None, now=now)
        note = sa.update(enrollments).where(enrollments.c.enrollment_id.in_(found))
        connection.execute(note.values(ended_by=by, end_note=reason))
    return len(found)


def _count_reasons(
    connection: sa.Connection, staged: sa.Table, target: sa.Table, condition: sa.ColumnElement[bool]
) -> dict[str, int]:
    query = (
        sa.select(staged.c.reason, sa.func.count().label("count_rows"))
        .join(target, condition)
        .group_by(staged.c.reason)
    )
    return {row.reason: row.count_rows for row in connection.execute(query)}


def _withhold(
    connection: sa.Connection,
    staged: sa.Table,
    same: sa.ColumnElement[bool],
    waits: sa.ColumnElement[bool],
    *,
    run_id: int | None,
    now: datetime,
) -> None:
    """Withhold what was planned for those who leave. What a worker holds already is checked again at its intent.

    A stage that waited will never be sent: its current decision says so, with the reason.
    """
    is_planned = sends.c.status == sa.literal(SendStatus.PLANNED.value, literal_execute=True)
    query = sa.select(
        sends.c.enrollment_id,
        sends.c.contact_id,
        sends.c.stage_key,
        sa.literal(Verdict.END.value),
        staged.c.reason,
        sa.literal(""),
        sends.c.version_id,
        sends.c.snapshot_id,
        sends.c.gate_id,
    ).join(staged, same & is_planned)
    waiting = sa.select(
        decisions.c.enrollment_id,
        decisions.c.contact_id,
        decisions.c.stage_key,
        sa.literal(Verdict.END.value),
        staged.c.reason,
        sa.literal(""),
        decisions.c.version_id,
        decisions.c.snapshot_id,
        decisions.c.gate_id,
    ).join(
        staged,
        waits & decisions.c.superseded_at.is_(None) & (decisions.c.verdict == Verdict.RETRY.value),
    )
    over = sa.union_all(query, waiting).subquery()
    decide(connection, fetch(connection, sa.select(over), VERDICTS), run_id=run_id, now=now)
    connection.execute(
        sa.update(sends)
        .where(same, is_planned)
        .values(status=SendStatus.WITHHELD.value, reason=staged.c.reason, updated_at=now)
    )
