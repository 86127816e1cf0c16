"""When a suppression is in force, said once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from uptake.adapters.ledger.given import given
from uptake.adapters.ledger.schema import suppressions
from uptake.adapters.ledger.upsert import insert
from uptake.domain.sends import SuppressionReason


def in_force() -> sa.ColumnElement[bool]:
    """Suppressed, and not lifted since; at the same moment the suppression wins."""
    row = suppressions.c
    return row.suppressed_at.is_not(None) & sa.or_(row.lifted_at.is_(None), row.suppressed_at >= row.lifted_at)


_COLUMNS = (
    "address_hash", "topic", "reason", "source", "topic_group", "suppressed_at", "lifted_at", "recorded_at",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stop:
    """An address that stops mail of a topic ('' means every topic), or takes that back."""

    address_hash: str
    topic: str
    reason: SuppressionReason
    source: str
    topic_group: int | None = None
    suppressed_at: datetime | None = None
    lifted_at: datetime | None = None


def suppress(connection: sa.Connection, stops: Iterable[Stop], *, now: datetime, is_last_word: bool = False) -> None:
    """Suppress or lift, inside a transaction that holds the stop lock. Both times only ever grow.

    With `is_last_word` the stops hold although a lift has a later time, from a clock that runs ahead of ours.
    """
    rows = [(*(getattr(stop, name) for name in _COLUMNS[:-1]), now) for stop in _newest(stops)]
    if not rows:
        return
    table = suppressions
    found = given(connection, [table.c[name] for name in _COLUMNS], rows)
    query = insert(connection, table).from_select(_COLUMNS, sa.select(found).where(sa.true()))
    new = query.excluded
    suppressed_at = _later(table.c.suppressed_at, new.suppressed_at)
    connection.execute(
        query.on_conflict_do_update(
            index_elements=["address_hash", "topic", "reason"],
            set_={
                "suppressed_at": _later(suppressed_at, table.c.lifted_at) if is_last_word else suppressed_at,
                "lifted_at": _later(table.c.lifted_at, new.lifted_at),
                "topic_group": sa.func.coalesce(new.topic_group, table.c.topic_group),
            },
        )
    )


def _newest(stops: Iterable[Stop]) -> list[Stop]:
    """Return one stop for each row that is to be, in an order that all writers share."""
    found: dict[tuple[str, str, SuppressionReason], Stop] = {}
    for stop in stops:
        key = (stop.address_hash, stop.topic, stop.reason)
        known = found.get(key)
        if known is None:
            found[key] = stop
            continue
        found[key] = replace(
            known,
            suppressed_at=_latest(known.suppressed_at, stop.suppressed_at),
            lifted_at=_latest(known.lifted_at, stop.lifted_at),
            topic_group=known.topic_group if stop.topic_group is None else stop.topic_group,
        )
    return [found[key] for key in sorted(found)]


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _later(
    old: sa.ColumnElement[datetime | None], new: sa.ColumnElement[datetime | None]
) -> sa.ColumnElement[datetime | None]:
    return sa.case((sa.or_(old.is_(None), new > old), new), else_=old)
