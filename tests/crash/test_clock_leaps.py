"""T15: a clock that leaps doubles no mail, and sends none too early or at night."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.crash.clock_leaps import leap
from tests.crash.outbox import NOW, Outbox, copy_ledger

DAY, LEASE = timedelta(days=1), timedelta(minutes=5)


@pytest.mark.parametrize("seed", range(2))
def test_a_leaping_clock_doubles_nothing_and_wakes_nobody(home, seed):
    found = leap(home, seed=seed)
    assert (found.duplicates, found.losses) == (0, ())
    assert found.leaps >= 5


@pytest.fixture
def outbox(planned, home, fakegrid, clock):
    found = Outbox(copy_ledger(planned, home), home, f"http://127.0.0.1:{fakegrid}", clock)
    yield found
    found.close()


def test_what_was_planned_before_the_clock_was_put_back_is_decided_again(outbox, clock):
    clock.moment -= DAY
    assert outbox.send().requests == 0
    assert set(outbox.statuses().values()) == {"withheld"}


def test_a_claim_and_a_tick_of_a_clock_that_was_ahead_hold_nobody_up_for_a_day(outbox):
    assert len(outbox.ledger.sends.claim(owner="dead", limit=5, now=NOW + DAY, lease=LEASE)) == 5
    assert outbox.ledger.runs.begin("tick", owner="dead:1", now=NOW + DAY, lease=LEASE) is not None
    assert outbox.ledger.runs.begin("tick", owner="other:1", now=NOW, lease=LEASE) is not None
    assert outbox.send().accepted == 12
