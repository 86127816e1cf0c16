"""T23: a ledger of an older version, with rows in every state, whose migration is killed -9 at any statement."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.crash.outbox import KEYS, NOW, fill, names
from uptake.adapters.ledger import open_ledger
from uptake.adapters.ledger.schema import APPLICATION_ID, HEAD, VERSION_TABLE, metadata
from uptake.domain.sends import SendStatus

#: Every version before this code's own, oldest first.
OLDER = [
    script.revision
    for script in reversed(list(ScriptDirectory("uptake/adapters/ledger/migrations").walk_revisions()))
    if script.revision != HEAD
]
Rows = Mapping[str, list[tuple[Any, ...]]]


def _engine(url: str) -> sa.Engine:
    made = sa.make_url(url)
    if made.get_backend_name() == "postgresql":
        made = made.set(drivername="postgresql+psycopg")
    return sa.create_engine(made)


def make_ledger(url: str) -> None:
    """Fill an empty ledger of this version: a send in every status, tasks open and done."""
    ledger = open_ledger(url, KEYS)
    fill(ledger, names(3 * len(SendStatus)))
    ledger.close()
    engine = _engine(url)
    with engine.begin() as connection:
        sends = list(
            connection.execute(sa.text("select send_id, enrollment_id, contact_id from sends order by send_id"))
        )
        for number, send in enumerate(sends):
            status = list(SendStatus)[number % len(SendStatus)]
            connection.execute(
                sa.text("update sends set status = :status where send_id = :send_id"),
                {"status": str(status), "send_id": send.send_id},
            )
        connection.execute(sa.text("update enrollments set status = 'ended' where enrollment_id % 3 = 0"))
        enrollments = list(connection.execute(sa.select(metadata.tables["enrollments"])))
        runs = connection.scalar(sa.text("select min(run_id) from runs"))
        for number, enrollment in enumerate(enrollments[:12]):
            task = {
                "enrollment_id": enrollment.enrollment_id, "stage_key": "call", "playbook": enrollment.playbook,
                "account_id": enrollment.account_id, "contact_id": "", "version_id": enrollment.version_id,
                "snapshot_id": "s1", "run_id": runs, "feature_key": "boards", "title": "Call them", "owner": None,
                "dedupe_key": f"{enrollment.playbook}/call", "facts": "{}", "due_at": NOW,
                "opened_at": NOW, "status": ("open", "done", "declined")[number % 4 % 3],
            }  # fmt: skip
            connection.execute(sa.insert(metadata.tables["tasks"]).values(task))
    engine.dispose()


def make_older(url: str, version: str, *, like: str) -> None:
    """Make a ledger of an older version, with the rows of `like` as far as that version has tables and columns."""
    source, engine = _engine(like), _engine(url)
    with engine.begin() as connection, source.connect() as rows:
        config = Config()
        config.set_main_option("script_location", "uptake.adapters.ledger:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        old = sa.MetaData()
        old.reflect(connection)
        for table in metadata.sorted_tables:
            if table.name not in old.tables:
                continue
            shared = [column.name for column in table.columns if column.name in old.tables[table.name].columns]
            found = rows.execute(sa.select(*(sa.column(name) for name in shared)).select_from(sa.table(table.name)))
            values = [dict(row._mapping) for row in found]
            if values:
                connection.execute(sa.insert(sa.table(table.name, *map(sa.column, shared))), values)
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    source.dispose()
    engine.dispose()


@dataclass(frozen=True, kw_only=True)
class State:
    """What a ledger holds: its version, its columns and indexes, its rows."""

    version: str
    schema: frozenset[str]
    rows: Rows

    def keeps(self, older: State) -> bool:
        """Whether no row of the older one is missing. Migrations may close what is nobody's work, never delete."""
        return all(len(self.rows[name]) == len(rows) for name, rows in older.rows.items())


def state_of(url: str) -> State:
    engine = _engine(url)
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        tables = inspector.get_table_names()
        schema = {f"{table}.{column['name']}" for table in tables for column in inspector.get_columns(table)}
        schema |= {str(index["name"]) for table in tables for index in inspector.get_indexes(table)}
        rows = {
            table: sorted(map(tuple, connection.execute(sa.text(f'select * from "{table}"'))), key=repr)
            for table in tables
            if table != VERSION_TABLE
        }
        version = str(connection.scalar(sa.text(f"select version_num from {VERSION_TABLE}")))
    engine.dispose()
    return State(version=version, schema=frozenset(schema), rows=rows)


def migrate_and_die(url: str, statement: int) -> bool:
    """Open the ledger in a process of its own, killed when it begins its n-th statement; tell whether it was.

    Past the last statement it dies at the commit: the transaction's end is a statement as well.
    """
    pid = os.fork()
    if pid == 0:
        count = 0

        def strike(*_: object) -> None:
            nonlocal count
            count += 1
            if count == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sa.event.listen(sa.Engine, "before_cursor_execute", strike)
            sa.event.listen(sa.Engine, "commit", strike)
            open_ledger(url, KEYS).close()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)
