"""Versions of playbooks, plans, approvals and what people have paused. All append-only."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from uptake.adapters.ledger.among import among
from uptake.adapters.ledger.arrow import fetch, objects
from uptake.adapters.ledger.schema import approvals, audiences, controls, plans, playbook_versions
from uptake.adapters.ledger.store import Store
from uptake.adapters.ledger.upsert import insert_new
from uptake.domain.playbooks import Release
from uptake.errors import LedgerError
from uptake.ports import ENGINE_NAMES, Approved, Audience, ControlState, Forgotten, Plan

_ENTRANTS = "entrants"  # where a stored summary keeps them
ENTRANTS = pa.schema([(name, pa.string()) for name in ("account_id", "contact_id", "arm")])

Scope = Literal["all", "playbook", "account", "sending", "forgotten", "send"]
Action = Literal["pause", "resume", "stop", "release"]


def _orders() -> sa.Select[Any]:
    """Select a person's newest order of each scope and target, and the engine's, the oldest first."""
    row = controls.c
    # Nobody sends "for one target": whatever the caller named, there is one lock.
    target = sa.case((row.scope.in_(["sending", "all"]), ""), else_=row.target)
    newest = (
        sa.select(sa.func.max(row.control_id))
        .where(row.until_at.is_(None), row.scope.in_(["all", "playbook", "account", "sending"]))
        .group_by(row.scope, target, row.ordered_by.in_(sorted(ENGINE_NAMES)))
    )
    return sa.select(controls, target.label("at")).where(row.control_id.in_(newest)).order_by(row.control_id)


def _since_resumed(scope: str, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Select from the orders of a scope since somebody last resumed it."""
    row = controls.c
    resumed = sa.select(sa.func.max(row.control_id)).where(row.scope == scope, row.action == "resume")
    since = row.control_id > sa.func.coalesce(resumed.scalar_subquery(), 0)
    return sa.select(*columns).where(row.scope == scope, row.action != "resume", since)


# Every batch asks for them twice: building a query costs more than running it.
_ORDERS = _orders()
_RATE_LIMIT = _since_resumed("sending", sa.func.max(controls.c.until_at))
_FORGOTTEN = _since_resumed("forgotten", controls.c.target, controls.c.reason, controls.c.ordered_at).order_by(
    controls.c.control_id
)


