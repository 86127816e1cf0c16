from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.outbox import NOW, prepared, serving
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
