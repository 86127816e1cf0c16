"""Marts as Parquet: equal rows give equal bytes, and a month that nothing has changed is not written again.

Knows nothing of snapshots: which files are there already, and whether they are whole, the caller says.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa

from uptake.adapters.marts import PARTITIONED
from uptake.errors import SnapshotError

#: (path within the snapshot, print of the rows) -> a whole file that holds just these rows, if there is one.
Find = Callable[[str, str], Path | None]

_SQL_TYPES = {
    pa.string(): "varchar",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.timestamp("us"): "timestamp",
    pa.date32(): "date",
}
_MONTH = "date_day"  # the column that partitioned marts are split by


@dataclass(frozen=True)
class Written:
    """What became of one mart: its rows, and for each month (path within the snapshot) the print of its rows."""

    rows: int
    prints: dict[str, str]


def write_mart(warehouse: duckdb.DuckDBPyConnection, mart: str, schema: pa.Schema, draft: Path, find: Find) -> Written:
    """Write one mart into `draft`, each column named, cast and sorted; link the months that are there already.

    Raises duckdb.Error, and SnapshotError when a row belongs to no month.
    """
    columns = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in sql_columns(schema))
    rows = f"select {columns} from marts.{mart}"  # noqa: S608
    if mart not in PARTITIONED:
        return Written(_copy(warehouse, f"{rows} order by all", draft / f"{mart}.parquet"), {})
    (draft / mart).mkdir()
    months = _months(warehouse, rows, schema)
    if None in months:
        raise SnapshotError(f"{mart}: {_MONTH} is NULL in some row, expected a day in each")
    if not months:  # an empty mart is still a mart: readers glob its folder
        return Written(_copy(warehouse, rows, draft / mart / "empty.parquet"), {})
    prints = {}
    for month, (_, fingerprint) in months.items():
        name = f"{mart}/month={month:%Y-%m}.parquet"
        prints[name] = fingerprint
        if (there := find(name, fingerprint)) is not None:
            os.link(there, draft / name)
        else:
            of_month = f"date_trunc('month', {_MONTH}) = date '{month:%Y-%m-%d}'"
            _copy(warehouse, f"{rows} where {of_month} order by all", draft / name)
    return Written(sum(count for count, _ in months.values()), prints)


def _months(warehouse: duckdb.DuckDBPyConnection, rows: str, schema: pa.Schema) -> dict[date | None, tuple[int, str]]:
    """Return the number of rows and their print for each month: sorting and packing them costs far more.

    A print is a sum of 64 bits for each row, whatever the order; other columns, or another DuckDB, which hashes and
    packs in its own way, make it another one.
    """
    names = ", ".join(name for name, _ in sql_columns(schema))
    found = warehouse.execute(
        f"select date_trunc('month', {_MONTH}), count(*), sum(hash({names})) from ({rows}) group by 1 order by 1"  # noqa: S608
    ).fetchall()
    made_by = f"{duckdb.__version__} {sql_columns(schema)}"
    return {
        month: (count, hashlib.sha256(f"{made_by} {count} {total}".encode()).hexdigest())
        for month, count, total in found
    }


def _copy(warehouse: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    row = warehouse.execute(f"copy ({query}) to {sql_text(str(path))} (format parquet, compression zstd)").fetchone()
    assert row is not None
    return int(row[0])


def sql_columns(schema: pa.Schema) -> list[tuple[str, str]]:
    """Return each column's quoted name and SQL type."""
    return [(f'"{field.name}"', _SQL_TYPES[field.type]) for field in schema]


def sql_text(value: str) -> str:
    """Return an SQL string literal."""
    return "'" + value.replace("'", "''") + "'"
