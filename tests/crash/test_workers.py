"""T11: several workers and several equal ticks at once share the work, on both databases."""

from __future__ import annotations

import pytest

from tests.crash.workers import LOCK_WAIT_P99, LONGEST_STALL, TICKING, crowd


@pytest.mark.parametrize(("database", "workers"), [("sqlite", 4), ("postgresql", 8)])
def test_workers_at_once_share_the_work_and_double_nothing(ledger_url, home, workers):
    found = crowd(ledger_url, home, workers=workers, count=160, batch_size=10)
    assert (found.verdict.duplicates, found.losses) == (0, ())
    assert all(found.shares), f"somebody got nothing to do: {found.shares}"
    assert sum(found.shares) == found.verdict.accepted > 120
    assert found.ticks_done == TICKING
    assert found.p99 < LOCK_WAIT_P99
    assert found.longest < LONGEST_STALL
