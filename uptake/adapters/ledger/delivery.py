"""What the mail service tells: stored raw before the answer, folded later, in any order and however often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from uptake import failpoints
from uptake.adapters.ledger.among import among
from uptake.adapters.ledger.given import given
from uptake.adapters.ledger.mail_counts import mail_counts
from uptake.adapters.ledger.releases import SqlReleases, control_state, lock_forgotten
from uptake.adapters.ledger.schema import delivery_events, erasures, sends, webhook_batches
from uptake.adapters.ledger.store import Store
from uptake.adapters.ledger.suppression import Stop, suppress
from uptake.adapters.ledger.upsert import insert_new
from uptake.domain.erasure import Subject, redacted
from uptake.domain.guardrails import MailCounts
from uptake.domain.ids import address_hash, erased_token
from uptake.domain.sends import (
    TOPIC_EVENTS,
    DeliveryEvent,
    DeliveryEventType,
    SendStatus,
    SuppressionReason,
    fold,
    proven_status,
    suppression_from,
)
from uptake.ports import Keys, ReadBatch, StoredBatch

_REASON_LENGTH = 500
_BEFORE = timedelta(days=1)  # how long before the first word of a forgotten send others may have been forgotten
_BYTES_AT_ONCE = 8 * 1024 * 1024
_KEPT = (
    "event_key", "batch_id", "send_id", "sg_message_id", "address_hash", "event", "kind", "reason", "topic_group",
    "occurred_at",
)  # fmt: skip
_FOLDED = ("status", "message_id", "accepted_at", "delivered_at")  # what events change of a send
_SOURCE = "delivery_event"
_WAITING = webhook_batches.c.folded_at.is_(None) & (webhook_batches.c.batch_id > sa.bindparam("after"))
_SIZES = (
    sa.select(webhook_batches.c.batch_id, sa.func.length(webhook_batches.c.body))
    .where(_WAITING)
    .order_by(webhook_batches.c.batch_id)
    .limit(sa.bindparam("count"))
)
_BODIES = (
    sa.select(webhook_batches.c.batch_id, webhook_batches.c.body, webhook_batches.c.received_at)
    .where(_WAITING, webhook_batches.c.batch_id <= sa.bindparam("last"))
    .order_by(webhook_batches.c.batch_id)
)


class SqlDelivery:
    """`uptake.ports.Delivery` on SQL."""

    def __init__(self, store: Store, releases: SqlReleases, keys: Keys) -> None:
        self._store = store
        self._releases = releases
        self._keys = keys

    def store(self, body: bytes, *, now: datetime) -> int:
        """Store one webhook body as it came; committed when this returns."""
        return self.store_all([body], now=now)[0]

    def store_all(self, bodies: Sequence[bytes], *, now: datetime) -> list[int]:
        """Store webhook bodies as they came, all of them or none; committed when this returns."""
        rows = [{"body": body, "received_at": now} for body in bodies]
        with self._store.write() as connection:
            query = sa.insert(webhook_batches).returning(webhook_batches.c.batch_id)
            batch_ids = list(connection.scalars(query, rows))
            failpoints.at("webhook: uncommitted")
        failpoints.at("webhook: committed")
        return batch_ids

    def unfolded(self, limit: int, *, after: int = 0) -> list[StoredBatch]:
        """Return the oldest batches beyond that id which were not folded yet, at most as many as memory should hold."""
        with self._store.read() as connection:
            sizes = connection.execute(_SIZES, {"after": after, "count": limit}).all()
            if not sizes:
                return []
            found = connection.execute(_BODIES, {"after": after, "last": _last_that_fits(sizes)})
            return [StoredBatch(batch_id=b, body=body, received_at=at) for b, body, at in found]

    def drop_bodies(self, *, before: datetime) -> int:
        """Empty folded bodies: they hold addresses, and nobody reads them again."""
        row = webhook_batches.c
        old = sa.update(webhook_batches).where(row.folded_at < before, sa.func.length(row.body) > 0)
        with self._store.write() as connection:
            return connection.execute(old.values(body=b"")).rowcount

    def counts(self, since: Mapping[str, datetime]) -> dict[str, list[MailCounts]]:
        """Return by playbook and mailbox domain how many mails were taken, and how many of them did harm."""
        with self._store.read() as connection:
            return mail_counts(connection, since)

    def fold(self, batch: StoredBatch, events: Sequence[DeliveryEvent], *, unreadable: int, now: datetime) -> int:
        """Fold one batch; return its new events."""
        return self.fold_all([ReadBatch(batch=batch, events=events, unreadable=unreadable)], now=now)[0]

    def fold_all(self, read: Sequence[ReadBatch], *, now: datetime) -> list[int]:
        """Insert new events, fold their sends, derive suppressions, mark the batches; return each one's new events.

        An event for a send that no worker ever claimed, and of which nothing was heard before, means that this ledger
        has forgotten something (a restored backup): sending is locked until `reconcile` has asked the mail service.
        """
        hashes = _Hashes(self._keys.pseudonym)
        # Worked out before the transaction, which everybody who stores or stops anything waits for.
        rows = [{event.event_key: _row(event, one.batch.batch_id, hashes) for event in one.events} for one in read]
        with self._store.write() as connection:
            self._store.stop(connection)
            told_of = {event.send_id for one in read for event in one.events if event.send_id is not None}
            heard_of = _heard_of(connection, told_of)
            new = _new_of_each(connection, read)
            events = [event for fresh in new for event in fresh]
            _insert(
                connection, [told[event.event_key] for told, fresh in zip(rows, new, strict=True) for event in fresh]
            )
            failpoints.at("fold: events inserted")
            self._fold_sends(connection, events, heard_of, now)
            failpoints.at("fold: sends folded")
            self._suppress(connection, events, hashes, now)
            _mark(connection, read, new, now)
            _redact(connection, read, hashes)
            failpoints.at("fold: uncommitted")
        failpoints.at("fold: committed")
        return [len(fresh) for fresh in new]

    def _fold_sends(
        self, connection: sa.Connection, events: Sequence[DeliveryEvent], heard_of: set[str], now: datetime
    ) -> None:
        by_send: defaultdict[str, list[DeliveryEvent]] = defaultdict(list)
        for event in events:
            if event.send_id is not None:
                by_send[event.send_id].append(event)
        if not by_send:
            return
        rows = _fold_rows(connection, by_send, now)
        # Forgotten, and planned again: what was heard of it before it stood here counts as well.
        settle_proven(connection, [row.send_id for row in rows if row.attempt == 0 and row.send_id in heard_of], now)
        never_claimed = set(by_send) - {row.send_id for row in rows if row.attempt > 0} - heard_of
        if never_claimed:
            first = min(event.occurred_at for send_id in never_claimed for event in by_send[send_id])
            locked = control_state(connection).forgotten
            if locked is None or first < locked.since:
                reason = f"events came for {len(never_claimed)} sends this ledger never made: was a backup restored?"
                lock_forgotten(connection, since=first - _BEFORE, reason=reason, now=now)

    def _suppress(
        self, connection: sa.Connection, events: Sequence[DeliveryEvent], hashes: _Hashes, now: datetime
    ) -> None:
        in_order = sorted(events, key=lambda event: (event.occurred_at, event.event_key))
        has_topics = any(event.event in TOPIC_EVENTS for event in in_order)
        # The name of each group is that of the newest release which names it.
        topics = {group: topic for topic, group in self._releases.topics_in(connection)} if has_topics else {}
        stops = [_stop(event, hashes[event.address], topics) for event in in_order]
        suppress(connection, [stop for stop in stops if stop is not None], now=now)


class _Hashes(dict[str, str]):
    """Address hashes, each worked out once."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key

    def __missing__(self, address: str) -> str:
        self[address] = found = address_hash(self._key, address)
        return found


