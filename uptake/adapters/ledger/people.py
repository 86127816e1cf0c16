"""Addresses, consent, suppression, preferences: the only place that knows a person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from uptake import failpoints
from uptake.adapters.ledger import answers
from uptake.adapters.ledger.arrow import fetch, stage, unstage
from uptake.adapters.ledger.consent import REFUSED
from uptake.adapters.ledger.record import end_contacts
from uptake.adapters.ledger.releases import SqlReleases
from uptake.adapters.ledger.schema import (
    OPEN,
    consents,
    enrollment_contacts,
    erasures,
    people,
    preferences,
    sends,
    suppressions,
)
from uptake.adapters.ledger.store import Store
from uptake.adapters.ledger.suppression import Stop, in_force, suppress
from uptake.adapters.ledger.upsert import insert
from uptake.domain.eligibility import Reason
from uptake.domain.ids import address_hash
from uptake.domain.sends import SuppressionReason
from uptake.ports import Keys

_FIELDS = ("account_id", "address", "address_hash", "given_name", "full_name", "role", "time_zone", "locale")
_ENDING = pa.schema({"enrollment_id": pa.int64(), "contact_id": pa.string(), "reason": pa.string()})
#: Kind of a preference: an unsubscribe of somebody whose address was not known.
UNSUBSCRIBED = "unsubscribed"
_LOADED = "source data"  # source of consents that refresh brings
#: What a person said, not what an address did: it goes with the person to a new address.
_SAID = (SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED, SuppressionReason.IMPORTED)


class SqlPeople:
    """`uptake.ports.People` on SQL."""

    def __init__(self, store: Store, releases: SqlReleases, keys: Keys) -> None:
        self._store = store
        self._releases = releases
        self._keys = keys

    def load(self, people: pa.Table, *, now: datetime) -> int:
        """Upsert `Transformer.people`; who was erased, by contact or by address, stays so.

        Returns:
            How many people are new or changed.
        """
        if people.num_rows == 0:
            return 0
        loaded = _first_of_each(self._hashed(people)).sort_by("contact_id")
        with self._store.write() as connection:
            staged = stage(connection, "people", loaded)
            self._store.stop(connection)  # who stops meanwhile waits: else it would hold for the old address alone
            suppress(
                connection,
                [*_stops_of_the_moved(connection, staged), *_stops_of_the_unknown(connection, staged)],
                now=now,
            )
            count = _upsert(connection, staged, now)
            _add_consents(connection, staged, now)
            unstage(connection, staged)
        return count

    def _hashed(self, loaded: pa.Table) -> pa.Table:
        wanted = ["contact_id", "account_id", "address", "given_name", "full_name", "role", "time_zone", "locale"]
        absent = pa.nulls(loaded.num_rows, pa.string())
        columns = {name: loaded[name] if name in loaded.column_names else absent for name in wanted}
        addresses = pc.utf8_trim_whitespace(columns["address"].cast(pa.string())).to_pylist()
        columns["address"] = pa.array([address or None for address in addresses], pa.string())
        hashes = [address_hash(self._keys.pseudonym, address) if address else None for address in addresses]
        columns["address_hash"] = pa.array(hashes, pa.string())
        columns["consent_basis"] = loaded["consent_basis"] if "consent_basis" in loaded.column_names else absent
        for name in ("consent_at", "consent_expires_at"):
            given = loaded[name] if name in loaded.column_names else absent
            columns[name] = given.cast(pa.timestamp("us", getattr(given.type, "tz", None)))
        return pa.table(columns)

    def suppress(
        self, address_hash: str, *, reason: SuppressionReason, topic: str | None, source: str, now: datetime
    ) -> None:
        """Stop all mail (topic None) or one topic to an address, from the commit of this call on."""
        with self._store.write() as connection:
            self._store.stop(connection)
            suppress(connection, [_stop(address_hash, topic, reason, source, now)], now=now, is_last_word=True)
            failpoints.at("stop: uncommitted")
        failpoints.at("stop: committed")

    def unsubscribe(self, contact_id: str, *, topic: str | None, source: str, now: datetime) -> None:
        """Stop all mail (topic None) or one topic to every address this contact has or was mailed at.

        It counts from the commit of this call on, for all of these addresses or for none, and for every name the topic
        ever had: the link may be that of an old mail. Of whom no address is known
        (a restored ledger has forgotten them) it is kept until they are loaded.
        """
        with self._store.write() as connection:
            self._store.stop(connection)
            topics = sorted(self._releases.names_of(connection, topic)) if topic else [""]
            known = _address_hashes(connection, contact_id)
            if not known:
                rows = [
                    {"contact_id": contact_id, "kind": UNSUBSCRIBED, "value": one, "given_at": now} for one in topics
                ]
                connection.execute(sa.insert(preferences), rows)
            reason = SuppressionReason.UNSUBSCRIBED
            stops = [_stop(one, name, reason, source, now) for one in known for name in topics]
            suppress(connection, stops, now=now, is_last_word=True)
            failpoints.at("stop: uncommitted")
        failpoints.at("stop: committed")

    def suppress_all(
        self,
        address_hashes: Sequence[str],
        *,
        reason: SuppressionReason,
        source: str,
        now: datetime,
        topic: str | None = None,
    ) -> None:
        """Stop all mail or one topic to many addresses, all of them or none, from the commit of this call on."""
        with self._store.write() as connection:
            self._store.stop(connection)
            stops = [_stop(one, topic, reason, source, now) for one in address_hashes]
            suppress(connection, stops, now=now, is_last_word=True)

    def suppressed(self, *, reason: SuppressionReason, topic: str | None) -> set[str]:
        """Return the hashes of the addresses suppressed for this reason."""
        row = suppressions.c
        query = sa.select(row.address_hash).where(row.reason == reason.value, row.topic == (topic or ""), in_force())
        with self._store.read() as connection:
            return set(connection.scalars(query))

    def unsubscribed(self, *, since: datetime | None = None) -> dict[str, set[str]]:
        """Return the addresses that unsubscribed, by topic, of people who are still known."""
        row = suppressions.c
        query = (
            sa.select(row.topic, people.c.address)
            .join(people, people.c.address_hash == row.address_hash)
            .where(row.reason == SuppressionReason.UNSUBSCRIBED.value, in_force(), people.c.address.is_not(None))
        )
        if since is not None:
            query = query.where(row.recorded_at >= since)
        found: defaultdict[str, set[str]] = defaultdict(set)
        with self._store.read() as connection:
            for topic, address in connection.execute(query):
                found[topic].add(address.strip().lower())
        return dict(found)

    def address_hash_of(self, contact_id: str) -> str | None:
        """Return the hash of a contact's address, also after its erasure."""
        with self._store.read() as connection:
            return connection.scalar(sa.select(people.c.address_hash).where(people.c.contact_id == contact_id))

    def answer(self, contact_id: str, *, kind: str, feature_key: str, now: datetime) -> None:
        """Record an answer of the preference page; journeys that teach this contact the feature end with its commit.

        It counts until it is taken back or another one is given. The same again is the same.
        """
        with self._store.write() as connection:
            self._store.stop(connection)
            if connection.scalar(_answer(contact_id, feature_key)) != kind:
                row = {"contact_id": contact_id, "kind": kind, "value": feature_key, "given_at": now}
                connection.execute(sa.insert(preferences).values(**row))
            contact = enrollment_contacts.c
            taught = sa.select(contact.enrollment_id, contact.contact_id, sa.literal(Reason.ANSWERED.value)).where(
                contact.contact_id == contact_id, contact.feature_key == feature_key, contact.status == OPEN
            )
            end_contacts(connection, fetch(connection, taught, _ENDING), run_id=None, now=now)

    def take_back_answer(self, contact_id: str, *, feature_key: str, now: datetime) -> None:
        """Let no answer about this feature count any more; what ended with it stays ended."""
        with self._store.write() as connection:
            self._store.stop(connection)
            if connection.scalar(_answer(contact_id, feature_key)) is not None:
                row = {"contact_id": contact_id, "kind": answers.TAKEN_BACK, "value": feature_key, "given_at": now}
                connection.execute(sa.insert(preferences).values(**row))

    def answer_of(self, contact_id: str, *, feature_key: str) -> str | None:
        """Return the kind of the answer that counts; None when there is none."""
        with self._store.read() as connection:
            return connection.scalar(_answer(contact_id, feature_key))

    def stops_of(self, contact_id: str) -> Sequence[Mapping[str, Any]]:
        """Return topic ('' is all mail), reason, source, suppressed_at of what a contact's address gets no more."""
        row = suppressions.c
        query = (
            sa.select(row.topic, row.reason, row.source, row.suppressed_at)
            .join(people, people.c.address_hash == row.address_hash)
            .where(people.c.contact_id == contact_id, in_force())
            .order_by(row.suppressed_at, row.topic, row.reason)
        )
        with self._store.read() as connection:
            return [dict(found._mapping) for found in connection.execute(query)]

    def person(self, contact_id: str) -> Mapping[str, Any] | None:
        """Return contact_id, account_id, address, given_name, full_name, role, time_zone, locale; None if unknown."""
        columns = [people.c[name] for name in ("contact_id", *_FIELDS) if name != "address_hash"]
        with self._store.read() as connection:
            row = connection.execute(sa.select(*columns).where(people.c.contact_id == contact_id)).one_or_none()
        return None if row is None else dict(row._mapping)


