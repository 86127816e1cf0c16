from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from uptake.adapters.clock import SandboxClock, SystemClock

START = datetime(2026, 3, 2, tzinfo=UTC)


def test_every_process_sees_the_same_sandbox_time(tmp_path: Path) -> None:
    ours, theirs = (SandboxClock(tmp_path / "sandbox" / "clock", start=START) for _ in range(2))
    assert ours.now() == START
    ours.move(START + timedelta(hours=3))
    assert theirs.now() == START + timedelta(hours=3)


def test_sandbox_time_never_runs_backwards(tmp_path: Path) -> None:
    clock = SandboxClock(tmp_path / "clock", start=START)
    clock.move(START)
    with pytest.raises(ValueError, match="lies before it"):
        clock.move(START - timedelta(seconds=1))


def test_the_machine_s_clock_is_aware_and_in_utc() -> None:
    assert SystemClock().now().utcoffset() == timedelta(0)
