"""The ledger's side of a tick, as Arrow tables with fixed columns; `uptake.ports.Enrollments.tables` describes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from uptake.adapters.ledger import answers
from uptake.adapters.ledger.among import among
from uptake.adapters.ledger.arrow import TIMESTAMP, fetch
from uptake.adapters.ledger.consent import counts
from uptake.adapters.ledger.decide import is_asked_again
from uptake.adapters.ledger.schema import (
    OPEN,
    assignments,
    consents,
    decisions,
    enrollment_contacts,
    enrollments,
    launch_accounts,
    launches,
    people,
    preferences,
    sends,
    suppressions,
    tasks,
)
from uptake.adapters.ledger.suppression import in_force
from uptake.domain import sends as life
from uptake.domain.eligibility import Verdict

#: What a person may close a task as.
CLOSED = frozenset({"done", "declined"})
TOUCHES_KEPT = timedelta(days=90)
_OF_ENROLLMENTS = ("enrollment_contacts", "stage_ends", "open_sends", "open_tasks")


def _schema(names: str, **kinds: pa.DataType) -> pa.Schema:
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names.split()])


_ID = {"enrollment_id": pa.int64(), "version_id": pa.int64(), "entry_no": pa.int32()}

SCHEMAS: Mapping[str, pa.Schema] = {
    "enrollments": _schema(
        "enrollment_id playbook account_id entry_no version_id arm enrolled_at status ended_at",
        enrolled_at=TIMESTAMP,
        ended_at=TIMESTAMP,
        **_ID,
    ),
    "enrollment_contacts": _schema("enrollment_id contact_id feature_key status", **_ID),
    "stage_ends": _schema("enrollment_id contact_id stage_key ended_at", ended_at=TIMESTAMP, **_ID),
    "open_sends": _schema("enrollment_id contact_id stage_key status", **_ID),
    "open_tasks": _schema(
        "enrollment_id contact_id stage_key account_id dedupe_key due_at decided_at",
        due_at=TIMESTAMP,
        decided_at=TIMESTAMP,
        **_ID,
    ),
    "touches": _schema(
        "contact_id account_id address_hash accepted_at is_mail", accepted_at=TIMESTAMP, is_mail=pa.bool_()
    ),
    "people": _schema(
        "contact_id account_id address_hash time_zone locale role has_address erased",
        has_address=pa.bool_(),
        erased=pa.bool_(),
    ),
    "suppressions": _schema("address_hash topic"),
    "consents": _schema("address_hash basis expires_at", expires_at=TIMESTAMP),
    "feature_answers": _schema("contact_id feature_key answer given_at", given_at=TIMESTAMP),
    "launches": _schema("playbook"),
    "launch_accounts": _schema("playbook account_id"),
    "assignments": _schema("playbook account_id arm"),
}


def tick_tables(
    connection: sa.Connection, *, now: datetime, account_id: str | None = None, only: Collection[str] | None = None
) -> dict[str, pa.Table]:
    """Read all of them, or `only` some, in the given transaction; with `account_id`, what matters to that account."""
    queries = {name: query for name, query in _queries(now).items() if only is None or name in only}
    if account_id is not None:
        queries = _near(connection, queries, account_id)
    return {name: fetch(connection, query, SCHEMAS[name]) for name, query in queries.items()}


def _near(
    connection: sa.Connection, queries: Mapping[str, sa.Select[tuple[object, ...]]], account_id: str
) -> dict[str, sa.Select[tuple[object, ...]]]:
    """Keep what is about an account and those it shares an address with, and who else has one of all their addresses.

    Nobody else can win one of its addresses, or take the room in one of its caps.
    """
    mine, other = people.alias("mine"), people.alias("other")
    sharing = sa.select(other.c.account_id).join(mine, mine.c.address_hash == other.c.address_hash)
    accounts = {account_id, *connection.scalars(sharing.where(mine.c.account_id == account_id))}
    own = sa.select(people.c.address_hash).where(among(people.c.account_id, sorted(accounts)))
    addresses = set(connection.scalars(own.where(people.c.address_hash.is_not(None))))
    theirs = sa.select(enrollments.c.enrollment_id).where(among(enrollments.c.account_id, sorted(accounts)))
    sharers = sa.select(people.c.account_id).where(among(people.c.address_hash, sorted(addresses)))
    ids = set(connection.scalars(theirs))
    contacts = sa.select(people.c.contact_id).where(among(people.c.account_id, sorted(accounts)))
    kept: Mapping[str, Mapping[str, set[Any]]] = {
        "enrollments": {"account_id": accounts},
        **{name: {"enrollment_id": ids} for name in _OF_ENROLLMENTS},
        **{name: {"account_id": accounts, "address_hash": addresses} for name in ("touches", "people")},
        **{name: {"address_hash": addresses} for name in ("suppressions", "consents")},
        "feature_answers": {"contact_id": set(connection.scalars(contacts))},
        "launch_accounts": {"account_id": accounts},
        "assignments": {"account_id": accounts | set(connection.scalars(sharers))},
    }
    return {name: _having(query, kept.get(name)) for name, query in queries.items()}


def _having(query: sa.Select[tuple[object, ...]], kept: Mapping[str, set[Any]] | None) -> sa.Select[tuple[object, ...]]:
    """Keep rows that have one of the values in one of the columns; None: all rows."""
    if kept is None:
        return query
    at = query.selected_columns
    return query.where(
        sa.or_(
            *(
                # Written out, a number finds its way into the parts of a union, and to their indexes.
                at[name].in_(sorted(values)) if name == "enrollment_id" else among(at[name], sorted(values))
                for name, values in kept.items()
            )
        )
    )


def _queries(now: datetime) -> dict[str, sa.Select[tuple[object, ...]]]:
    contact = enrollment_contacts.c
    return {
        "enrollments": sa.select(*(enrollments.c[name] for name in SCHEMAS["enrollments"].names)),
        "enrollment_contacts": sa.select(
            contact.enrollment_id, contact.contact_id, contact.feature_key, contact.status
        ).where(contact.status == OPEN),
        "stage_ends": _stage_ends(),
        # Also of contacts who have left: what may have reached somebody counts against its caps.
        "open_sends": sa.select(sends.c.enrollment_id, sends.c.contact_id, sends.c.stage_key, sends.c.status).where(
            sends.c.status.in_(sorted(life.OPEN))
        ),
        "open_tasks": _open_tasks(),
        "touches": _touches(now - TOUCHES_KEPT),
        "people": sa.select(
            people.c.contact_id,
            people.c.account_id,
            people.c.address_hash,
            people.c.time_zone,
            people.c.locale,
            people.c.role,
            people.c.address.is_not(None),
            people.c.erased_at.is_not(None),
        ),
        "suppressions": sa.select(suppressions.c.address_hash, sa.func.nullif(suppressions.c.topic, "")).where(
            in_force()
        ),
        "consents": sa.select(consents.c.address_hash, consents.c.basis, consents.c.expires_at).where(counts(now)),
        "feature_answers": sa.select(
            preferences.c.contact_id,
            preferences.c.value.label("feature_key"),
            preferences.c.kind,
            preferences.c.given_at,
        ).where(answers.counts()),
        "launches": sa.select(launches.c.playbook),
        "launch_accounts": sa.select(launch_accounts.c.playbook, launch_accounts.c.account_id),
        "assignments": sa.select(assignments.c.playbook, assignments.c.account_id, assignments.c.arm),
    }


def _is_open(table: sa.Table) -> sa.ColumnElement[bool]:
    """Whether the contact of a row is still in. Not a join: SQLite would go from contacts to rows, by an index whose
    order is that of no table, and read a page of the file for each of them.
    """
    contact = enrollment_contacts.c
    return sa.exists().where(
        contact.enrollment_id == table.c.enrollment_id,
        contact.contact_id == table.c.contact_id,
        contact.status == OPEN,
    )


def _stage_ends() -> sa.Select[tuple[object, ...]]:
    """Stages that are over: by a send, or, where nothing was ever planned, by a verdict."""
    by_send = sa.select(
        sends.c.enrollment_id,
        sends.c.contact_id,
        sends.c.stage_key,
        sa.func.coalesce(sends.c.accepted_at, sends.c.updated_at).label("ended_at"),
    ).where(_is_open(sends), sends.c.status.in_(sorted(life.ENDED)), ~is_asked_again())
    planned = sa.exists().where(
        ~is_asked_again(),
        sends.c.enrollment_id == decisions.c.enrollment_id,
        sends.c.stage_key == decisions.c.stage_key,
        sends.c.contact_id == decisions.c.contact_id,
    )
    by_verdict = sa.select(
        decisions.c.enrollment_id, decisions.c.contact_id, decisions.c.stage_key, decisions.c.decided_at
    ).where(
        _is_open(decisions),
        decisions.c.superseded_at.is_(None),
        decisions.c.verdict == Verdict.PASS_OVER.value,
        ~planned,
    )
    # A task is everybody's of its enrollment; it ended for those who had come to it.
    ended_at = sa.func.coalesce(tasks.c.ended_at, tasks.c.closed_at)
    by_task = (
        sa.select(
            decisions.c.enrollment_id,
            decisions.c.contact_id,
            decisions.c.stage_key,
            sa.case((ended_at > decisions.c.decided_at, ended_at), else_=decisions.c.decided_at),
        )
        .join(tasks, _of_task())
        .where(_is_open(decisions), tasks.c.status != OPEN)
    )
    return sa.select(sa.union_all(by_send, by_verdict, by_task).subquery())


def _of_task() -> sa.ColumnElement[bool]:
    """The current decision of a contact to have the task done, beside that task."""
    return (
        (tasks.c.enrollment_id == decisions.c.enrollment_id)
        & (tasks.c.stage_key == decisions.c.stage_key)
        & decisions.c.superseded_at.is_(None)
        & (decisions.c.verdict == Verdict.TASK.value)
    )


def _open_tasks() -> sa.Select[tuple[object, ...]]:
    """Every open task, once for each contact that waits for it; without one also when none is left."""
    waiting = sa.select(decisions).where(_is_open(decisions)).subquery().c
    mine = (
        (tasks.c.enrollment_id == waiting.enrollment_id)
        & (tasks.c.stage_key == waiting.stage_key)
        & waiting.superseded_at.is_(None)
        & (waiting.verdict == Verdict.TASK.value)
    )
    return (
        sa.select(
            tasks.c.enrollment_id,
            waiting.contact_id,
            tasks.c.stage_key,
            tasks.c.account_id,
            tasks.c.dedupe_key,
            tasks.c.due_at,
            waiting.decided_at,
        )
        .select_from(tasks)
        .outerjoin(waiting.contact_id.table, mine)
        .where(tasks.c.status == OPEN)
    )


def _touches(since: datetime) -> sa.Select[tuple[object, ...]]:
    """What reached somebody, or was to: mails that were taken, and tasks that a person closed."""
    mails = sa.select(
        sends.c.contact_id, sends.c.account_id, sends.c.address_hash, sends.c.accepted_at, sa.true()
    ).where(sends.c.accepted_at >= since, sends.c.status.in_(sorted(life.TAKEN)))
    closed = (
        sa.select(tasks.c.contact_id, tasks.c.account_id, people.c.address_hash, tasks.c.closed_at, sa.false())
        .outerjoin(people, people.c.contact_id == tasks.c.contact_id)
        .where(tasks.c.closed_at >= since, tasks.c.status.in_(sorted(CLOSED)))
    )
    return sa.select(sa.union_all(mails, closed).subquery())
