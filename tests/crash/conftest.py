from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.outbox import NOW, prepared, serving
from tests.postgres import empty_database, require_server, server
from uptake.testing import FixedClock


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with 12 planned mails: made once, copied for each test."""
    return prepared(tmp_path_factory.mktemp("planned"), 12)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def fakegrid(home: Path, clock: FixedClock) -> Iterator[int]:
    """The port of a fakegrid of this test's own."""
    with serving(home, clock) as server:
        yield server.port


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server, without a database; a machine without one skips, CI fails."""
    require_server()
    with server() as address:
        yield address


@pytest.fixture
def ledger_url(database: str, home: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty ledger on the database that the test names: `sqlite` or `postgresql`."""
    if database == "sqlite":
        yield f"sqlite:///{home / 'ledger.sqlite3'}"
        return
    with empty_database(request.getfixturevalue("postgres_server")) as url:
        yield url
