"""Forgetting in the ledger: who, and every stored word of the mail service about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from uptake import failpoints
from uptake.adapters.ledger.schema import (
    consents,
    delivery_events,
    enrollment_contacts,
    enrollments,
    erasures,
    people,
    preferences,
    sends,
    suppressions,
    tasks,
    webhook_batches,
)
from uptake.adapters.ledger.store import Store, values
from uptake.adapters.ledger.suppression import Stop, suppress
from uptake.adapters.ledger.upsert import insert_new
from uptake.domain.erasure import Subject, mentions, redacted
from uptake.domain.sends import SuppressionReason

_PERSONAL = ("address", "given_name", "full_name", "role", "time_zone", "locale")
_BATCHES = 500  # bodies in memory at once


class SqlErasures:
    """`uptake.ports.Erasures` on SQL."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def names(self, address_hash: str) -> list[str]:
        """Return the given and full names of an address's contacts."""
        query = sa.select(people.c.given_name, people.c.full_name).where(people.c.address_hash == address_hash)
        with self._store.read() as connection:
            return sorted({name for row in connection.execute(query) for name in row if name})

    def erase(self, address_hash: str, *, by: str, now: datetime) -> int:
        """Blank the people, remember the erasure, suppress the address."""
        with self._store.write() as connection:
            self._store.stop(connection)
            row = {"address_hash": address_hash, "requested_by": by, "requested_at": now}
            connection.execute(insert_new(connection, erasures).values(**row))
            stop = Stop(
                address_hash=address_hash, topic="", reason=SuppressionReason.ERASED, source="forget", suppressed_at=now
            )
            suppress(connection, [stop], now=now)
            blanked = connection.execute(
                sa.update(people)
                .where(people.c.address_hash == address_hash, people.c.erased_at.is_(None))
                .values(**dict.fromkeys(_PERSONAL), erased_at=now, updated_at=now)
            ).rowcount
            failpoints.at("forget: uncommitted")
        return blanked

    def redact_bodies(self, subject: Subject) -> int:
        """Rewrite the bodies in which the address stands; their signature was checked when they came."""
        changed, last = 0, 0
        while True:
            with self._store.write() as connection:
                row = webhook_batches.c
                query = sa.select(row.batch_id, row.body).where(row.batch_id > last, row.folded_at.is_not(None))
                batches = connection.execute(query.order_by(row.batch_id).limit(_BATCHES)).all()
                if not batches:
                    return changed
                last = batches[-1].batch_id
                for batch_id, body in batches:
                    text = bytes(body).decode("utf-8", "surrogateescape")
                    if mentions(text, subject.address):
                        new = redacted(text, subject).encode("utf-8", "surrogateescape")
                        connection.execute(sa.update(webhook_batches).where(row.batch_id == batch_id).values(body=new))
                        changed += 1

    def compact(self) -> None:
        """Give the pages of deleted rows back; PostgreSQL does that by itself."""
        self._store.vacuum()

    def finish(self, address_hash: str, *, report: Mapping[str, Any], now: datetime | None) -> None:
        """Keep the report, and when everything was done."""
        change = sa.update(erasures).where(erasures.c.address_hash == address_hash)
        with self._store.write() as connection:
            connection.execute(change.values(report=json.dumps(report, sort_keys=True), completed_at=now))

    def known(self, address_hash: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return everything about an address."""
        of_address = [people, consents, suppressions, erasures]
        contacts = sa.union(
            sa.select(people.c.contact_id).where(people.c.address_hash == address_hash),
            sa.select(sends.c.contact_id).where(sends.c.address_hash == address_hash),
        ).scalar_subquery()
        entered = enrollment_contacts.join(
            enrollments, enrollments.c.enrollment_id == enrollment_contacts.c.enrollment_id
        )
        mine = sa.select(sends.c.send_id).where(sends.c.contact_id.in_(contacts)).scalar_subquery()
        queries: dict[str, sa.Select[Any]] = {
            table.name: sa.select(table).where(table.c.address_hash == address_hash) for table in of_address
        }
        queries |= {
            "preferences": sa.select(preferences).where(preferences.c.contact_id.in_(contacts)),
            "enrollments": sa.select(
                *(enrollments.c[name] for name in ("playbook", "account_id", "arm", "enrolled_at")),
                *(enrollment_contacts.c[name] for name in ("contact_id", "feature_key", "status", "ended_at")),
                enrollment_contacts.c.end_reason,
            )
            .select_from(entered)
            .where(enrollment_contacts.c.contact_id.in_(contacts)),
            "mails": sa.select(
                *(sends.c[name] for name in ("send_id", "playbook", "stage_key", "contact_id", "feature_key")),
                *(sends.c[name] for name in ("status", "reason", "planned_at", "accepted_at", "delivered_at")),
            ).where(sends.c.contact_id.in_(contacts)),
            "delivery_events": sa.select(
                *(delivery_events.c[name] for name in ("send_id", "event", "kind", "reason", "occurred_at"))
            ).where((delivery_events.c.address_hash == address_hash) | delivery_events.c.send_id.in_(mine)),
            "tasks": sa.select(
                *(tasks.c[name] for name in ("playbook", "stage_key", "title", "status", "opened_at", "closed_at"))
            ).where(tasks.c.contact_id.in_(contacts)),
        }
        with self._store.read() as connection:
            return {name: [values(row) for row in connection.execute(query)] for name, query in queries.items()}