def _answer(contact_id: str, feature_key: str) -> sa.Select[str]:
    row = preferences.c
    return sa.select(row.kind).where(row.contact_id == contact_id, row.value == feature_key, answers.counts())


def _address_hashes(connection: sa.Connection, contact_id: str) -> list[str]:
    known = sa.union(
        sa.select(people.c.address_hash).where(people.c.contact_id == contact_id),
        sa.select(sends.c.address_hash).where(sends.c.contact_id == contact_id),
    )
    return sorted(found for found in connection.scalars(known) if found is not None)


def _stop(address_hash: str, topic: str | None, reason: SuppressionReason, source: str, now: datetime) -> Stop:
    return Stop(address_hash=address_hash, topic=topic or "", reason=reason, source=source, suppressed_at=now)


def _first_of_each(loaded: pa.Table) -> pa.Table:
    """A contact named twice is one contact: PostgreSQL refuses to upsert a row twice, SQLite would count it twice."""
    kept = [(name, "first") for name in loaded.column_names if name != "contact_id"]
    grouped = loaded.group_by(["contact_id"], use_threads=False).aggregate(kept)
    return grouped.select(["contact_id", *(f"{name}_first" for name, _ in kept)]).rename_columns(loaded.column_names)


def _is_erased(staged: sa.Table) -> sa.ColumnElement[bool]:
    return sa.exists().where(erasures.c.address_hash == staged.c.address_hash)


