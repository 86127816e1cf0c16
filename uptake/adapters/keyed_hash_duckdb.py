"""`uptake.domain.ids.keyed_hash` for whole columns: the same bytes as there and as in dbt's macro."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from uptake.domain.ids import SEPARATOR, keyed_hash

_BLOCK = hashlib.sha256().block_size
_FEW = 1_000  # rows that are done before a DuckDB would be open


def set_key(session: duckdb.DuckDBPyConnection, key: bytes) -> None:
    """Set the two padded keys of HMAC-SHA256 (RFC 2104) as variables of one session, for `keyed_hash`."""
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    block = key.ljust(_BLOCK, b"\0")
    session.execute("set variable uptake_key_inner = ?", [bytes(byte ^ 0x36 for byte in block)])
    session.execute("set variable uptake_key_outer = ?", [bytes(byte ^ 0x5C for byte in block)])


def keyed_hashes(key: bytes, kind: str, rows: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    """Return `keyed_hash(key, kind, ...)` over these columns of every row, in order; numbers as text."""
    if rows.num_rows <= _FEW:
        columns = [rows[name].to_pylist() for name in names]
        return pa.chunked_array([[keyed_hash(key, kind, *map(str, row)) for row in zip(*columns, strict=True)]])
    joined = f" || chr({ord(SEPARATOR)}) || ".join(["$kind", *(f'"{name}"::varchar' for name in names)])
    with duckdb.connect() as connection:
        set_key(connection, key)
        connection.register("given", rows.select(names))
        found = connection.execute(
            f"""select substr(sha256(getvariable('uptake_key_outer')
                || unhex(sha256(getvariable('uptake_key_inner') || encode({joined})))), 1, 32) as id from given""",  # noqa: S608
            {"kind": kind},
        )
        return found.to_arrow_table()["id"]
