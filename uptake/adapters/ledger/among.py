"""`column IN (...)` for very many values, which SQLAlchemy would write out one by one, each time anew."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY


def among(
    connection: sa.Connection, column: sa.ColumnElement[Any], values: Iterable[str | int]
) -> sa.ColumnElement[bool]:
    """Return a condition that the column has one of these values, all of which travel in one parameter.

    The statement's text is the same for one value and for a thousand, so it is compiled once; and there is no limit to
    their number. Text and whole numbers only.
    """
    if connection.dialect.name == "sqlite":
        found = sa.func.json_each(json.dumps(list(values))).table_valued("value")
        return column.in_(sa.select(found.c.value))
    return column == sa.any_(sa.literal(list(values), ARRAY(column.type)))
