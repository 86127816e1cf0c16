"""A plan line by line, for a spreadsheet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from uptake.summaries.plan_list import COLUMNS, as_rows


def test_a_plan_has_a_line_for_everybody_who_enters_or_is_left_out() -> None:
    contacts = [
        {"account_id": "=a1", "contact_id": "c1", "arm": "treatment", "feature_key": "alerts"},
        {"account_id": "a2", "contact_id": "c2", "arm": "holdout", "feature_key": "alerts"},
    ]
    left_out = [{"account_id": "a3", "contact_id": None, "reason": "churned"}]
    first = [{"contact_id": "c1", "stage_key": "why", "verdict": "retry", "reason": "capped_person"}]
    result: Any = SimpleNamespace(
        entry=SimpleNamespace(contacts=pa.Table.from_pylist(contacts), left_out=pa.Table.from_pylist(left_out)),
        first_tick=pa.Table.from_pylist(first),
    )
    rows = list(as_rows(result))
    assert rows == [
        ["enters", "", "'=a1", "c1", "treatment", "alerts", "why", "retry", "capped_person"],
        ["enters", "", "a2", "c2", "holdout", "alerts", "", "", ""],
        ["left_out", "churned", "a3", "", "", "", "", "", ""],
    ]
    assert {len(row) for row in rows} == {len(COLUMNS)}
