"""T16: the database crashes, cuts connections or is locked: nothing twice, nothing lost, one clear line each."""

from __future__ import annotations

import psycopg
import pytest

from tests.crash.database_down import RECOVERY, lock, locked, restart, survive, terminate
from tests.crash.outbox import KEYS, Outbox, copy_ledger, fill, judge, names
from tests.crash.public import post_event, unsubscribe
from tests.postgres import Postgres, require_server
from uptake.adapters.ledger import open_ledger
from uptake.cli import main
from uptake.errors import LedgerError

COUNT = 60


@pytest.fixture
def postgres():
    require_server()
    server = Postgres()
    server.start()
    with psycopg.connect(f"{server.url}/postgres", autocommit=True) as admin:
        admin.execute("create database uptake")
    yield server
    server.stop()
    server.remove()


def test_a_server_that_crashes_and_cuts_connections_doubles_and_loses_nothing(postgres, home):
    url = f"{postgres.url}/uptake"
    ledger = open_ledger(url, KEYS)
    fill(ledger, names(COUNT))
    ledger.close()
    cut, crash = terminate(postgres, "uptake"), restart(postgres)
    found = survive(url, home, [cut, crash, cut, cut, crash, cut], seed=1, count=COUNT)
    assert (found.duplicates, found.losses) == (0, ())
    assert found.slowest < RECOVERY
    assert found.errors, "nobody noticed anything"


def test_a_lock_of_another_program_is_waited_for(planned, home):
    url = copy_ledger(planned, home)
    path = home / "ledger.sqlite3"
    found = survive(url, home, [lock(path, seconds=0.5), lock(path, seconds=0.5)], seed=1, count=12)
    assert (found.duplicates, found.losses, found.errors, found.held) == (0, (), (), 0)


def test_a_lock_that_stays_is_said_in_one_line_and_costs_nothing(planned, home, fakegrid, clock):
    url = copy_ledger(planned, home)
    outbox = Outbox(url, home, f"http://127.0.0.1:{fakegrid}", clock)
    outbox.ledger.close()
    outbox.ledger = open_ledger(url, KEYS, busy_timeout=0.1)
    with locked(home / "ledger.sqlite3"), pytest.raises(LedgerError, match="locked by another process; try again"):
        outbox.send()
    assert outbox.send().accepted == 12
    assert judge(home, outbox.statuses()).is_clean
    outbox.close()


def test_the_webhook_and_the_unsubscribe_page_say_503_until_the_ledger_is_back(planned, home, fakegrid, clock):
    url = copy_ledger(planned, home)
    outbox = Outbox(url, home, f"http://127.0.0.1:{fakegrid}", clock)
    outbox.ledger.close()
    outbox.ledger = open_ledger(url, KEYS, busy_timeout=0.1)
    with locked(home / "ledger.sqlite3"):
        assert (post_event(outbox), unsubscribe(outbox)) == (503, 503)
    assert outbox.ledger.delivery.unfolded(10) == []
    assert (post_event(outbox), unsubscribe(outbox)) == (204, 200)
    assert len(outbox.ledger.delivery.unfolded(10)) == 1
    outbox.close()


def test_the_command_line_says_in_one_line_that_the_database_is_not_there(home, monkeypatch, capsys):
    monkeypatch.setenv("UPTAKE_HOME", str(home))
    monkeypatch.setenv("UPTAKE_LEDGER_URL", "postgresql://uptake@127.0.0.1:1/uptake")
    monkeypatch.setattr("sys.argv", ["uptake", "held"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err.strip()
    assert ended.value.code == 1
    assert "cannot be reached" in said
    assert "\n" not in said
