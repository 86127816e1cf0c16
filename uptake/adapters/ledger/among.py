"""`column IN (...)` for very many values, which SQLAlchemy would write out one by one, each time anew."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles


def among(column: sa.ColumnElement[Any], values: Iterable[str | int] | str) -> sa.ColumnElement[bool]:
    """Return a condition that the column has one of these values, all of which travel in one parameter.

    The statement's text is the same for one value and for a thousand, so it is compiled once; and there is no limit to
    their number. Text and whole numbers only. A name instead of values is that of a parameter, for a statement that is
    built once and given its values when it is run.
    """
    kind = _Several(column.type)
    given = sa.bindparam(values, type_=kind) if isinstance(values, str) else sa.bindparam(None, [*values], type_=kind)
    return _Among(column, given)


class _Several(sa.types.TypeDecorator[Any]):
    """A list in one parameter: JSON for SQLite, an array for PostgreSQL."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, item: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return what the database keeps it as."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else ARRAY(self.item))

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return what the driver is given."""
        return json.dumps([*value]) if dialect.name == "sqlite" else [*value]


class _Among(sa.sql.functions.FunctionElement[bool]):
    type = sa.Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:  # noqa: ARG002
        """Return itself: a Boolean that no operator makes is compared with 1 on SQLite, which then uses no index."""
        return self


@compiles(_Among, "sqlite")
def _in_json(element: _Among, compiler: Any, **options: Any) -> str:
    column, given = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({given}))"  # noqa: S608


@compiles(_Among, "postgresql")
def _in_array(element: _Among, compiler: Any, **options: Any) -> str:
    column, given = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} = ANY ({given})"
