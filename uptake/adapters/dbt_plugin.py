"""What dbt-duckdb loads into its sessions: the pseudonym key as session variables, and line numbers of raw files.

The key goes into variables of the session, so that it stands in no SQL, no log and no file; the macro `keyed_hash`
reads them. Loaded by `dbt_project/profiles.yml`, so it works for a plain `dbt build` as well.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt.adapters.duckdb.plugins import BasePlugin

from uptake.adapters.key_ring import open_key_ring

if TYPE_CHECKING:
    import duckdb

_BLOCK = hashlib.sha256().block_size


def set_key(session: duckdb.DuckDBPyConnection, key: bytes) -> None:
    """Set the two padded keys of HMAC-SHA256 (RFC 2104) as variables of one session, for `keyed_hash`."""
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    block = key.ljust(_BLOCK, b"\0")
    session.execute("set variable uptake_key_inner = ?", [bytes(byte ^ 0x36 for byte in block)])
    session.execute("set variable uptake_key_outer = ?", [bytes(byte ^ 0x5C for byte in block)])


def line_numbers(path: str) -> list[int]:
    """Return the numbers, from 1, of the lines of a file that are not blank, in order.

    DuckDB's reader skips blank lines and numbers nothing; this tells where its n-th line stands in the file.
    """
    opener: Any = gzip.open if path.endswith(".gz") else open
    with opener(path, "rb") as file:
        return [number for number, line in enumerate(file, start=1) if line.strip()]


class Plugin(BasePlugin):  # type: ignore[misc]  # dbt-duckdb has no types
    """Found by dbt-duckdb under this name."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Open the key ring of the home named in the profile, making it on first use."""
        self._key = open_key_ring(Path(plugin_config["home"])).pseudonym

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Add the functions that staging uses."""
        conn.create_function("uptake_line_numbers", line_numbers, ["VARCHAR"], "BIGINT[]")

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Set the key; DuckDB does not hand variables on to cursors."""
        set_key(cursor, self._key)
