"""One database: connections, transactions, recognising our own file, bringing it to the newest schema.

SQLite writes begin with BEGIN IMMEDIATE: a transaction that reads first and writes later would meet "database is
locked" at once, whatever its timeout. `synchronous=FULL`, because a lost intent is a doubled mail.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, make_url

from uptake.adapters.ledger.schema import APPLICATION_ID, HEAD, VERSION_TABLE, ledger_meta, metadata
from uptake.errors import LedgerError, SettingsError

_WAL_SAFE = (3, 51, 3)  # older ones can corrupt a WAL when two connections checkpoint at once
_PRODUCT = "uptake"
_COUNT_INSERTS = {"preserve_rowcount": True}  # SQLAlchemy keeps the count of updates only
#: Milliseconds between two statements of one transaction. A process that hangs in there keeps its locks that long.
_HANGING = 60_000
_OFTEN = 20  # milliseconds of SQLite's own waiting before it is asked anew for the turn to write
_STOP_LOCK = 0x75707401  # PostgreSQL advisory locks
_MIGRATION_LOCK = 0x75707402


class Store:
    """Read and write transactions on the ledger's database. Every database error leaves as one LedgerError."""

    def __init__(self, url: str, *, busy_timeout: float) -> None:
        self._url = _checked_url(url)
        self.where = self._url.database or "" if self.is_sqlite else self._url.render_as_string(hide_password=True)
        self._busy_timeout = busy_timeout
        self._engine = self._create_engine()
        self._writer = self._engine.execution_options(uptake_writes=True)
        self._prepare()

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded ledger: one writer at a time."""
        return self._url.get_backend_name() == "sqlite"

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction that may write; an exception undoes all of it."""
        with self._one_line(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One transaction that sees one state throughout."""
        with self._one_line(), self._engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    def stop(self, connection: sa.Connection, *, shared: bool = False) -> None:
        """Keep stops (suppression, pause, ending) and intents apart, until the transaction ends.

        Who stops takes it alone, who intends takes it shared: an intent that was checked before a stop is committed
        before it. SQLite has one writer anyway.
        """
        if not self.is_sqlite:
            function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
            connection.exec_driver_sql(f"SELECT {function}({_STOP_LOCK})")

    def durability(self) -> str:
        """Say which database it is, and how it keeps what was committed."""
        with self.read() as connection:
            if not self.is_sqlite:
                commit = connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()
                return f"postgresql, synchronous_commit {commit}"
            journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
            synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
            names = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
            return f"sqlite, journal mode {str(journal).upper()}, synchronous {names.get(synchronous, synchronous)}"

    def vacuum(self) -> None:
        """Write a SQLite file anew, without the bytes of what was deleted or overwritten; no other transaction runs."""
        if not self.is_sqlite:
            return
        with self._one_line(), self._engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            raw.execute("VACUUM")
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the pooled connections."""
        self._engine.dispose()

    # --- opening ---

    def _create_engine(self) -> sa.Engine:
        if not self.is_sqlite:
            milliseconds = int(self._busy_timeout * 1000)
            options = (
                f"-c lock_timeout={milliseconds} -c TimeZone=UTC -c idle_in_transaction_session_timeout={_HANGING}"
            )
            return sa.create_engine(
                self._url,
                hide_parameters=True,  # they hold addresses
                execution_options=_COUNT_INSERTS,
                isolation_level="READ COMMITTED",
                pool_pre_ping=True,
                connect_args={"options": options, "connect_timeout": max(2, int(self._busy_timeout))},
            )
        engine = sa.create_engine(
            self._url,
            hide_parameters=True,
            execution_options=_COUNT_INSERTS,
            connect_args={"timeout": self._busy_timeout},
        )
        journal = "WAL" if sqlite3.sqlite_version_info >= _WAL_SAFE else "TRUNCATE"

        @event.listens_for(engine, "connect")
        def _configure(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = None  # we begin ourselves, below
            for pragma in (
                f"journal_mode = {journal}",
                "synchronous = FULL",
                "foreign_keys = ON",
                "temp_store = MEMORY",
                "cache_size = -65536",
            ):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            if connection.get_execution_options().get("uptake_writes"):
                self._begin_to_write(connection)
            else:
                connection.exec_driver_sql("BEGIN")

        return engine

    def _begin_to_write(self, connection: sa.Connection) -> None:
        """Begin as SQLite's one writer, soon after the one before has ended.

        SQLite itself would look every tenth of a second whether it may: whoever writes one transaction after the other
        lets it in by chance alone. So it is asked anew, and each time looks after 1, 2, 5 and 10 ms.
        """
        raw: Any = connection.connection.driver_connection
        deadline = time.monotonic() + self._busy_timeout
        raw.execute(f"PRAGMA busy_timeout = {_OFTEN}")
        try:
            while True:
                try:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    return
                except exc.OperationalError as error:
                    is_busy = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                    if not is_busy or time.monotonic() >= deadline:
                        raise
        finally:
            raw.execute(f"PRAGMA busy_timeout = {int(self._busy_timeout * 1000)}")

    def _prepare(self) -> None:
        """Refuse what is not ours; make or migrate what is."""
        if self.is_sqlite:
            path = Path(self.where)
            if path.is_dir():
                raise LedgerError(f"{path}: this is a folder; expected the ledger's file")
            if not path.parent.is_dir():
                raise LedgerError(f"{path}: its folder does not exist; create {path.parent} first")
            if not path.exists():
                path.touch(mode=0o600)  # addresses live in there
        with self.read() as connection:
            version = self._recognised(connection)
        if version == HEAD:
            return
        with self.write() as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            version = self._recognised(connection)  # another process may have been first
            if version != HEAD:
                self._migrate(connection, is_new=version is None)

    def _recognised(self, connection: sa.Connection) -> str | None:
        """Return the schema version of our ledger, None for an empty database. Raises LedgerError for others'."""
        if self.is_sqlite:
            application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
            if application not in (0, APPLICATION_ID):
                raise LedgerError(f"{self.where}: this is another program's database; expected an Uptake ledger")
        tables = set(sa.inspect(connection).get_table_names())
        if ledger_meta.name in tables and VERSION_TABLE in tables:
            product = connection.scalar(sa.select(ledger_meta.c.value).where(ledger_meta.c.name == "product"))
            if product == _PRODUCT:
                version = str(
                    connection.scalar(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE)))
                )
                if int(version) > int(HEAD):
                    raise LedgerError(
                        f"{self.where}: its schema is version {version}, newer than this code's {HEAD}; "
                        "install the newer Uptake"
                    )
                return version
        # A PostgreSQL database may be shared with others, as long as no table has one of our names.
        foreign = tables if self.is_sqlite else tables & set(metadata.tables)
        if foreign:
            found = ", ".join(sorted(foreign)[:3])
            raise LedgerError(f"{self.where}: it holds tables that are not ours ({found}); expected an Uptake ledger")
        return None

    def _migrate(self, connection: sa.Connection, *, is_new: bool) -> None:
        from alembic import command  # slow to import, and needed once per version
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", "uptake.adapters.ledger:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if is_new:
            connection.execute(sa.insert(ledger_meta).values(name="product", value=_PRODUCT))
            if self.is_sqlite:
                connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as error:
            raise LedgerError(f"{self.where}: {_explain(error.orig)}") from error


