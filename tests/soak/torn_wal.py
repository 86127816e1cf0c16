"""T14: each run lets the power fail at one random moment of a recorded life; every 200 runs live anew."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from tests.crash.outbox import prepared
from tests.crash.power_loss import Lived, live, lose_power
from tests.soak.one import Runs, Soak
from uptake.adapters.ledger import store

_CUTS = 200  # of one life
_JOURNALS = {"truncate": (99,), "wal": (3,)}  # from which SQLite on the ledger would use a WAL


@contextmanager
def opened() -> Runs:
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:
        folder = Path(name)
        planned = prepared(folder, 12)
        lives: dict[int, dict[str, Lived]] = {}

        def lived(which: int, journal: str) -> Lived:
            if which not in lives:
                lives.clear()
                lives[which] = {}
            if journal not in lives[which]:
                home = folder / f"home-{which}-{journal}"
                home.mkdir()
                with mock.patch.object(store, "_WAL_SAFE", _JOURNALS[journal]):
                    lives[which][journal] = live(planned, home)
            return lives[which][journal]

        def run(number: int) -> Mapping[str, object]:
            journal, cut = ("truncate", "wal")[number % 2], folder / f"cut-{number}"
            wrong = lose_power(lived(number // _CUTS, journal), cut, seed=number)
            shutil.rmtree(cut)
            return {"run": number, "journal": journal, "cuts": 1, "duplicates": 0, "losses": int(bool(wrong)),
                    "lost": wrong}  # fmt: skip

        yield run


SOAK = Soak(
    what="power lost at a random moment, with and without a WAL: the state of some commit, no acknowledged one missing",
    goal=5_000,
    counts="cuts",
    open=opened,
)
