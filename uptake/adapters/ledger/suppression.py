"""When a suppression is in force, said once."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from uptake.adapters.ledger.schema import suppressions
from uptake.adapters.ledger.upsert import insert
from uptake.domain.sends import SuppressionReason


def in_force() -> sa.ColumnElement[bool]:
    """Suppressed, and not lifted since; at the same moment the suppression wins."""
    row = suppressions.c
    return row.suppressed_at.is_not(None) & sa.or_(row.lifted_at.is_(None), row.suppressed_at >= row.lifted_at)


def suppress(
    connection: sa.Connection,
    address_hash: str,
    *,
    topic: str,
    reason: SuppressionReason,
    source: str,
    now: datetime,
    suppressed_at: datetime | None = None,
    lifted_at: datetime | None = None,
    topic_group: int | None = None,
) -> None:
    """Suppress or lift, inside a transaction that holds the stop lock. Both times only ever grow.

    `topic` '' means every topic.
    """
    table = suppressions
    query = insert(connection, table).values(
        address_hash=address_hash,
        topic=topic,
        reason=reason.value,
        source=source,
        topic_group=topic_group,
        suppressed_at=suppressed_at,
        lifted_at=lifted_at,
        recorded_at=now,
    )
    given = query.excluded
    connection.execute(
        query.on_conflict_do_update(
            index_elements=["address_hash", "topic", "reason"],
            set_={
                "suppressed_at": _later(table.c.suppressed_at, given.suppressed_at),
                "lifted_at": _later(table.c.lifted_at, given.lifted_at),
                "topic_group": sa.func.coalesce(given.topic_group, table.c.topic_group),
            },
        )
    )


def _later(
    old: sa.ColumnElement[datetime | None], new: sa.ColumnElement[datetime | None]
) -> sa.ColumnElement[datetime | None]:
    return sa.case((sa.or_(old.is_(None), new > old), new), else_=old)
