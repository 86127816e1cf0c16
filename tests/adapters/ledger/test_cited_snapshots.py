"""What the ledger stands on is kept: `cited_snapshots` names it."""

from __future__ import annotations

import re
from importlib.resources import files

from uptake.adapters.ledger.schema import metadata

#: A decision tells its reason in words of its own, an audience is a number, and every candidate has a gate row.
CITE_NOTHING = {"decisions", "audiences"}


def cited(world):
    return {row["snapshot_id"] for row in world.ledger.read("cited_snapshots")}


def test_a_plan_and_an_override_are_cited_and_a_mere_gate_row_is_not(world):
    record, now = world.ledger.gates.record, world.now
    record(snapshot_id="refreshed", status="passed", checks=[], reasons=[], as_of=now, now=now)
    record(snapshot_id=None, status="held", checks=[], reasons=["x"], as_of=now, now=now)
    assert cited(world) == {world.plan.snapshot_id}
    how = {"overridden_by": "Grace", "override_reason": "a known gap"}
    record(snapshot_id="let-pass", status="passed", checks=[], reasons=["x"], as_of=now, now=now, **how)
    assert cited(world) == {world.plan.snapshot_id, "let-pass"}


def test_every_table_that_names_a_snapshot_is_asked():
    text = files("uptake.adapters.ledger").joinpath("queries.sql").read_text()
    asked = set(re.findall(r"select snapshot_id from (\w+)", text.split("-- cited_snapshots --")[1].split("\n\n")[0]))
    assert asked == {name for name, table in metadata.tables.items() if "snapshot_id" in table.c} - CITE_NOTHING
