"""Sets of rows between the ledger and Arrow, without a Python step per row of ours.

`fetch` reads a query into a typed table; `stage` puts a table beside the ledger's own, so that one SQL statement
can work on the whole set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

TIMESTAMP = pa.timestamp("us")  # naive UTC
_CHUNK = 10_000  # rows that are tuples at a time: few enough to stay in the processor's cache


def fetch(connection: sa.Connection, query: sa.Select[Any], schema: pa.Schema) -> pa.Table:
    """Run `query` and return its rows in `schema` (columns in order), typed also when there are none."""
    statement = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}).string
    is_sqlite = connection.dialect.name == "sqlite"
    cursor = connection.exec_driver_sql(statement).cursor
    batches = []
    while rows := cursor.fetchmany(_CHUNK):
        columns = zip(zip(*rows, strict=True), schema, strict=True)
        arrays = [_array(values, field.type, is_sqlite=is_sqlite) for values, field in columns]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
    cursor.close()
    return pa.Table.from_batches(batches, schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType, *, is_sqlite: bool) -> pa.Array:
    if is_sqlite and pa.types.is_timestamp(kind):  # kept as ISO text
        return pa.array(values, pa.string()).cast(kind)
    if is_sqlite and pa.types.is_boolean(kind):  # kept as 0 and 1
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)


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
    table = _staged(name, tuple((field.name, _sql_type(field.type)) for field in rows.schema))
    dialect = connection.dialect
    if dialect.name not in table.info:
        table.info[dialect.name] = str(CreateTable(table).compile(dialect=dialect))
    connection.exec_driver_sql(table.info[dialect.name])
    columns = ", ".join(f'"{column}"' for column in rows.column_names)
    if dialect.name == "sqlite":
        marks = ", ".join("?" * rows.num_columns)
        for chunk in _chunks(rows):
            connection.exec_driver_sql(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", chunk)  # noqa: S608
    else:
        driver: Any = connection.connection.cursor()
        with driver, driver.copy(f"COPY {table.name} ({columns}) FROM STDIN (FORMAT csv)") as copy:
            for block in _csv(rows):
                copy.write(block)
        connection.exec_driver_sql(f"ANALYZE {table.name}")
    return table


def unstage(connection: sa.Connection, *tables: sa.Table) -> None:
    """Drop staged tables."""
    for table in tables:
        connection.exec_driver_sql(f"DROP TABLE {table.name}")


@cache
def _staged(name: str, columns: tuple[tuple[str, type[Any]], ...]) -> sa.Table:
    """Return the same table each time: statements about another one would all be compiled anew."""
    return sa.Table(
        f"staged_{name}", sa.MetaData(), *(sa.Column(*column) for column in columns), prefixes=["TEMPORARY"]
    )


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
        if batch.num_rows:
            yield list(zip(*(objects(column) for column in batch.columns), strict=True))


def _csv(rows: pa.Table) -> Iterator[pa.Buffer]:
    """Yield rows as PostgreSQL reads them. Arrow quotes every text, so an empty one is no NULL."""
    from pyarrow import csv  # SQLite needs none

    for batch in rows.to_batches(max_chunksize=_CHUNK):
        block = pa.BufferOutputStream()
        csv.write_csv(batch, block, csv.WriteOptions(include_header=False))
        yield block.getvalue()


def objects(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return what both drivers take for the values of a column, made in one go and not one by one.

    Times as ISO text: that is how SQLAlchemy keeps them in SQLite, and PostgreSQL reads it.
    """
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.string())
    if column.null_count and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        found: list[Any] = column.to_pylist()  # NumPy has no NULL among numbers
        return found
    if isinstance(column, pa.Array):
        found = column.to_numpy(zero_copy_only=False).tolist()
    else:
        found = column.to_numpy().tolist()
    return found