def _stops_of_the_moved(connection: sa.Connection, staged: sa.Table) -> list[Stop]:
    """Return the stops in force that contacts take with them from their known address to the one that is loaded."""
    row = suppressions.c
    query = (
        sa.select(staged.c.address_hash, row.topic, row.reason, row.source, row.topic_group, row.suppressed_at)
        .join(people, people.c.contact_id == staged.c.contact_id)
        .join(suppressions, row.address_hash == people.c.address_hash)
        .where(people.c.address_hash != staged.c.address_hash, row.reason.in_(_SAID), in_force())
    )
    return [
        Stop(**{**dict(found._mapping), "reason": SuppressionReason(found.reason)})
        for found in connection.execute(query)
    ]


def _stops_of_the_unknown(connection: sa.Connection, staged: sa.Table) -> list[Stop]:
    """Return what contacts stopped while nobody knew their address."""
    row = preferences.c
    query = (
        sa.select(staged.c.address_hash, row.value, row.given_at)
        .join(preferences, (row.contact_id == staged.c.contact_id) & (row.kind == UNSUBSCRIBED))
        .where(staged.c.address_hash.is_not(None))
    )
    reason = SuppressionReason.UNSUBSCRIBED
    return [_stop(found, topic, reason, "kept unsubscribe", at) for found, topic, at in connection.execute(query)]


