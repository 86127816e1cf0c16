"""Entering is fenced: of two ticks, only the newest one writes."""

from __future__ import annotations

import pyarrow as pa
import pytest

from uptake.errors import Held
from uptake.ports import Entry

ANN = ("ann", "a1")


def test_a_run_that_was_taken_over_enters_nobody(world):
    world.load(ANN)
    old, entry = world.run(), Entry(contacts=entrants(ANN), left_out=pa.table({}))

    def enter(run):
        return world.ledger.enrollments.enter(
            entry, world.approved, snapshot_id=world.snapshot_id, gate_id=world.gate_id, now=world.now, run=run
        )

    newer = world.run()
    with pytest.raises(Held, match="taken over"):
        enter(old)
    assert world.ledger.read("enrollments_by_playbook") == []
    assert enter(newer) == 1


def entrants(*contacts):
    rows = [
        {"account_id": account_id, "contact_id": contact_id, "contact_rank": 1, "feature_key": "dashboards",
         "entry_no": 1, "arm": "treatment", "u": 0.5, "stratum": "team"}
        for contact_id, account_id in contacts
    ]  # fmt: skip
    return pa.Table.from_pylist(rows)