class SqlReleases:
    """`uptake.ports.Releases` on SQL."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[int, Release] = {}  # a version never changes
        self._topics: dict[int, dict[str, int]] = {}
        self._plans: dict[str, Plan] = {}  # nor does a plan

    def save_version(self, release: Release, *, git_sha: str, now: datetime) -> int:
        """Store a release; return its version_id, the old one when this very release was stored before."""
        table = playbook_versions
        same = (table.c.playbook == release.name) & (table.c.release_hash == release.release_hash)
        with self._store.write() as connection:
            connection.execute(
                insert_new(connection, table).values(
                    playbook=release.name,
                    release_hash=release.release_hash,
                    release=release.model_dump_json(),
                    git_sha=git_sha,
                    created_at=now,
                )
            )
            version_id: int = connection.execute(sa.select(table.c.version_id).where(same)).scalar_one()
        return version_id

    def version(self, version_id: int) -> Release:
        """Return a stored release. Raises LedgerError."""
        if version_id not in self._read:
            with self._store.read() as connection:
                self.version_in(connection, version_id)
        return self._read[version_id]

    def version_in(self, connection: sa.Connection, version_id: int) -> Release:
        """Return a stored release, inside a transaction. Raises LedgerError."""
        if version_id not in self._read:
            query = sa.select(playbook_versions.c.release).where(playbook_versions.c.version_id == version_id)
            text = connection.execute(query).scalar()
            if text is None:
                raise LedgerError(f"{self._store.where}: no playbook version {version_id}")
            self._read[version_id] = Release.model_validate_json(text)
        return self._read[version_id]

    def topics_in(self, connection: sa.Connection) -> list[tuple[str, int]]:
        """Return each topic with its group of the mail service, as every release ever named them, the oldest first.

        Nothing else of a release is read: nobody's stop may fail over one that this code takes no more.
        """
        row = playbook_versions.c
        found = connection.scalars(sa.select(row.version_id).order_by(row.version_id)).all()
        if unread := [version_id for version_id in found if version_id not in self._topics]:
            query = sa.select(row.version_id, row.release).where(among(row.version_id, unread))
            for version_id, text in connection.execute(query):
                self._topics[version_id] = json.loads(text)["workspace"]["topics"]
        return [pair for version_id in found for pair in self._topics[version_id].items()]

    def names_of(self, connection: sa.Connection, topic: str) -> set[str]:
        """Return every name a topic ever had: the group of the mail service is what stays the same."""
        topics = self.topics_in(connection)
        group = dict(topics).get(topic)
        return {topic, *(name for name, one in topics if one == group)}

    def save_plan(self, plan: Plan, *, entrants: pa.Table | None = None) -> None:
        """Store a plan with whom it takes in; the same plan_id again changes nothing."""
        people: list[object] = []
        if entrants is not None:
            people = list(zip(*(objects(entrants[name]) for name in ENTRANTS.names), strict=True))
        row = {**plan.__dict__, "summary": json.dumps({**plan.summary, _ENTRANTS: people}, default=str)}
        with self._store.write() as connection:
            connection.execute(insert_new(connection, plans).values(**row))

    def plan(self, plan_id: str) -> Plan:
        """Return a stored plan. Raises LedgerError."""
        found = self._one_plan(plans.c.plan_id == plan_id)
        if found is None:
            raise LedgerError(f"no plan {plan_id!r}; `uptake plan PLAYBOOK` makes one")
        return found

    def latest_plan(self, playbook: str) -> Plan | None:
        """Return the newest plan of a playbook."""
        return self._one_plan(plans.c.playbook == playbook)

    def _one_plan(self, condition: sa.ColumnElement[bool]) -> Plan | None:
        query = sa.select(plans.c.plan_id).where(condition).order_by(plans.c.plan_key.desc()).limit(1)
        with self._store.read() as connection:
            plan_id = connection.scalar(query)
            return None if plan_id is None else self._plan_in(connection, plan_id)

    def _plan_in(self, connection: sa.Connection, plan_id: str) -> Plan:
        """Return a plan that is stored, inside a transaction; whom it takes in stays where it is."""
        if plan_id not in self._plans:
            columns = [column for column in plans.c if column.name not in ("plan_key", "summary")]
            query = sa.select(*columns, _told(connection)).where(plans.c.plan_id == plan_id)
            found = dict(connection.execute(query).one()._mapping)
            self._plans[plan_id] = Plan(**{**found, "summary": json.loads(found["summary"])})
        return self._plans[plan_id]

    def entrants(self, plan_id: str) -> pa.Table:
        """Return whom a stored plan takes in; nobody when there is no such plan."""
        with self._store.read() as connection:
            return fetch(connection, _people(connection, plan_id), ENTRANTS)

    def approve(self, plan: Plan, *, by: str, now: datetime, expires_at: datetime, tolerance: float) -> None:
        """Approve the release of a stored plan; the newest approval of a playbook counts."""
        with self._store.write() as connection:
            connection.execute(
                sa.insert(approvals).values(
                    plan_id=plan.plan_id,
                    playbook=plan.playbook,
                    version_id=plan.version_id,
                    approved_by=by,
                    approved_at=now,
                    expires_at=expires_at,
                    tolerance=tolerance,
                )
            )

    def save_audience(self, audience: Audience) -> None:
        """Record how many accounts matched a playbook on a snapshot."""
        with self._store.write() as connection:
            connection.execute(sa.insert(audiences).values(**audience.__dict__))

    def last_audience(self, playbook: str, *, is_held: bool | None = None) -> Audience | None:
        """Return what was measured last; with `is_held`, among those alone that held, or did not."""
        query = sa.select(audiences).where(audiences.c.playbook == playbook)
        if is_held is not None:
            query = query.where(audiences.c.held.is_not(None) if is_held else audiences.c.held.is_(None))
        with self._store.read() as connection:
            row = connection.execute(query.order_by(audiences.c.audience_id.desc()).limit(1)).one_or_none()
        if row is None:
            return None
        return Audience(**{name: value for name, value in row._mapping.items() if name != "audience_id"})

    def approved(self) -> list[Approved]:
        """Return the newest approval of each playbook, also when expired: people already in go on."""
        newest = sa.select(sa.func.max(approvals.c.approval_id)).group_by(approvals.c.playbook)
        query = sa.select(approvals).where(approvals.c.approval_id.in_(newest)).order_by(approvals.c.playbook)
        with self._store.read() as connection:
            return [
                Approved(
                    playbook=row.playbook,
                    version_id=row.version_id,
                    release=self.version_in(connection, row.version_id),
                    plan=self._plan_in(connection, row.plan_id),
                    approved_by=row.approved_by,
                    expires_at=row.expires_at,
                    tolerance=row.tolerance,
                )
                for row in connection.execute(query).all()
            ]

    def once_approved(self, playbooks: Collection[str]) -> list[int]:
        """Return every version of these playbooks that was ever approved."""
        query = sa.select(approvals.c.version_id).where(approvals.c.playbook.in_(sorted(playbooks))).distinct()
        with self._store.read() as connection:
            return list(connection.scalars(query.order_by(approvals.c.version_id)))

    def control(
        self,
        scope: Scope,
        target: str,
        action: Action,
        *,
        reason: str,
        by: str,
        now: datetime,
        until: datetime | None = None,
    ) -> None:
        """Record a pause, stop or resume; a person's newest of each scope and target counts, the engine's adds to it.

        Scope `sending`: `pause` with `until` is the mail service's rate limit; without it, or `stop`, a lock that
        only `resume` opens. Scope `forgotten`: `target` is the moment from which the ledger may have forgotten.
        """
        with self._store.write() as connection:
            self._store.stop(connection)
            record_control(
                connection, scope=scope, target=target, action=action, reason=reason, by=by, now=now, until=until
            )

    def controls(self) -> ControlState:
        """Return what is paused."""
        with self._store.read() as connection:
            return control_state(connection)


def record_control(
    connection: sa.Connection,
    *,
    scope: Scope,
    target: str,
    action: Action,
    reason: str,
    by: str,
    now: datetime,
    until: datetime | None = None,
) -> None:
    """Insert one control row, inside a transaction that holds the stop lock."""
    row = {"scope": scope, "target": target, "action": action, "reason": reason, "ordered_by": by}
    connection.execute(sa.insert(controls).values(**row, ordered_at=now, until_at=until))


def control_state(connection: sa.Connection) -> ControlState:
    """Fold the control rows, inside a transaction.

    A person's newest order counts, and the engine's own beside it: what the engine orders adds a pause, and ends when
    a person resumes. So a rate limit or a breaker never turns a person's stop into something weaker.
    """
    folded: dict[tuple[str, str], tuple[Literal["pause", "stop"], str]] = {}
    by_person: set[tuple[str, str]] = set()
    for order in connection.execute(_ORDERS):  # the oldest first
        key = (order.scope, order.at)
        is_person = order.ordered_by not in ENGINE_NAMES
        if order.action == "resume" and (is_person or key not in by_person):
            folded.pop(key, None)
            by_person.discard(key)
        elif order.action != "resume" and (is_person or key not in by_person):
            folded[key] = (order.action, order.reason)
            by_person |= {key} if is_person else set()
    forgotten = _forgotten(connection)
    locked = [folded["sending", ""][1]] if ("sending", "") in folded else []
    locked += [forgotten.reason] if forgotten is not None else []
    return ControlState(
        everything=folded["all", ""][1] if ("all", "") in folded else None,
        playbooks={target: action for (scope, target), (action, _) in folded.items() if scope == "playbook"},
        accounts={target: action for (scope, target), (action, _) in folded.items() if scope == "account"},
        sending_locked="; ".join(locked) or None,
        sending_paused_until=_rate_limit(connection),
        forgotten=forgotten,
    )


def _rate_limit(connection: sa.Connection) -> datetime | None:
    """Return the latest end of a rate limit met since somebody last resumed sending."""
    until: datetime | None = connection.scalar(_RATE_LIMIT)
    return until


def _forgotten(connection: sa.Connection) -> Forgotten | None:
    """Return what locks were put on since `reconcile` last ran through, as one."""
    found = connection.execute(_FORGOTTEN).all()
    if not found:
        return None
    return Forgotten(
        since=min(datetime.fromisoformat(one.target) for one in found),
        locked_at=max(one.ordered_at for one in found),
        reason=found[0].reason,
    )


def lock_forgotten(connection: sa.Connection, *, since: datetime, reason: str, now: datetime) -> None:
    """Lock sending until the mail service was asked about everything from `since` on."""
    record_control(
        connection, scope="forgotten", target=since.isoformat(), action="stop", reason=reason, by="ledger", now=now
    )


def _told(connection: sa.Connection) -> sa.ColumnElement[str]:
    """Select a plan's summary without the people in it, who are as many as a customer base."""
    if connection.dialect.name == "sqlite":
        return sa.func.json_remove(plans.c.summary, f"$.{_ENTRANTS}").label("summary")
    without = sa.cast(plans.c.summary, JSONB).op("-", return_type=JSONB())(sa.cast(_ENTRANTS, sa.Text))
    return sa.cast(without, sa.Text).label("summary")


def _people(connection: sa.Connection, plan_id: str) -> sa.Select[Any]:
    """Select the people in a plan's summary, a row each, as they were stored."""
    at = range(len(ENTRANTS))
    if connection.dialect.name == "sqlite":
        each = sa.func.json_each(plans.c.summary, f"$.{_ENTRANTS}").table_valued("key", "value")
        columns = [sa.func.json_extract(each.c.value, f"$[{place}]") for place in at]
        return sa.select(*columns).select_from(plans).join(each, sa.true()).where(plans.c.plan_id == plan_id)
    people = sa.func.jsonb_array_elements(sa.cast(plans.c.summary, JSONB)[_ENTRANTS])
    rows = people.table_valued(sa.column("value", JSONB)).lateral()
    columns = [rows.c.value[place].astext for place in at]
    return sa.select(*columns).select_from(plans).join(rows, sa.true()).where(plans.c.plan_id == plan_id)
