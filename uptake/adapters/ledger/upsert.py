"""INSERT ... ON CONFLICT, which SQLAlchemy spells once per database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def insert_new(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an insert that leaves rows alone which are there already."""
    return insert(connection, table).on_conflict_do_nothing()