def _last_that_fits(sizes: Sequence[Any]) -> int:
    """Return the id up to which bodies are read at once; the first one is, however long it is."""
    last, total = 0, 0
    for batch_id, size in sizes:
        total += size
        if last and total > _BYTES_AT_ONCE:
            break
        last = batch_id
    return last


def _new_of_each(connection: sa.Connection, read: Sequence[ReadBatch]) -> list[list[DeliveryEvent]]:
    """Return what each batch is the first to tell."""
    told = {event.event_key for one in read for event in one.events}
    known = _those_of(connection, delivery_events.c.event_key, told)
    found: list[list[DeliveryEvent]] = []
    for one in read:
        fresh = {event.event_key: event for event in one.events if event.event_key not in known}
        known.update(fresh)
        found.append(list(fresh.values()))
    return found


def _row(event: DeliveryEvent, batch_id: int, hashes: _Hashes) -> tuple[object, ...]:
    """Return what is kept of an event, in the order of `_KEPT`."""
    return (
        event.event_key,
        batch_id,
        event.send_id,
        event.sg_message_id,
        hashes[event.address],
        event.event.value,
        event.kind,
        _without_address(event)[:_REASON_LENGTH],
        event.topic_group,
        event.occurred_at,
    )


def _insert(connection: sa.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        found = given(connection, [delivery_events.c[name] for name in _KEPT], rows)
        query = insert_new(connection, delivery_events).from_select(_KEPT, sa.select(found).where(sa.true()))
        connection.execute(query)


def _mark(
    connection: sa.Connection, read: Sequence[ReadBatch], new: Sequence[Sequence[DeliveryEvent]], now: datetime
) -> None:
    """Say of each batch that it is folded."""
    mark = sa.update(webhook_batches).where(webhook_batches.c.batch_id == sa.bindparam("key"))
    names = ("folded_at", "count_events", "count_new", "count_unreadable")
    rows = [
        {
            "key": one.batch.batch_id,
            "folded_at": now,
            "count_events": len(one.events),
            "count_new": len(fresh),
            "count_unreadable": one.unreadable,
        }
        for one, fresh in zip(read, new, strict=True)
    ]
    connection.execute(mark.values({name: sa.bindparam(name) for name in names}), rows)


def _redact(connection: sa.Connection, read: Sequence[ReadBatch], hashes: _Hashes) -> None:
    """Take the erased out of the bodies: the mail service goes on to tell of people who were forgotten meanwhile."""
    addresses = {hashes[event.address]: event.address for one in read for event in one.events if event.address}
    erased = _those_of(connection, erasures.c.address_hash, addresses)
    for one in read if erased else ():
        text = None
        for found in sorted(erased & {hashes[event.address] for event in one.events if event.address}):
            subject = Subject(address=addresses[found].strip(), names=(), token=erased_token(found))
            text = redacted(text or one.batch.body.decode("utf-8", "surrogateescape"), subject)
        if text is not None:
            change = sa.update(webhook_batches).where(webhook_batches.c.batch_id == one.batch.batch_id)
            connection.execute(change.values(body=text.encode("utf-8", "surrogateescape")))


def _stop(event: DeliveryEvent, hashed: str, topics: Mapping[int, str]) -> Stop | None:
    """Return what an event stops or takes back; None for most."""
    if event.event in TOPIC_EVENTS:
        group = event.topic_group
        is_stop = event.event is DeliveryEventType.GROUP_UNSUBSCRIBE
        if group is None and not is_stop:
            return None  # it does not say to what: nobody who stopped everything is taken back by it
        return Stop(
            address_hash=hashed,
            topic="" if group is None else topics.get(group, f"group:{group}"),
            topic_group=group,
            reason=SuppressionReason.UNSUBSCRIBED,
            source=_SOURCE,
            suppressed_at=event.occurred_at if is_stop else None,
            lifted_at=None if is_stop else event.occurred_at,
        )
    reason = suppression_from(event.event, event.kind, event.reason)
    if reason is None:
        return None
    return Stop(address_hash=hashed, topic="", reason=reason, source=_SOURCE, suppressed_at=event.occurred_at)


def _those_of(connection: sa.Connection, column: sa.Column[str], values: Iterable[str]) -> set[str]:
    """Return which of these values the column holds."""
    return set(connection.scalars(sa.select(column).where(among(column, values)).distinct()))


def settle_proven(connection: sa.Connection, send_ids: Sequence[str], now: datetime) -> set[str]:
    """Fold what was heard of these sends before they were planned (in a ledger that had forgotten them).

    Returns the send ids that the service has taken already: they must not be sent again.
    """
    row = delivery_events.c
    query = sa.select(row.send_id, row.event, row.sg_message_id, row.occurred_at, row.event_key, row.kind)
    by_send: defaultdict[str, list[DeliveryEvent]] = defaultdict(list)
    for found in connection.execute(query.where(among(row.send_id, send_ids))):
        event = DeliveryEvent(
            event_key=found.event_key,
            event=DeliveryEventType(found.event),
            kind=found.kind,
            occurred_at=found.occurred_at,
            send_id=found.send_id,
            sg_message_id=found.sg_message_id,
            address="",
            url="",
            reason="",
            topic_group=None,
        )
        by_send[found.send_id].append(event)
    proven = {
        send_id for send_id, told in by_send.items() if any(proven_status(event.event) is not None for event in told)
    }
    _fold_rows(connection, {send_id: by_send[send_id] for send_id in proven}, now)
    return proven


def _heard_of(connection: sa.Connection, send_ids: set[str]) -> set[str]:
    """Return which of these sends an event was folded for before."""
    return _those_of(connection, delivery_events.c.send_id, send_ids)


def _fold_rows(
    connection: sa.Connection, by_send: Mapping[str, Sequence[DeliveryEvent]], now: datetime
) -> Sequence[sa.Row[Any]]:
    """Fold events into the rows of their sends; return the rows as they were."""
    if not by_send:
        return []
    names = ("send_key", "send_id", "attempt", "sending_at", *_FOLDED)
    query = sa.select(*(sends.c[name] for name in names)).where(among(sends.c.send_id, by_send))
    rows = connection.execute(query.order_by(sends.c.send_key).with_for_update()).all()
    changes = [(row, _folded(row, by_send[row.send_id])) for row in rows]
    updates = [(row.send_key, *folded) for row, folded in changes if folded != row[-len(_FOLDED) :]]
    if updates:
        found = given(connection, [sends.c[name] for name in ("send_key", *_FOLDED)], updates)
        change = sa.update(sends).where(sends.c.send_key == found.c.send_key)
        connection.execute(change.values({name: found.c[name] for name in _FOLDED} | {"updated_at": now}))
    return rows


def _folded(row: Any, events: Sequence[DeliveryEvent]) -> tuple[str, str | None, datetime | None, datetime | None]:
    """Return what a send's row becomes, in the order of `_FOLDED`.

    Times take the earliest fact, so that order and repeats do not matter.
    """
    status = fold(SendStatus(row.status), (event.event for event in events))
    # The service's clock counts whole seconds: nothing was accepted before we sent it.
    started = row.sending_at
    accepted = [event.occurred_at for event in events if proven_status(event.event) is not None]
    delivered = [event.occurred_at for event in events if event.event is DeliveryEventType.DELIVERED]
    first = min((event for event in events if event.sg_message_id), key=lambda event: event.occurred_at, default=None)
    message_id = first.sg_message_id.split(".")[0] if first is not None and first.sg_message_id else None
    return (
        status.value,
        row.message_id or message_id,
        _earliest(row.accepted_at, accepted, started),
        _earliest(row.delivered_at, delivered, started),
    )


def _earliest(known: datetime | None, found: Sequence[datetime], started: datetime | None) -> datetime | None:
    times = [moment if started is None else max(moment, started) for moment in found]
    return min([*times, *([known] if known is not None else [])], default=None)


def _without_address(event: DeliveryEvent) -> str:
    """Mail servers quote the address in what they say; it is not kept."""
    return event.reason.replace(event.address, "<address>") if event.address else event.reason
