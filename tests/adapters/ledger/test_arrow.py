"""What is staged for one statement is what the database then reads, on SQLite and PostgreSQL alike."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import sqlalchemy as sa

from uptake.adapters.ledger.arrow import fetch, stage, unstage
from uptake.adapters.ledger.store import Store

TEXTS = [
    "",
    None,
    "plain",
    'a "quoted" one',
    "one, two",
    "a\nb\r\nc",
    "\\.",
    "a\n\\.\nb",
    "\\N",
    "NULL",
    "\\",
    " x ",
    "ü€😀",
]


def test_every_value_comes_back_as_it_was_staged(ledger_url):
    count = len(TEXTS)
    rows = pa.table(
        {
            "text": pa.array(TEXTS),
            "number": pa.array([None, *range(-1, count - 2)], pa.int64()),
            "share": pa.array([None, 0.1, 1e-300, *[1 / 3] * (count - 3)], pa.float64()),
            "is_so": pa.array([None, True, *[False] * (count - 2)], pa.bool_()),
            "at": pa.array(
                [None, *[datetime(2026, 3, 29, 1, 2, 3, 4, tzinfo=UTC)] * (count - 1)], pa.timestamp("us", "UTC")
            ).cast(pa.timestamp("us")),
        }
    )
    store = Store(ledger_url, busy_timeout=5)
    with store.write() as connection:
        staged = stage(connection, "anything", pa.concat_tables([rows, rows.slice(0, 0)]))
        found = fetch(connection, sa.select(staged), rows.schema)
        unstage(connection, staged)
    store.close()
    assert found.sort_by("number").to_pylist() == rows.sort_by("number").to_pylist()


def test_statements_about_a_set_staged_again_are_compiled_once(ledger):
    """The table is the same object to them, whatever is in it; other columns make another one."""
    found, seen = [], set()
    for rows in ({"name": ["a", None]}, {"name": ["b"]}, {"name": [3]}):
        with ledger._store.write() as connection:
            staged = stage(connection, "some", pa.table(rows))
            found.append(connection.scalars(sa.select(staged.c.name).order_by(staged.c.name.is_(None))).all())
            unstage(connection, staged)
        seen.add(staged)
    assert found == [["a", None], ["b"], [3]]
    assert len(seen) == 2
