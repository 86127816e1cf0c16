"""T9: no request is intended once an unsubscribe is committed. `make soak` runs more."""

from __future__ import annotations

import pytest

from tests.crash.outbox import KEYS, fill, names
from tests.crash.unsubscribe_race import Race
from uptake.adapters.ledger import open_ledger

PEOPLE = 100


@pytest.mark.parametrize(("database", "workers"), [("sqlite", 1), ("sqlite", 2), ("postgresql", 1), ("postgresql", 3)])
def test_nothing_is_intended_after_an_unsubscribe(ledger_url, home, workers):
    ledger = open_ledger(ledger_url, KEYS)
    fill(ledger, names(PEOPLE))
    ledger.close()
    found = Race(ledger_url, home, seed=workers).run(workers=workers)
    assert (found.duplicates, found.losses) == (0, ())
    assert found.races > PEOPLE // 3
    assert found.races + found.mails >= PEOPLE
