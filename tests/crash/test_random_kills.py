"""T2: four processes at work, killed with -9 at random moments: nothing twice, nothing lost. `make soak` kills more."""

from __future__ import annotations

import os

from tests.crash.random_kills import kill_at_random, prepare

KILLS = int(os.environ.get("UPTAKE_RANDOM_KILLS", "12"))
PEOPLE = 40


def test_kills_at_random_moments_double_and_lose_nothing(home):
    prepare(home / "ledger.sqlite3", PEOPLE)
    found = kill_at_random(0, home=home, kills=KILLS)
    assert (found.duplicates, found.losses) == (0, ())
    assert found.accepted + found.held > PEOPLE, "there was something to kill"
