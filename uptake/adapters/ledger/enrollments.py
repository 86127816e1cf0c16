"""Who is in: entering playbooks, in every arm. What a tick then decides is written by `record`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import pyarrow as pa
import sqlalchemy as sa

from uptake import failpoints
from uptake.adapters.ledger.arrow import stage, unstage
from uptake.adapters.ledger.record import Recorder, end_by_hand
from uptake.adapters.ledger.runs import check_fence
from uptake.adapters.ledger.schema import (
    OPEN,
    assignments,
    enrollment_contacts,
    enrollments,
    launch_accounts,
    launches,
)
from uptake.adapters.ledger.store import Store
from uptake.adapters.ledger.tick_tables import tick_tables
from uptake.adapters.ledger.upsert import insert_new
from uptake.domain.playbooks import Release
from uptake.ports import Advance, Approved, Entry, Keys, Plan, Run


class SqlEnrollments:
    """`uptake.ports.Enrollments` on SQL."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._recorder = Recorder(store, keys)

    def tables(
        self, *, now: datetime, account_id: str | None = None, only: Collection[str] | None = None
    ) -> Mapping[str, pa.Table]:
        """Return the ledger's side of a tick, or what of it matters to one account, from one moment of the ledger."""
        with self._store.read() as connection:
            return tick_tables(connection, now=now, account_id=account_id, only=only)

    def enter(
        self,
        entry: Entry,
        approved: Approved,
        *,
        snapshot_id: str,
        gate_id: int,
        now: datetime,
        run: Run | None = None,
        entered_by: str = "match",
        entry_reason: str = "",
    ) -> int:
        """Record assignments, enrollments and their contacts; return new enrollments.

        An account drawn before keeps its arm; entered before with this entry number, it keeps its contacts. With
        `run`, nothing is written once a newer run has taken over: Held is raised.
        """
        if entry.contacts.num_rows == 0:
            return 0
        with self._store.write() as connection:
            if run is not None:
                check_fence(connection, run)
            self._store.stop(connection)  # one entry at a time, also on PostgreSQL
            entrants = stage(connection, "entrants", entry.contacts)
            _assign(connection, entrants, approved.playbook, snapshot_id, now)
            failpoints.at("enter: drawn")
            before = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(enrollments.c.enrollment_id), 0)))
            how = {"entered_by": entered_by, "entry_reason": entry_reason}
            count = _enroll(connection, entrants, approved, snapshot_id, gate_id, now, **how)
            _add_contacts(connection, entrants, approved.playbook, after=int(before or 0))
            unstage(connection, entrants)
        failpoints.at("enter: committed")
        return count

    def launch(self, plan: Plan, accounts: Sequence[str], *, now: datetime) -> None:
        """Remember that a playbook was approved, and who matched already; only the first time counts."""
        row = {"playbook": plan.playbook, "plan_id": plan.plan_id, "snapshot_id": plan.snapshot_id, "launched_at": now}
        with self._store.write() as connection:
            is_first = connection.execute(insert_new(connection, launches).values(**row)).rowcount
            if is_first and accounts:
                found = stage(connection, "matching", pa.table({"account_id": pa.array(sorted(set(accounts)))}))
                rows = sa.select(sa.literal(plan.playbook), found.c.account_id)
                connection.execute(sa.insert(launch_accounts).from_select(["playbook", "account_id"], rows))
                unstage(connection, found)

    def leave(self, playbook: str, account_id: str, *, reason: str, by: str, now: datetime) -> int:
        """Take an account out of a playbook, from the commit of this call on; return how many enrollments ended."""
        with self._store.write() as connection:
            self._store.stop(connection)
            return end_by_hand(connection, playbook, account_id, reason=reason, by=by, now=now)

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
        """Write what a tick decided; return counts by verdict and reason (`send`, `retry:paused`, ...)."""
        return self._recorder.record(
            advance, releases=releases, snapshot_id=snapshot_id, gate_id=gate_id, git_sha=git_sha, run=run, now=now
        )


def _accounts(entrants: sa.Table) -> sa.Subquery:
    """One row per account and entry, whatever the number of its contacts."""
    columns = entrants.c
    query = sa.select(
        columns.account_id,
        columns.entry_no,
        sa.func.min(columns.arm).label("arm"),
        sa.func.min(columns.u).label("u"),
        sa.func.min(columns.stratum).label("stratum"),
    )
    return query.group_by(columns.account_id, columns.entry_no).subquery()


def _assign(connection: sa.Connection, entrants: sa.Table, playbook: str, snapshot_id: str, now: datetime) -> None:
    drawn = _accounts(entrants)
    rows = (
        sa.select(
            sa.literal(playbook),
            drawn.c.account_id,
            drawn.c.arm,
            drawn.c.u,
            drawn.c.stratum,
            sa.literal(snapshot_id),
            sa.literal(now, assignments.c.assigned_at.type),
        )
        .where(sa.true())
        .order_by(drawn.c.account_id)
    )
    columns = ["playbook", "account_id", "arm", "u", "stratum", "snapshot_id", "assigned_at"]
    connection.execute(insert_new(connection, assignments).from_select(columns, rows))


def _enroll(
    connection: sa.Connection,
    entrants: sa.Table,
    approved: Approved,
    snapshot_id: str,
    gate_id: int,
    now: datetime,
    *,
    entered_by: str,
    entry_reason: str,
) -> int:
    playbook = approved.release.playbook
    entering = _accounts(entrants)
    constants = {
        "version_id": approved.version_id,
        "entered_by": entered_by,
        "entry_reason": entry_reason,
        "snapshot_id": snapshot_id,
        "gate_id": gate_id,
        "enrolled_at": now,
        "goal_reach": playbook.goal.reach if playbook.goal.none is None else "none",
        "goal_by": playbook.goal.by,
        "window_ends_at": now + playbook.measured_for,
        "status": OPEN,
    }
    rows = (
        sa.select(
            assignments.c.playbook,
            entering.c.account_id,
            entering.c.entry_no,
            assignments.c.arm,  # as it was drawn the first time
            entering.c.stratum,
            *(sa.literal(value, enrollments.c[name].type) for name, value in constants.items()),
        )
        .join(assignments, assignments.c.account_id == entering.c.account_id)
        .where(assignments.c.playbook == approved.playbook)
        .order_by(entering.c.account_id)
    )
    columns = ["playbook", "account_id", "entry_no", "arm", "stratum", *constants]
    return connection.execute(insert_new(connection, enrollments).from_select(columns, rows)).rowcount


def _add_contacts(connection: sa.Connection, entrants: sa.Table, playbook: str, *, after: int) -> None:
    """Add the contacts of the enrollments just made (their ids are larger than any before)."""
    rows = (
        sa.select(
            enrollments.c.enrollment_id,
            entrants.c.contact_id,
            entrants.c.contact_rank,
            sa.func.coalesce(entrants.c.feature_key, ""),
            sa.literal(OPEN),
        )
        .join(
            entrants,
            (enrollments.c.account_id == entrants.c.account_id) & (enrollments.c.entry_no == entrants.c.entry_no),
        )
        .where(
            enrollments.c.enrollment_id > after,
            enrollments.c.playbook == playbook,
            entrants.c.contact_id.is_not(None),
        )
        .order_by(enrollments.c.enrollment_id, entrants.c.contact_id)
    )
    columns = ["enrollment_id", "contact_id", "contact_rank", "feature_key", "status"]
    connection.execute(insert_new(connection, enrollment_contacts).from_select(columns, rows))
