"""What the mail service tells: stored raw before the answer, folded later, in any order and however often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from uptake import failpoints
from uptake.adapters.ledger.mail_counts import mail_counts
from uptake.adapters.ledger.releases import SqlReleases, control_state, lock_forgotten
from uptake.adapters.ledger.schema import delivery_events, erasures, playbook_versions, sends, webhook_batches
from uptake.adapters.ledger.store import Store
from uptake.adapters.ledger.suppression import suppress
from uptake.adapters.ledger.upsert import insert_new
from uptake.domain.erasure import Subject, redacted
from uptake.domain.guardrails import MailCounts
from uptake.domain.ids import address_hash, erased_token
from uptake.domain.sends import (
    DeliveryEvent,
    DeliveryEventType,
    SendStatus,
    SuppressionReason,
    fold,
    proven_status,
    suppression_from,
)
from uptake.ports import Keys, StoredBatch

_REASON_LENGTH = 500
_BEFORE = timedelta(days=1)  # how long before the first word of a forgotten send others may have been forgotten
_TOPIC_EVENTS = (DeliveryEventType.GROUP_UNSUBSCRIBE, DeliveryEventType.GROUP_RESUBSCRIBE)


class SqlDelivery:
    """`uptake.ports.Delivery` on SQL."""

    def __init__(self, store: Store, releases: SqlReleases, keys: Keys) -> None:
        self._store = store
        self._releases = releases
        self._keys = keys

    def store(self, body: bytes, *, now: datetime) -> int:
        """Store one webhook body as it came; committed when this returns."""
        with self._store.write() as connection:
            query = sa.insert(webhook_batches).values(body=body, received_at=now)
            batch_id: int = connection.execute(query.returning(webhook_batches.c.batch_id)).scalar_one()
            failpoints.at("webhook: uncommitted")
        failpoints.at("webhook: committed")
        return batch_id

    def unfolded(self, limit: int) -> list[StoredBatch]:
        """Return the oldest batches that were not folded yet."""
        row = webhook_batches.c
        query = sa.select(row.batch_id, row.body, row.received_at).where(row.folded_at.is_(None))
        with self._store.read() as connection:
            found = connection.execute(query.order_by(row.batch_id).limit(limit))
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
        """Insert new events, fold their sends, derive suppressions, mark the batch; return new events.

        An event for a send that no worker ever claimed, and of which nothing was heard before, means that this ledger
        has forgotten something (a restored backup): sending is locked until `reconcile` has asked the mail service.
        """
        with self._store.write() as connection:
            self._store.stop(connection)
            heard_of = _heard_of(connection, {event.send_id for event in events if event.send_id is not None})
            new = self._insert_new(connection, batch, events)
            failpoints.at("fold: events inserted")
            self._fold_sends(connection, new, heard_of, now)
            failpoints.at("fold: sends folded")
            self._suppress(connection, new, now)
            connection.execute(
                sa.update(webhook_batches)
                .where(webhook_batches.c.batch_id == batch.batch_id)
                .values(
                    folded_at=now,
                    count_events=len(events),
                    count_new=len(new),
                    count_unreadable=unreadable,
                    body=self._without_the_erased(connection, batch, events),
                )
            )
            failpoints.at("fold: uncommitted")
        failpoints.at("fold: committed")
        return len(new)

    def _without_the_erased(
        self, connection: sa.Connection, batch: StoredBatch, events: Sequence[DeliveryEvent]
    ) -> bytes:
        """Return the body as it is kept: the mail service goes on to tell of people who were forgotten meanwhile."""
        addresses = {self._hash(event.address): event.address for event in events if event.address}
        known = sa.select(erasures.c.address_hash).where(erasures.c.address_hash.in_(sorted(addresses)))
        text = None
        for found in connection.scalars(known):
            subject = Subject(address=addresses[found].strip(), names=(), token=erased_token(found))
            text = redacted(text or batch.body.decode("utf-8", "surrogateescape"), subject)
        return batch.body if text is None else text.encode("utf-8", "surrogateescape")

    def _hash(self, address: str) -> str:
        return address_hash(self._keys.pseudonym, address)

    def _insert_new(
        self, connection: sa.Connection, batch: StoredBatch, events: Sequence[DeliveryEvent]
    ) -> list[DeliveryEvent]:
        unique = {event.event_key: event for event in events}
        known = sa.select(delivery_events.c.event_key).where(delivery_events.c.event_key.in_(list(unique)))
        for event_key in connection.scalars(known):
            del unique[event_key]
        rows = [
            {
                "event_key": event.event_key,
                "batch_id": batch.batch_id,
                "send_id": event.send_id,
                "sg_message_id": event.sg_message_id,
                "address_hash": self._hash(event.address),
                "event": event.event.value,
                "kind": event.kind,
                "reason": _without_address(event)[:_REASON_LENGTH],
                "topic_group": event.topic_group,
                "occurred_at": event.occurred_at,
            }
            for event in unique.values()
        ]
        if rows:
            connection.execute(insert_new(connection, delivery_events), rows)
        return list(unique.values())

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
        never_claimed = set(by_send) - {row.send_id for row in rows if row.attempt > 0} - heard_of
        if never_claimed:
            first = min(event.occurred_at for send_id in never_claimed for event in by_send[send_id])
            locked = control_state(connection).forgotten
            if locked is None or first < locked.since:
                reason = f"events came for {len(never_claimed)} sends this ledger never made: was a backup restored?"
                lock_forgotten(connection, since=first - _BEFORE, reason=reason, now=now)

    def _suppress(self, connection: sa.Connection, events: Sequence[DeliveryEvent], now: datetime) -> None:
        topics: Mapping[int, str] | None = None
        for event in sorted(events, key=lambda event: (event.occurred_at, event.event_key)):
            if event.event in _TOPIC_EVENTS:
                topics = self._topics(connection) if topics is None else topics
                is_stop = event.event is DeliveryEventType.GROUP_UNSUBSCRIBE
                group = event.topic_group
                if group is None and not is_stop:
                    continue  # it does not say to what: nobody who stopped everything is taken back by it
                suppress(
                    connection,
                    self._hash(event.address),
                    topic="" if group is None else topics.get(group, f"group:{group}"),
                    topic_group=group,
                    reason=SuppressionReason.UNSUBSCRIBED,
                    source="delivery_event",
                    suppressed_at=event.occurred_at if is_stop else None,
                    lifted_at=None if is_stop else event.occurred_at,
                    now=now,
                )
                continue
            reason = suppression_from(event.event, event.kind, event.reason)
            if reason is not None:
                suppress(
                    connection,
                    self._hash(event.address),
                    topic="",
                    reason=reason,
                    source="delivery_event",
                    suppressed_at=event.occurred_at,
                    now=now,
                )

    def _topics(self, connection: sa.Connection) -> dict[int, str]:
        """Return the topic of each group of the mail service, by the newest release that names the group."""
        versions = connection.scalars(
            sa.select(playbook_versions.c.version_id).order_by(playbook_versions.c.version_id)
        )
        releases = [self._releases.version_in(connection, version_id) for version_id in versions.all()]
        return {group: topic for release in releases for topic, group in release.workspace.topics.items()}


def settle_proven(connection: sa.Connection, send_ids: Sequence[str], now: datetime) -> set[str]:
    """Fold what was heard of these sends before they were planned (in a ledger that had forgotten them).

    Returns the send ids that the service has taken already: they must not be sent again.
    """
    row = delivery_events.c
    query = sa.select(row.send_id, row.event, row.sg_message_id, row.occurred_at, row.event_key, row.kind)
    by_send: defaultdict[str, list[DeliveryEvent]] = defaultdict(list)
    for found in connection.execute(query.where(row.send_id.in_(list(send_ids)))):
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
    row = delivery_events.c
    return set(connection.scalars(sa.select(row.send_id).where(row.send_id.in_(sorted(send_ids))).distinct()))


def _fold_rows(
    connection: sa.Connection, by_send: Mapping[str, Sequence[DeliveryEvent]], now: datetime
) -> Sequence[sa.Row[Any]]:
    """Fold events into the rows of their sends; return the rows as they were."""
    if not by_send:
        return []
    names = ("send_key", "send_id", "status", "attempt", "sending_at", "message_id", "accepted_at", "delivered_at")
    query = sa.select(*(sends.c[name] for name in names)).where(sends.c.send_id.in_(list(by_send)))
    rows = connection.execute(query.order_by(sends.c.send_key).with_for_update()).all()
    updates = [{**_folded(row, by_send[row.send_id]), "key": row.send_key, "updated_at": now} for row in rows]
    if updates:
        change = sa.update(sends).where(sends.c.send_key == sa.bindparam("key"))
        changed = ("status", "message_id", "accepted_at", "delivered_at", "updated_at")
        connection.execute(change.values({name: sa.bindparam(name) for name in changed}), updates)
    return rows


def _folded(row: Any, events: Sequence[DeliveryEvent]) -> dict[str, Any]:
    """Return what a send's row becomes. Times take the earliest fact, so that order and repeats do not matter."""
    status = fold(SendStatus(row.status), (event.event for event in events))
    # The service's clock counts whole seconds: nothing was accepted before we sent it.
    started = row.sending_at
    accepted = [event.occurred_at for event in events if proven_status(event.event) is not None]
    delivered = [event.occurred_at for event in events if event.event is DeliveryEventType.DELIVERED]
    first = min((event for event in events if event.sg_message_id), key=lambda event: event.occurred_at, default=None)
    message_id = first.sg_message_id.split(".")[0] if first is not None and first.sg_message_id else None
    return {
        "status": status.value,
        "message_id": row.message_id or message_id,
        "accepted_at": _earliest(row.accepted_at, accepted, started),
        "delivered_at": _earliest(row.delivered_at, delivered, started),
    }


def _earliest(known: datetime | None, found: Sequence[datetime], started: datetime | None) -> datetime | None:
    times = [moment if started is None else max(moment, started) for moment in found]
    return min([*times, *([known] if known is not None else [])], default=None)


def _without_address(event: DeliveryEvent) -> str:
    """Mail servers quote the address in what they say; it is not kept."""
    return event.reason.replace(event.address, "<address>") if event.address else event.reason
