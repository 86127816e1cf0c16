from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from uptake.adapters.ledger import open_ledger
from uptake.adapters.ledger.schema import HEAD, VERSION_TABLE, metadata
from uptake.adapters.ledger.store import Store
from uptake.errors import LedgerError, SettingsError, UptakeError
from uptake.ports import Keys

KEYS = Keys(pseudonym=b"k" * 32, tokens=())


def test_an_empty_database_gets_the_schema_the_code_describes(empty_url):
    ledger = open_ledger(empty_url, KEYS)
    with ledger._store.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    ledger.close()
    open_ledger(empty_url, KEYS).close()


def test_the_newest_migration_is_the_one_the_code_expects():
    config = Config()
    config.set_main_option("script_location", "uptake.adapters.ledger:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_newer_schema_is_refused(ledger_url, ledger):
    with ledger._store.write() as connection:
        connection.execute(sa.text(f"update {VERSION_TABLE} set version_num = '9999'"))
    try:
        with pytest.raises(LedgerError, match=r"9999, newer than this code's \d+; install the newer Uptake"):
            open_ledger(ledger_url, KEYS)
    finally:
        with ledger._store.write() as connection:
            connection.execute(sa.text(f"update {VERSION_TABLE} set version_num = '{HEAD}'"))


def test_a_failure_inside_a_transaction_leaves_nothing(ledger, open_again):
    insert = "insert into preferences (contact_id, kind, value, given_at) values ('c', 'k', 'v', '2026-01-01')"

    def write_and_fail():
        with ledger._store.write() as connection:
            connection.execute(sa.text(insert))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert open_again().read("contact_preferences", contact_id="c") == []


def test_a_migration_killed_half_way_leaves_nothing(empty_url, monkeypatch):
    from alembic import op

    monkeypatch.setattr(op, "create_index", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        open_ledger(empty_url, KEYS)
    monkeypatch.undo()
    url = sa.make_url(empty_url)
    engine = sa.create_engine(url if "sqlite" in empty_url else url.set(drivername="postgresql+psycopg"))
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
    open_ledger(empty_url, KEYS).close()


def test_a_killed_process_leaves_nothing_half(tmp_path, sqlite_template):
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(sqlite_template.read_bytes())
    child = os.fork()
    if child == 0:  # dies inside its transaction, as kill -9 would have it
        with open_ledger(f"sqlite:///{path}", KEYS)._store.write() as connection:
            row = "('c', 'k', 'v', '2026-01-01')"
            connection.execute(
                sa.text(f"insert into preferences (contact_id, kind, value, given_at) values {', '.join([row] * 5000)}")
            )
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    ledger = open_ledger(f"sqlite:///{path}", KEYS)
    assert ledger.read("contact_preferences", contact_id="c") == []
    ledger.close()


def refused(url: str, **options) -> str:
    with pytest.raises(UptakeError) as caught:
        open_ledger(url, KEYS, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("a shopping list, long enough to be read as a page header " * 50)
    before = path.read_bytes()
    assert "not a database" in refused(f"sqlite:///{path}")
    assert path.read_bytes() == before


@pytest.mark.parametrize("statement", ["create table t (x)", "pragma application_id = 252006673"])
def test_another_programs_database_is_refused(tmp_path, statement):
    path = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    before = path.read_bytes()
    assert "expected an Uptake ledger" in refused(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_missing_folder_is_named(tmp_path):
    assert f"create {tmp_path / 'no'} first" in refused(f"sqlite:///{tmp_path / 'no' / 'ledger.sqlite3'}")
    assert "this is a folder" in refused(f"sqlite:///{tmp_path}")


def test_a_locked_ledger_is_one_clear_line(tmp_path, sqlite_template, now):
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(sqlite_template.read_bytes())
    ledger = open_ledger(f"sqlite:///{path}", KEYS, busy_timeout=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(LedgerError, match="locked by another process"):
            ledger.delivery.store(b"x", now=now)
        assert "locked by another process" in refused(f"sqlite:///{path}", busy_timeout=0.05)
    ledger.close()


def test_an_unreachable_server_is_one_clear_line_without_the_password():
    text = refused("postgresql://me:secret@127.0.0.1:1/ledger", busy_timeout=1)
    assert "127.0.0.1" in text
    assert "secret" not in text


@pytest.mark.parametrize("url", ["mysql://localhost/x", "not a url", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_cannot_be_a_ledger_is_refused(url):
    with pytest.raises(SettingsError):
        open_ledger(url, KEYS)


def test_the_embedded_ledger_is_durable_and_private(ledger, database):
    if database != "sqlite":
        pytest.skip("settings of SQLite")
    with ledger._store.read() as connection:
        pragma = lambda name: connection.exec_driver_sql(f"pragma {name}").scalar()  # noqa: E731
        assert pragma("synchronous") == 2
        assert pragma("foreign_keys") == 1
        expected = "wal" if sqlite3.sqlite_version_info >= (3, 51, 3) else "truncate"
        assert pragma("journal_mode") == expected


def test_nobody_else_may_read_a_new_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    open_ledger(f"sqlite:///{path}", KEYS).close()
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_who_waits_to_write_waits_longer_than_one_look_and_then_goes_on(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    ledger = open_ledger(f"sqlite:///{path}", KEYS)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    end = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    end.start()
    assert ledger.delivery.store(b"[]", now=datetime(2026, 3, 3, tzinfo=UTC)) == 1
    end.join()
    other.close()
    ledger.close()


def test_who_waits_to_write_in_vain_is_told_so_and_can_try_again(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    open_ledger(f"sqlite:///{path}", KEYS).close()
    store = Store(f"sqlite:///{path}", busy_timeout=0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="locked by another process"), store.write():
            pytest.fail("nobody writes beside another")
        other.execute("COMMIT")
    with store.write() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 100
    store.close()
