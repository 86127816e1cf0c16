"""What dbt-duckdb loads into its sessions: the pseudonym key, and line numbers and versions of raw files.

The key goes into variables of the session, so that it stands in no SQL, no log and no file; the macro `keyed_hash`
reads them. Loaded by `dbt_project/profiles.yml`, so it works for a plain `dbt build` as well.
"""

from __future__ import annotations

import gzip
import os
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt.adapters.duckdb.plugins import BasePlugin

from uptake.adapters.key_ring import open_key_ring
from uptake.adapters.keyed_hash_duckdb import set_key

if TYPE_CHECKING:
    import duckdb

#: Some file systems keep times in steps of two seconds.
_UNSETTLED_NS = 3_000_000_000


def line_numbers(path: str, ordinals: list[int]) -> list[int]:
    """Return where some of a file's lines that are not blank stand in it: the n-th of them for each n; both from 1.

    DuckDB's reader skips blank lines and numbers nothing; this tells where its n-th line stands in the file. Of half a
    gzip it reads what there is, which is worse than nothing: raises ValueError.
    """
    opener: Any = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            numbers = [number for number, line in enumerate(file, start=1) if not line.isspace()]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{Path(path).parent.name}/{Path(path).name} is damaged: {error}") from error
    return [numbers[ordinal - 1] for ordinal in ordinals]


def file_version(path: str) -> str:
    """Return a text that differs from the last build's when a file may have changed since.

    A file that was touched so lately that the next write could leave its time as it is gets a text of its own, so
    that the next build reads it again.
    """
    state = _state_of(path)
    now = time.time_ns()
    touched = max(state.st_mtime_ns, state.st_ctime_ns)
    version = f"{state.st_size}-{state.st_mtime_ns}-{state.st_ctime_ns}-{state.st_ino}"
    return version if now - touched > _UNSETTLED_NS else f"{version}-unsettled-{now}"


def _state_of(path: str) -> os.stat_result:
    return Path(path).stat()


class Plugin(BasePlugin):  # type: ignore[misc]  # dbt-duckdb has no types
    """Found by dbt-duckdb under this name."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Open the key ring of the home named in the profile, making it on first use."""
        self._key = open_key_ring(Path(plugin_config["home"])).pseudonym

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Add the functions that staging uses."""
        conn.create_function("uptake_line_numbers", line_numbers, ["VARCHAR", "BIGINT[]"], "BIGINT[]")
        conn.create_function("uptake_file_version", file_version, ["VARCHAR"], "VARCHAR", side_effects=True)

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Set the key; DuckDB does not hand variables on to cursors."""
        set_key(cursor, self._key)
