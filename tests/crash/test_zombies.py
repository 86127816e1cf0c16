"""T12: a worker that slept through its lease changes nothing that others have settled, and sends nothing of theirs."""

from __future__ import annotations

import shutil

import pytest

from tests.crash.kills import COUNT, database, prepare
from tests.crash.zombies import BETWEEN_TRANSACTIONS, IN_A_TRANSACTION, WHILE_DECIDING, wake_at, wake_tick_at


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    path = tmp_path_factory.mktemp("zombies") / "ledger.sqlite3"
    prepare(f"sqlite:///{path}")
    return path


@pytest.mark.parametrize("point", BETWEEN_TRANSACTIONS)
def test_a_worker_that_wakes_after_its_lease_doubles_and_overwrites_nothing(prepared, home, point):
    shutil.copy(prepared, home / "ledger.sqlite3")
    found = wake_at(point, 0, url=f"sqlite:///{home / 'ledger.sqlite3'}", home=home)
    assert found.was_stopped
    assert (found.duplicates, found.losses) == (0, ())
    assert found.accepted + found.held == COUNT


@pytest.mark.parametrize("point", IN_A_TRANSACTION)
def test_nor_one_that_slept_with_rows_locked_and_it_holds_up_nobody(postgres_server, home, point):
    with database(postgres_server, home) as url:
        found = wake_at(point, 0, url=url, home=home)
    assert found.was_stopped
    assert (found.duplicates, found.losses) == (0, ())
    assert found.accepted + found.held == COUNT


def test_nor_a_tick_that_another_one_has_overtaken(home):
    found = wake_tick_at(WHILE_DECIDING, url=f"sqlite:///{home / 'ledger.sqlite3'}", home=home)
    assert found.was_stopped
    assert found.losses == ()
