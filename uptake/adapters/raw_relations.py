"""The raw files of a source as relations, for suites that look at what no staging model keeps."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_READERS = {
    ".csv": "read_csv({files}, all_varchar = true, union_by_name = true)",
    ".ndjson": "read_ndjson({files}, union_by_name = true)",
    ".json": "read_ndjson({files}, union_by_name = true)",
    ".parquet": "read_parquet({files}, union_by_name = true)",
}


def open_raw(raw: Path, mentioned: str) -> duckdb.DuckDBPyConnection:
    """Return a connection whose schema `raw` has a view for each file that the text mentions by its name's first part.

    Beside them stands `raw.files(file, bytes, has_byte_order_mark)`. Values of CSV files are text, as they were
    written. Files of one name, in whatever folder, are one relation.
    """
    connection = duckdb.connect()
    connection.execute("create schema raw")
    connection.execute("create table raw.files (file varchar, bytes bigint, has_byte_order_mark boolean)")
    named: dict[str, list[Path]] = {}
    for path in sorted(path for path in raw.rglob("*") if path.is_file()):
        named.setdefault(path.name.split(".")[0], []).append(path)
        row = [str(path.relative_to(raw)), path.stat().st_size, _starts_with_mark(path)]
        connection.execute("insert into raw.files values (?, ?, ?)", row)
    for name, paths in named.items():
        suffix = Path(paths[0].name.removesuffix(".gz")).suffix
        if name in mentioned and suffix in _READERS:
            listed = ", ".join(_text(str(path)) for path in paths)
            reader = _READERS[suffix].format(files=f"[{listed}]")
            quoted = name.replace('"', '""')
            connection.execute(f'create view raw."{quoted}" as select * from {reader}')  # noqa: S608
    return connection


def _starts_with_mark(path: Path) -> bool:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        return bool(file.read(len(_BYTE_ORDER_MARK)) == _BYTE_ORDER_MARK)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
