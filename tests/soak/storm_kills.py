"""T7: each run is a storm whose receiver is killed with -9 again and again; what was not acknowledged comes again."""

from __future__ import annotations

from contextlib import contextmanager

from tests.soak.one import Runs, Soak
from tests.soak.storm import killing, storms

EVENTS = 4_000
KILLS = 6


@contextmanager
def opened() -> Runs:
    with storms(EVENTS, 8_000, killing(KILLS)) as run:
        yield run


SOAK = Soak(
    what="the webhook's receiver killed with -9 in a storm, also just before and after a commit; a loss: an "
    "acknowledged event that is missing, or a state that is not the sorted replay's",
    goal=30,
    counts="kills",
    open=opened,
)
