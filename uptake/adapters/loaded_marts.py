"""Snapshots held in memory, so that a process asks many small questions of one without reading its files anew.

A snapshot is immutable: what was loaded once stays true. Each question gets a connection of its own, so that
temporary tables and registered rows of one never meet those of another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from threading import Lock

import duckdb
import pyarrow as pa

from uptake.adapters.marts import MARTS
from uptake.adapters.snapshots_duckdb import open_marts
from uptake.errors import SnapshotError
from uptake.ports import Snapshot

#: What journeys and texts ask for. Daily facts, the one large mart, stay in their files.
LOADED = (
    "accounts_current",
    "contacts_current",
    "account_features",
    "contact_features",
    "dim_accounts",
    "dim_features",
    "feature_recommendations",
)
_FEW_ROWS = 1_000_000  # of a whole snapshot: sharing the work among threads costs more than it saves
_MEMORY = "1.5GB"  # of DuckDB, for one snapshot and all that is asked of it; beyond, it works on disk
_KEPT = 3  # a tick's own snapshot, loaded or not, and the one that messages still on their way were decided on


class LoadedMarts:
    """Opens snapshots, and keeps the last few; with `accounts`, what they say of these accounts alone."""

    def __init__(self, *, accounts: Collection[str] | None = None) -> None:
        self._accounts = accounts
        self._opened: OrderedDict[tuple[Path, bool], duckdb.DuckDBPyConnection] = OrderedDict()
        self._lock = Lock()

    def open(self, snapshot: Snapshot, *, few_questions: bool = False) -> duckdb.DuckDBPyConnection:
        """Return a new connection to the marts of a snapshot; close it after the question. Raises SnapshotError.

        For a few questions a large snapshot stays in its files, of which each reads the columns that it names: loading
        all of it would take more time and memory than they do.
        """
        is_small = self._accounts is not None or sum(snapshot.manifest.get("row_counts", {}).values()) < _FEW_ROWS
        is_loaded = is_small or not few_questions
        with self._lock:
            key = snapshot.directory.resolve(), is_loaded
            if key not in self._opened:
                marts = open_marts(snapshot, threads=1 if is_small else None, memory=_MEMORY)
                self._opened[key] = _loaded(marts, snapshot, self._accounts) if is_loaded else marts
            self._opened.move_to_end(key)
            while len(self._opened) > _KEPT:
                self._opened.popitem(last=False)[1].close()
            return self._opened[key].cursor()

    def close(self) -> None:
        """Let go of all of them."""
        with self._lock:
            while self._opened:
                self._opened.popitem()[1].close()


def _loaded(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, accounts: Collection[str] | None
) -> duckdb.DuckDBPyConnection:
    """Turn the views on the files into tables."""
    wanted = pa.table({"account_id": pa.array(sorted(accounts or ()), pa.string())})
    connection.register("accounts_wanted", wanted)
    try:
        for mart in LOADED:
            only = "semi join accounts_wanted using (account_id)"
            is_narrowed = accounts is not None and "account_id" in MARTS[mart].names
            connection.execute(
                f"create table {mart}_loaded as from {mart} {only if is_narrowed else ''}; drop view {mart};"
                f" alter table {mart}_loaded rename to {mart}"
            )
    except duckdb.Error as error:
        connection.close()
        raise SnapshotError(f"snapshot {snapshot.snapshot_id}: {str(error).splitlines()[0]}") from error
    connection.unregister("accounts_wanted")
    return connection
