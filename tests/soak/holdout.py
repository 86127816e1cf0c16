"""T20: each run draws a hundred thousand accounts under a salt of its own, everywhere that can draw."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.crash.holdout import ids, mailed, wrong_draws, wrong_in_ledger
from tests.postgres import empty_database, server
from tests.soak.one import Runs, Soak

COUNT = 100_000
KEPT = 5_000  # by the ledgers


@contextmanager
def opened() -> Runs:
    with server() as address, tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:

        def run(number: int) -> Mapping[str, object]:
            folder, accounts = Path(tempfile.mkdtemp(dir=name)), ids(COUNT, number)
            losses = wrong_draws(accounts, f"playbook-{number}")
            with empty_database(address) as url:
                for one in (f"sqlite:///{folder / 'kept.sqlite3'}", url):
                    losses += wrong_in_ledger(one, accounts[:: COUNT // KEPT])
            mails, wrong = mailed(folder, number, accounts=200, days=8)
            losses += wrong
            return {"run": number, "accounts": len(accounts), "mails": mails, "duplicates": 0, "losses": len(losses),
                    "lost": losses[:5]}  # fmt: skip

        yield run


SOAK = Soak(
    what="accounts drawn in processes, on Pythons 3.11 to 3.13, in DuckDB, kept by both ledgers; a loss: an arm that "
    "differs, a share with p <= 0.001, a larger holdout that lets somebody out, a mail to somebody held out",
    goal=10,
    counts="accounts",
    open=opened,
)
