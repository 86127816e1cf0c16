"""T4: orders to a real ledger, checked against the model after each. `make soak` gives more of them."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.crash.ledger_base import Base
from tests.crash.ledger_machine import LedgerMachine
from tests.postgres import require_server, server

RUNS = int(os.environ.get("UPTAKE_MACHINE_RUNS", "20"))
STEPS = 30


def run(base: Base, runs: int) -> None:
    machine = type("OnThisLedger", (LedgerMachine,), {"base": base})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=runs, stateful_step_count=STEPS, deadline=None, database=None, print_blob=True,
            suppress_health_check=list(HealthCheck),
            # A step takes milliseconds, so shrinking takes minutes; the steps are printed as they were found.
            phases=[Phase.generate],
        ),
    )  # fmt: skip


def test_whatever_is_ordered_the_ledger_stands_as_the_model_says(tmp_path):
    LedgerMachine.counted.clear()
    base = Base(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    run(base, RUNS)
    base.ledger.close()
    assert len(LedgerMachine.counted) > 25, "every rule has run"


def released_and_late(machine: LedgerMachine) -> None:
    """What a person ordered again, and could not leave within the hour, is decided again, and then leaves."""
    machine.send(limit=10, is_known=False)
    machine.release_it(("c0", "why"))
    machine.time_passes(seconds=3_601, restarts=False)
    machine.expire()
    machine.tick_plans(contacts={"c0"}, stage="why")
    machine.expire()
    machine.claim(limit=1, dies=None)


def heard_before_planned(machine: LedgerMachine) -> None:
    """A bounce that came before the mail was planned again counts beside what comes after."""
    heard = {"address": "c3@customer.example", "has_group": False, "dies": None, "key": ("c3", "why")}
    machine.hear(event=("bounce", "bounce"), ago=10, **heard)
    machine.tick_plans(contacts={"c3"}, stage="why")
    machine.hear(event=("processed", ""), ago=10, **heard)


def moved_while_unknown(machine: LedgerMachine) -> None:
    """The mail service's log is asked about the address a mail went to, and not about where its reader is now."""
    machine.send(limit=10, is_known=False)
    machine.load(contact="c0", address="spare@customer.example", refuses=None)
    machine.forget(address="c1@customer.example")
    machine.time_passes(seconds=1_801, restarts=False)
    machine.reconcile()
    assert machine.model.mails["c0", "why"].status == machine.model.mails["c1", "why"].status == "accepted"


def ended_and_ordered_again(machine: LedgerMachine) -> None:
    """A mail that a person orders again for somebody who has left is withheld by a tick that ends them once more."""
    machine.send(limit=10, is_known=False)
    machine.tick_ends(contact="c0", reason="exit_condition")
    machine.release_it(("c0", "why"))
    machine.tick_ends(contact="c0", reason="goal_reached")
    assert machine.model.mails["c0", "why"].status == "withheld"
    assert machine.model.people["c0"].ended == "exit_condition"


def taken_out_after_the_end(machine: LedgerMachine) -> None:
    """What a dead worker held when its reader's journey ended is withheld when a person takes the account out."""
    machine.claim(limit=1, dies="claim: committed")
    machine.tick_ends(contact="c0", reason="goal_reached")
    machine.time_passes(seconds=1_801, restarts=False)
    machine.order(action="pause", is_person=True, where=("account", "c0"))
    machine.claim(limit=1, dies=None)
    assert machine.model.mails["c0", "why"].status == "planned"
    machine.a_person_takes_out(contact="c0")
    assert machine.model.mails["c0", "why"].reason == "stopped"
    machine.a_person_takes_out(contact="c0")


@pytest.mark.parametrize(
    "steps",
    [
        released_and_late,
        heard_before_planned,
        moved_while_unknown,
        ended_and_ordered_again,
        taken_out_after_the_end,
    ],
)
def test_what_was_found_once_stays_mended(tmp_path, steps):
    base = Base(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    machine = type("OnThisLedger", (LedgerMachine,), {"base": base})()
    machine.begin()
    steps(machine)
    machine.teardown()
    base.ledger.close()


def test_nor_does_postgresql_differ(tmp_path):
    require_server()
    with server() as address:
        base = Base(f"{address}/postgres")
        run(base, max(2, RUNS // 10))
        base.ledger.close()
