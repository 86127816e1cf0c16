"""T4: each run gives the ledger orders of one seed, on SQLite and PostgreSQL in turn, and asks the model after each."""

from __future__ import annotations

import logging
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.crash.ledger_base import Base
from tests.crash.ledger_machine import LedgerMachine
from tests.postgres import can_serve, server
from tests.soak.one import Runs, Soak

EXAMPLES, STEPS = 25, 60  # in a run


@contextmanager
def opened() -> Runs:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uptake-soak-")))
        bases = [Base(f"sqlite:///{folder / 'ledger.sqlite3'}")]
        if can_serve():
            bases.append(Base(f"{stack.enter_context(server())}/postgres"))
        for base in bases:
            stack.callback(base.ledger.close)

        def run(number: int) -> Mapping[str, object]:
            logging.disable(logging.CRITICAL)
            base, lost = bases[number % len(bases)], ""
            machine = seed(number)(type("OnThisLedger", (LedgerMachine,), {"base": base}))
            LedgerMachine.counted.clear()
            try:
                run_state_machine_as_test(
                    machine,
                    settings=settings(
                        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None,
                        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
                    ),
                )  # fmt: skip
            except AssertionError:
                lost = traceback.format_exc()[-2_000:]
            return {
                "run": number, "database": "sqlite" if base is bases[0] else "postgresql",
                "steps": LedgerMachine.counted.total(), "duplicates": 0, "losses": int(bool(lost)), "lost": lost,
            }  # fmt: skip

        yield run


SOAK = Soak(
    what="random orders to a ledger (SQLite and PostgreSQL in turn), a model asked after each; a loss: they differ",
    goal=500,
    counts="steps",
    open=opened,
)
