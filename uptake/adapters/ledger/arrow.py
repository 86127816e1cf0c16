"""Sets of rows between the ledger and Arrow, without a Python step per row of ours.

`fetch` reads a query into a typed table; `stage` puts a table beside the ledger's own, so that one SQL statement
can work on the whole set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

TIMESTAMP = pa.timestamp("us")  # naive UTC
_CHUNK = 50_000


def fetch(connection: sa.Connection, query: sa.Select[Any], schema: pa.Schema) -> pa.Table:
    """Run `query` and return its rows in `schema` (columns in order), typed also when there are none."""
    statement = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}).string
    cursor = connection.exec_driver_sql(statement).cursor
    batches = []
    while rows := cursor.fetchmany(_CHUNK):
        columns = zip(*rows, strict=True)
        arrays = [_array(list(column), field.type) for column, field in zip(columns, schema, strict=True)]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
    cursor.close()
    return pa.Table.from_batches(batches, schema=schema)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind):  # SQLite keeps them as ISO text
        return pa.array(values, pa.string()).cast(kind) if _is_text(values) else pa.array(values, kind)
    if pa.types.is_boolean(kind):  # SQLite keeps them as 0 and 1
        return pa.array([None if value is None else bool(value) for value in values], kind)
    return pa.array(values, kind)


def _is_text(values: list[Any]) -> bool:
    return any(isinstance(value, str) for value in values[:1]) or any(isinstance(value, str) for value in values)


_SQL_TYPES: list[tuple[Any, Any]] = [
    (pa.types.is_boolean, sa.Boolean),
    (pa.types.is_integer, sa.BigInteger),
    (pa.types.is_floating, sa.Float),
    (pa.types.is_timestamp, sa.DateTime),
]


def _sql_type(kind: pa.DataType) -> Any:
    return next((sql for matches, sql in _SQL_TYPES if matches(kind)), sa.Text)


def stage(connection: sa.Connection, name: str, rows: pa.Table) -> sa.Table:
    """Write `rows` into a temporary table of this transaction and return it; `unstage` it when done."""
    rows = pa.table({column: _plain(rows.column(column)) for column in rows.column_names})
    table = sa.Table(
        f"staged_{name}",
        sa.MetaData(),
        *(sa.Column(field.name, _sql_type(field.type)) for field in rows.schema),
        prefixes=["TEMPORARY"],
    )
    table.create(connection, checkfirst=False)
    columns = ", ".join(f'"{column}"' for column in rows.column_names)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * rows.num_columns)
        for chunk in _chunks(rows):
            connection.exec_driver_sql(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", chunk)  # noqa: S608
    else:
        driver: Any = connection.connection.cursor()
        with driver, driver.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
            for chunk in _chunks(rows):
                for row in chunk:
                    copy.write_row(row)
        connection.exec_driver_sql(f"ANALYZE {table.name}")
    return table


def unstage(connection: sa.Connection, *tables: sa.Table) -> None:
    """Drop staged tables."""
    for table in tables:
        table.drop(connection, checkfirst=False)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Bring a column to one of the types both databases know."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_timestamp(kind):
        # To UTC first where it carries a zone: Arrow keeps the instant in UTC, so dropping the zone is enough.
        return column.cast(TIMESTAMP) if kind.tz is None else pc.local_timestamp(column.cast(pa.timestamp("us", "UTC")))
    if pa.types.is_null(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    return column


def _chunks(rows: pa.Table) -> Iterator[list[tuple[Any, ...]]]:
    for batch in rows.to_batches(max_chunksize=_CHUNK):
        columns = [
            # ISO text is how SQLAlchemy keeps times in SQLite, and what PostgreSQL reads.
            column.cast(pa.string()).to_pylist() if pa.types.is_timestamp(column.type) else column.to_pylist()
            for column in batch.columns
        ]
        if batch.num_rows:
            yield list(zip(*columns, strict=True))
