from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from uptake.adapters.ledger.given import given
from uptake.adapters.ledger.schema import delivery_events, webhook_batches
from uptake.adapters.ledger.upsert import insert_new

NAMES = ("event_key", "batch_id", "send_id", "address_hash", "event", "kind", "reason", "topic_group", "occurred_at")
HOSTILE = "quote \" ' back \\ é 日本 😀 {{ x }} <b> \t\n \u2028"


def rows_of(batch_id: int, count: int) -> list[tuple[object, ...]]:
    berlin = timezone(timedelta(hours=1))
    at = datetime(2026, 3, 3, 10, 0, 0, 1, tzinfo=berlin)
    return [(f"k{n}", batch_id, None if n % 2 else "s", "a", "open", HOSTILE, "", n or None, at) for n in range(count)]


def test_rows_that_are_given_are_stored_as_they_are(ledger):
    columns = [delivery_events.c[name] for name in NAMES]
    with ledger._store.write() as connection:
        batch = sa.insert(webhook_batches).values(body=b"[]", received_at=datetime(2026, 3, 3, tzinfo=UTC))
        batch_id = connection.scalar(batch.returning(webhook_batches.c.batch_id))
        for rows in (rows_of(batch_id, 3), rows_of(batch_id, 5)):  # three of the second are there already
            query = insert_new(connection, delivery_events)
            found = sa.select(given(connection, columns, rows)).where(sa.true())
            connection.execute(query.from_select(NAMES, found))
        stored = [tuple(row) for row in connection.execute(sa.select(*columns).order_by(delivery_events.c.event_id))]
    assert stored == rows_of(batch_id, 5)


@pytest.mark.parametrize("value", [datetime(2026, 3, 3), b"bytes", {1}])  # noqa: DTZ001
def test_what_a_database_could_misread_is_refused(ledger, value):
    with ledger._store.read() as connection, pytest.raises(TypeError):
        given(connection, [delivery_events.c.kind], [(value,)])
