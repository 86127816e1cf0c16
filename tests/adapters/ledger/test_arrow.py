from __future__ import annotations

import pyarrow as pa
import sqlalchemy as sa

from uptake.adapters.ledger.arrow import stage, unstage


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
