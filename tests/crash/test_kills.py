"""T1: killed with -9 at every named point, on both databases: nothing twice, nothing lost. `make soak` runs more."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.crash.kills import ALL_POINTS, COUNT, PLAN, Zygote, database, kill_at, prepare
from tests.crash.outbox import NOW, names, serving
from tests.postgres import require_server, server
from uptake.failpoints import POINTS
from uptake.sandbox.fakegrid import FaultyFront
from uptake.testing import FixedClock

SEEDS = int(os.environ.get("UPTAKE_KILLS", "1"))  # kills at each point

ON_POSTGRESQL = ("enter: drawn", "intent: committed", "service: accepted", "accepted: uncommitted", "fold: uncommitted")


@pytest.fixture(scope="module")
def zygote():
    with Zygote() as running:
        yield running


@pytest.fixture(scope="module")
def postgres():
    require_server()
    with server() as address:
        yield address


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kills") / "ledger.sqlite3"
    prepare(f"sqlite:///{path}")
    return path


def test_every_point_is_reached(zygote, prepared, home):
    """A point nobody passes proves nothing."""
    shutil.copy(prepared, home / "ledger.sqlite3")
    clock, seen = FixedClock(NOW), home / "passed.json"
    with serving(home, clock) as server, FaultyFront(server.port, PLAN, clock) as front:
        contacts = names(COUNT + 2)
        zygote.start(
            url=f"sqlite:///{home / 'ledger.sqlite3'}", home=str(home), base_url=front.url, contacts=contacts,
            leaves=contacts[0], fail="none:1:kill", passed=str(seen),
        )  # fmt: skip
        assert zygote.end() == 0
    assert set(json.loads(seen.read_text())) == set(POINTS)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("point", ALL_POINTS)
def test_a_kill_doubles_and_loses_nothing(zygote, prepared, home, point, seed):
    shutil.copy(prepared, home / "ledger.sqlite3")
    found = kill_at(point, seed, zygote=zygote, url=f"sqlite:///{home / 'ledger.sqlite3'}", home=home)
    assert (found.duplicates, found.losses) == (0, ())
    assert found.accepted + found.held == COUNT + 2, "every mail is accounted for"


@pytest.mark.parametrize("point", ON_POSTGRESQL)
def test_nor_on_postgresql(zygote, postgres, home, point):
    with database(postgres, home) as url:
        found = kill_at(point, 0, zygote=zygote, url=url, home=home)
    assert (found.duplicates, found.losses) == (0, ())
    assert found.accepted + found.held == COUNT + 2