def _explain(error: object) -> str:
    """Say in one line what the database meant; its parameters stay out of it."""
    text = (str(error).splitlines() or [""])[0]
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or getattr(error, "sqlstate", "") == "55P03":
        return "the ledger is locked by another process; try again, or look for a run that hangs"
    state = getattr(error, "sqlstate", "")
    if state is None or state.startswith("57P"):  # the connection failed, or the server ended it
        return f"the database cannot be reached ({text}); the next run goes on where this one stopped"
    if name == "SQLITE_NOTADB":
        return "this is not a database; expected an Uptake ledger"
    if name.startswith("SQLITE_CORRUPT"):
        return f"the ledger is damaged ({text}); restore it from a backup"
    if name.startswith("SQLITE_CANTOPEN"):
        return "cannot open the ledger; check its folder and permissions"
    if name.startswith("SQLITE_READONLY"):
        return "the ledger cannot be written; check its permissions"
    if name == "SQLITE_FULL":
        return "the disk is full"
    return f"the database refused: {text}"


def _checked_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise SettingsError(
            "UPTAKE_LEDGER_URL is not a database URL; expected sqlite:///FILE or postgresql://..."
        ) from error
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise SettingsError(f"the ledger cannot live in {backend}; expected sqlite or postgresql")
    if not parsed.database or parsed.database == ":memory:":
        raise SettingsError("the ledger must outlive its process; expected sqlite:///FILE")
    return parsed.set(drivername="sqlite+pysqlite")


def values(row: sa.Row[Any]) -> dict[str, Any]:
    """Return a row as a plain dict."""
    return dict(row._mapping)
