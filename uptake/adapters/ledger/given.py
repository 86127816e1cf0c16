"""A set of rows as one parameter of a statement: a table that a query inserts or updates from.

A statement for each row costs the row's way through three layers, and on PostgreSQL a message of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa


def given(
    connection: sa.Connection, columns: Sequence[sa.Column[Any]], rows: Iterable[Sequence[object]]
) -> sa.FromClause:
    """Return rows, whose values stand in the order of these columns, as a table with their names and types.

    Text, whole numbers, aware moments and None only. The statement's text is the same for one row and for a thousand,
    so it is compiled once.
    """
    if connection.dialect.name == "sqlite":
        row = sa.func.json_each(_json([*rows])).table_valued("value").c.value
        places = [sa.func.json_extract(row, f"$[{place}]", type_=column.type) for place, column in enumerate(columns)]
        return sa.select(*(one.label(column.name) for one, column in zip(places, columns, strict=True))).subquery()
    names = [str(column.name) for column in columns]  # a plain text, where SQLAlchemy has one that knows of quotes
    text = sa.cast(sa.literal(_json([dict(zip(names, row, strict=True)) for row in rows]), sa.Text), sa.JSON)
    types = [sa.column(column.name, column.type) for column in columns]
    return sa.func.json_to_recordset(text).table_valued(*types).render_derived(with_types=True)


def _json(rows: list[Any]) -> str:
    return orjson.dumps(rows, default=_stored, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def _stored(value: object) -> str:
    """Return a moment as SQLAlchemy keeps it in SQLite, and as PostgreSQL reads it."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"{type(value).__name__} is none of text, whole number, aware moment and None")
    moment = value if value.tzinfo is UTC else value.astimezone(UTC)
    return moment.isoformat(" ", "microseconds").removesuffix("+00:00")
