"""One small home and one Prefect for the whole session: what `make ui` starts, on what `make demo` leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console

from tests.flows.ui_process import Ui, free_port, running_ui
from uptake.bootstrap import Uptake, open_uptake
from uptake.demo import demo


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of every test here; two virtual days were lived in it, and its clock stands still at their end."""
    home = tmp_path_factory.mktemp("home") / "demo"
    sizes = {"accounts": 40, "contacts": 240, "days": 2, "history_days": 40}
    demo(home=home, fresh=False, console=Console(quiet=True), tick_hours=(7, 13), **sizes)
    return home


@pytest.fixture(scope="session")
def ui(home: Path) -> Iterator[Ui]:
    """Prefect's server with every deployment, a worker and the sandbox's web."""
    with running_ui(home, free_port()) as running:
        yield running


@pytest.fixture
def uptake(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Uptake]:
    """The home, opened as the flows open it."""
    monkeypatch.setenv("UPTAKE_HOME", str(home))
    monkeypatch.setenv("UPTAKE_SANDBOX", "1")
    opened = open_uptake()
    yield opened
    opened.close()


@pytest.fixture
def ended(ui: Ui, uptake: Uptake) -> Iterator[Callable[..., State[Any]]]:
    """Calls a flow in this process, against the session's server, and returns its end."""
    with temporary_settings({PREFECT_API_URL: ui.api}):
        yield lambda flow, **parameters: flow(**parameters, return_state=True)
