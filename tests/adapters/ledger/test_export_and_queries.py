from __future__ import annotations

import re
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uptake.adapters.ledger.queries import queries
from uptake.errors import LedgerError

TABLES = ("enrollments", "enrollment_contacts", "sends", "delivery_events", "decisions", "preferences")
PARAMS = {
    "contact_id": "c",
    "account_id": "a",
    "send_id": "s",
    "snapshot_id": "s",
    "count": 5,
    "at_most": 5,
    "task_id": 1,
    "since": datetime(2026, 3, 3, tzinfo=UTC),
}


def contract(root, table):
    """Column names as docs/contracts.md lists them."""
    section = (root / "docs" / "contracts.md").read_text().split("## Ledger export")[1].split("\n## ")[0]
    (line,) = re.findall(rf"^`{table}`: (.*)\.$", section, re.MULTILINE)
    return [column.split()[0] for column in line.split(", ")]


def test_the_export_is_typed_when_empty(world, tmp_path, root):
    world.ledger.export(tmp_path / "export")
    for table in TABLES:
        schema = pq.read_schema(tmp_path / "export" / f"{table}.parquet")
        assert schema.names == contract(root, table)
        for field in schema:
            assert field.type == (
                pa.timestamp("us")
                if field.name.endswith("_at")
                else {
                    "enrollment_id": pa.int64(),
                    "preference_id": pa.int64(),
                    "entry_no": pa.int32(),
                    "is_measured": pa.bool_(),
                }.get(field.name, pa.string())
            )
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == sorted(f"{t}.parquet" for t in TABLES)


def test_the_export_holds_what_happened_and_nobody(world, tmp_path):
    (send_id,) = world.planned(("ann", "a1"))
    world.claim()
    world.intend([send_id])
    world.ledger.sends.accepted([send_id], message_id="m", now=world.now)
    world.ledger.people.answer("ann", kind="already_do", feature_key="dashboards", now=world.now)
    empty = world.ledger.export(tmp_path)
    assert empty is None
    tables = {table: pq.read_table(tmp_path / f"{table}.parquet").to_pylist() for table in TABLES}
    (enrollment,), (send,), (decision,) = tables["enrollments"], tables["sends"], tables["decisions"]
    assert (enrollment["arm"], enrollment["goal_reach"], enrollment["stratum"]) == ("treatment", "adopted", "team")
    assert (send["send_id"], send["status"], send["accepted_at"].replace(tzinfo=UTC)) == (
        send_id,
        "accepted",
        world.now,
    )
    assert (decision["verdict"], decision["stage_key"]) == ("send", "why")
    (answer,) = tables["preferences"]
    assert (answer["contact_id"], answer["answer"], answer["feature_key"]) == ("ann", "already_do", "dashboards")
    assert "ann@" not in str(tables)


@pytest.mark.parametrize("name", sorted(queries()))
def test_every_named_query_runs_on_an_empty_ledger(ledger, name):
    params = {key: PARAMS[key] for key in re.findall(r"(?<!:):(\w+)", queries()[name])}
    assert isinstance(ledger.read(name, **params), list)


def test_an_unknown_query_or_parameter_is_an_error(ledger):
    with pytest.raises(LedgerError, match="no ledger query 'nope'"):
        ledger.read("nope")
    with pytest.raises(LedgerError, match="expected \\['send_id'\\]"):
        ledger.read("send", id="x")


def test_overviews_count(world):
    world.planned(("ann", "a1"), ("bob", "a1"))
    world.record(("bob", "how", "retry", "outside_window"))
    (row,) = world.ledger.read("enrollments_by_playbook")
    assert (row["arm"], row["status"], row["count_enrollments"], row["count_contacts"]) == ("treatment", "open", 1, 2)
    (row,) = world.ledger.read("sends_by_playbook")
    assert (row["status"], row["count_sends"]) == ("planned", 2)
    (row,) = world.ledger.read("withheld_by_reason")
    assert (row["reason"], row["count_contacts"]) == ("outside_window", 1)
    (row,) = world.ledger.read("planned_by_day")
    assert (row["due_on"], row["count_sends"]) == ("2026-03-03", 2)
    assert world.ledger.read("playbooks_of_account", account_id="a1") == [{"playbook": "dashboards"}]
    whats = [row["what"] for row in world.ledger.read("contact_history", contact_id="ann")]
    assert sorted(whats) == ["decided", "entered", "sent"]
