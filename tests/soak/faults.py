"""T5: each run lets one request of 1, 10 or 100 people meet one fault, and follows them to where it is decided."""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.crash.faults import SIZES, TABLE, meet
from tests.crash.outbox import NOW, Verdict, prepared, serving
from tests.soak.one import Runs, Soak
from uptake.testing import FixedClock

MAILS = 500  # of one run


@contextmanager
def opened() -> Runs:
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:
        folder = Path(name)
        planned = prepared(folder, MAILS)

        def run(number: int) -> Mapping[str, object]:
            fault, passed = sorted(TABLE)[number % len(TABLE)], number // len(TABLE) % len(SIZES)
            home, clock, lost = folder / f"home-{number}", FixedClock(NOW), ""
            home.mkdir()
            found = Verdict(accepted=0, duplicates=0, losses=())
            try:
                with serving(home, clock) as server_of_mail:
                    found = meet(fault, planned, home, clock, server_of_mail.port, count=MAILS, passed=passed)
            except AssertionError:
                lost = traceback.format_exc()[-600:]
            finally:
                shutil.rmtree(home)
            return {
                "run": number, "fault": fault, "struck": SIZES[passed], "faults": 1, "mails": found.accepted,
                "duplicates": found.duplicates, "losses": int(bool(lost)), "lost": lost,
            }  # fmt: skip

        yield run


SOAK = Soak(
    what=f"a request of 1, 10 or 100 people among {MAILS} meets one of {len(TABLE)} faults on a socket, and everybody "
    "in it ends as the decision table says",
    goal=990,
    counts="faults",
    open=opened,
)
