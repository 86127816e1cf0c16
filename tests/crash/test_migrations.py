"""T23: a migration that is killed leaves the old schema or the new one, never half of either, and every row."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.crash.migrations import OLDER, make_ledger, make_older, migrate_and_die, state_of
from tests.crash.outbox import KEYS
from uptake.adapters.ledger import open_ledger
from uptake.adapters.ledger.schema import HEAD


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('newest') / 'ledger.sqlite3'}"
    make_ledger(url)
    return url


@pytest.fixture(scope="module", params=OLDER)
def older(request: pytest.FixtureRequest, newest: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("older") / "ledger.sqlite3"
    make_older(f"sqlite:///{path}", request.param, like=newest)
    return path


def test_an_older_ledger_becomes_what_a_new_one_is_and_keeps_its_rows(newest, older, tmp_path):
    path = Path(shutil.copy(older, tmp_path))
    url = f"sqlite:///{path}"
    before = state_of(url)
    open_ledger(url, KEYS).close()
    after = state_of(url)
    assert before.version != HEAD == after.version
    assert after.schema == state_of(newest).schema
    assert after.keeps(before)
    assert len({row[-1] for row in before.rows["sends"]}) >= 1


def test_killed_at_any_statement_it_is_the_old_one_or_the_new_one(older, tmp_path):
    def fresh(name: str) -> str:
        return f"sqlite:///{Path(shutil.copy(older, tmp_path / name))}"

    old, done = state_of(fresh("old")), fresh("done")
    open_ledger(done, KEYS).close()
    new = state_of(done)
    statement = kills = 0
    while True:
        statement += 1
        url = fresh("killed")
        if not migrate_and_die(url, statement):
            break
        kills += 1
        found = state_of(url)
        assert found in (old, new), f"killed at statement {statement}: version {found.version}, half of something"
        open_ledger(url, KEYS).close()
        assert state_of(url) == new, f"killed at statement {statement}: the next start does not finish it"
    assert kills > 10
    assert state_of(url) == new
