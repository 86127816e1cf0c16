"""T5: each run lets one request meet one fault, and follows it to where it is decided."""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.crash.outbox import NOW, Verdict, prepared, serving
from tests.crash.test_faults import TABLE, meet
from tests.soak.one import Runs, Soak
from uptake.testing import FixedClock


@contextmanager
def opened() -> Runs:
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:
        folder = Path(name)
        planned = prepared(folder, 12)

        def run(number: int) -> Mapping[str, object]:
            fault = sorted(TABLE)[number % len(TABLE)]
            home, clock, lost = folder / f"home-{number}", FixedClock(NOW), ""
            home.mkdir()
            found = Verdict(accepted=0, duplicates=0, losses=())
            try:
                with serving(home, clock) as server_of_mail:
                    found = meet(fault, planned, home, clock, server_of_mail.port)
            except AssertionError:
                lost = traceback.format_exc()[-600:]
            finally:
                shutil.rmtree(home)
            return {
                "run": number, "fault": fault, "faults": 1, "mails": found.accepted, "duplicates": found.duplicates,
                "losses": int(bool(lost)), "lost": lost,
            }  # fmt: skip

        yield run


SOAK = Soak(
    what=f"a request meets one of {len(TABLE)} faults on a socket, and ends as the decision table says",
    goal=36_667,
    counts="faults",
    open=opened,
)
