"""T21: each run forgets a hundred people of a town, and looks for them in every byte it has."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.crash.erasure import live_and_forget
from tests.soak.one import Runs, Soak


@contextmanager
def opened() -> Runs:
    def run(number: int) -> Mapping[str, object]:
        with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:
            found = live_and_forget(Path(name), number, subjects=100, others=40)
        return {
            "run": number, "subjects": found.subjects, "mails": found.mails, "duplicates": 0,
            "losses": len(found.losses), "lost": list(found.losses),
        }  # fmt: skip

    yield run


SOAK = Soak(
    what="people with canaries forgotten; a loss: a byte of them in the home, the ledger after VACUUM, bodies, raw "
    "files, debug log, exports or status, a report that is not complete, a mail to one of them, or no suppression",
    goal=10,
    counts="subjects",
    open=opened,
)
