"""What every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.prism.bodies import SENT_BODIES, keep

ROOT = Path(__file__).resolve().parent.parent

# A busy machine is no fault.
settings.register_profile("uptake", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("uptake")


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real logs that lie beside the checkout: absent elsewhere, required in CI."""
    folder = Path(os.environ.get("UPTAKE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "gharchive").is_dir():
        message = f"no real logs: {folder}/gharchive is not a folder; set UPTAKE_SHARED_DATA"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session", autouse=True)
def sent_bodies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gather what fakegrid has accepted from these tests: tests/prism judges it when all are over."""
    yield
    if folder := os.environ.get(SENT_BODIES):
        keep(tmp_path_factory.getbasetemp(), Path(folder))


@pytest.fixture
def now() -> datetime:
    """A Tuesday morning, UTC."""
    return datetime(2026, 3, 3, 9, 0, tzinfo=UTC)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files marked slow first: begun last, one of them would run alone while the other core waits."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name no test after bytes: gzip's hold the time, and two workers must collect the same names."""
    return argname if isinstance(val, bytes) else None
