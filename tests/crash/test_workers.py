"""T11: several workers and several equal ticks at once share the work, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.crash.outbox import KEYS, NOW
from tests.crash.workers import LONGEST_STALL, TICKING, crowd
from uptake.adapters.ledger import open_ledger
from uptake.adapters.ledger.runs import check_fence


@pytest.mark.parametrize(("database", "workers"), [("sqlite", 4), ("postgresql", 8)])
def test_workers_at_once_share_the_work_and_double_nothing(ledger_url, home, workers):
    found = crowd(ledger_url, home, workers=workers, count=160, batch_size=10)
    assert (found.verdict.duplicates, found.losses) == (0, ())
    # Whose turn it is SQLite leaves to chance: of so few batches one worker may get none.
    assert sum(share > 0 for share in found.shares) > workers / 2, f"few shared the work: {found.shares}"
    assert sum(found.shares) == found.verdict.accepted > 120
    assert found.ticks_done == TICKING
    assert found.longest < LONGEST_STALL


@pytest.mark.parametrize("database", ["postgresql"])
def test_a_tick_beside_one_that_is_writing_waits_for_no_lock(ledger_url):
    minute = timedelta(minutes=1)
    one, other = open_ledger(ledger_url, KEYS), open_ledger(ledger_url, KEYS, busy_timeout=0.5)
    run = one.runs.begin("tick", owner="a:1", now=NOW, lease=minute)
    assert run is not None
    with one._store.write() as connection:
        check_fence(connection, run)
        assert other.runs.begin("tick", owner="b:1", now=NOW + 2 * minute, lease=minute) is None
    assert other.runs.begin("tick", owner="b:1", now=NOW + 2 * minute, lease=minute) is not None
    one.close()
    other.close()
