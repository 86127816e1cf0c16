"""The ledger: operational truth on SQLite (one machine) or PostgreSQL (several workers), by SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uptake.adapters.ledger.delivery import SqlDelivery
from uptake.adapters.ledger.enrollments import SqlEnrollments
from uptake.adapters.ledger.erasures import SqlErasures
from uptake.adapters.ledger.export import export
from uptake.adapters.ledger.gates import SqlGates
from uptake.adapters.ledger.people import SqlPeople
from uptake.adapters.ledger.queries import run_query
from uptake.adapters.ledger.releases import SqlReleases
from uptake.adapters.ledger.runs import SqlRuns
from uptake.adapters.ledger.sends import SqlSends
from uptake.adapters.ledger.store import Store
from uptake.adapters.ledger.tasks import SqlTasks
from uptake.ports import Keys

__all__ = ["SqlLedger", "open_ledger"]


class SqlLedger:
    """`uptake.ports.Ledger` on SQL."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self.releases = SqlReleases(store)
        self.enrollments = SqlEnrollments(store, keys)
        self.sends = SqlSends(store, self.releases)
        self.delivery = SqlDelivery(store, self.releases, keys)
        self.people = SqlPeople(store, self.releases, keys)
        self.gates = SqlGates(store)
        self.runs = SqlRuns(store)
        self.tasks = SqlTasks(store)
        self.erasures = SqlErasures(store)

    def export(self, directory: Path) -> None:
        """Write the tables of the ledger export as Parquet, each replaced atomically, all from one moment."""
        with self._store.read() as connection:
            export(connection, directory)

    def read(self, query: str, **params: object) -> list[Mapping[str, Any]]:
        """Run one of the named read queries of `queries.sql`. Raises LedgerError for an unknown name."""
        with self._store.read() as connection:
            return run_query(connection, query, params)

    def durability(self) -> str:
        """Say which database it is, and how it keeps what was committed."""
        return self._store.durability()

    def close(self) -> None:
        """Close the pooled connections."""
        self._store.close()


def open_ledger(url: str, keys: Keys, *, busy_timeout: float = 10.0) -> SqlLedger:
    """Open the ledger at a SQLAlchemy URL, making or migrating it when needed.

    Args:
        url: `sqlite:///FILE` or `postgresql://...`.
        keys: The key ring; send ids and address hashes come from its pseudonym key.
        busy_timeout: Seconds to wait for another writer.

    Raises:
        LedgerError: It is locked, foreign, damaged, newer than this code, or its folder is missing.
        SettingsError: The URL is none.
    """
    return SqlLedger(Store(url, busy_timeout=busy_timeout), keys)