def _upsert(connection: sa.Connection, staged: sa.Table, now: datetime) -> int:
    """Add new people and change known ones. An erased address comes back as nothing but its hash."""
    kept = ("account_id", "address_hash")
    erased = _is_erased(staged)
    rows = sa.select(
        staged.c.contact_id,
        *(staged.c[name] if name in kept else sa.case((~erased, staged.c[name])) for name in _FIELDS),
        sa.literal(now, people.c.updated_at.type),
        sa.case((erased, sa.literal(now, people.c.erased_at.type))),
    ).order_by(staged.c.contact_id)
    query = insert(connection, people).from_select(
        ["contact_id", *_FIELDS, "updated_at", "erased_at"], rows.where(sa.true())
    )
    given = query.excluded
    fields = {name: given[name] for name in _FIELDS}
    # Whose address is gone stays known by its hash: what they said there goes on with them, and it can be forgotten.
    fields["address_hash"] = sa.func.coalesce(given.address_hash, people.c.address_hash)
    changed = sa.or_(*(people.c[name].is_distinct_from(value) for name, value in fields.items()))
    return connection.execute(
        query.on_conflict_do_update(
            index_elements=["contact_id"],
            set_={**fields, "updated_at": given.updated_at, "erased_at": given.erased_at},
            where=people.c.erased_at.is_(None) & changed,
        )
    ).rowcount


def _said_otherwise() -> sa.ColumnElement[bool]:
    other = consents.alias("other").c
    return sa.exists().where(
        other.address_hash == consents.c.address_hash,
        other.source == consents.c.source,
        other.given_at > consents.c.given_at,
    )


def _add_consents(connection: sa.Connection, staged: sa.Table, now: datetime) -> None:
    """Record the consents and refusals (`none`) the source names; a newer date renews one, the same changes nothing."""
    basis = staged.c.consent_basis
    given_at = sa.func.max(sa.func.coalesce(staged.c.consent_at, sa.literal(now, sa.DateTime)))
    expires_at = sa.func.min(sa.case((basis != REFUSED, staged.c.consent_expires_at)))  # a refusal never ends
    rows = (
        sa.select(
            staged.c.address_hash,
            basis,
            sa.literal(_LOADED),
            given_at,
            expires_at,
            sa.literal(now, consents.c.recorded_at.type),
        )
        .where(staged.c.address_hash.is_not(None), basis.is_not(None), basis != "", ~_is_erased(staged))
        .group_by(staged.c.address_hash, basis)
        .order_by(staged.c.address_hash)
    )
    query = insert(connection, consents).from_select(
        ["address_hash", "basis", "source", "given_at", "expires_at", "recorded_at"], rows
    )
    given, ends = query.excluded.given_at, query.excluded.expires_at
    # Without a date of its own a consent counts from when it was first seen.
    # Then it is renewed only when the source has said something else in between.
    is_renewed = (given > consents.c.given_at) & sa.or_(given < now, _said_otherwise())
    connection.execute(
        query.on_conflict_do_update(
            index_elements=["address_hash", "basis", "source"],
            set_={"given_at": sa.case((is_renewed, given), else_=consents.c.given_at), "expires_at": ends},
            where=is_renewed | consents.c.expires_at.is_distinct_from(ends),
        )
    )
