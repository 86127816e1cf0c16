"""The gate counts the days of a daily fact as bits; it finds just what grouping by the whole key would."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SUITE = Path(__file__).parents[2] / "expectations" / "fct_account_feature_daily.json"
RULE = "one_row_per_account_and_feature_and_date"

Key = tuple[str | None, str | None, date | None]

#: Few keys, so that they meet; days on both sides of where the bits of a number end, of 1970 and of 2000.
KEYS = st.tuples(
    st.sampled_from(["a", "b", None]),
    st.sampled_from(["f", "g", None]),
    st.one_of(
        st.none(),
        st.integers(-70, 70).map(lambda days: date(2026, 3, 1) + timedelta(days=days)),
        st.sampled_from([date(1969, 12, 31), date(1970, 1, 1), date(1, 1, 1), date(9999, 12, 31)]),
    ),
)


@pytest.fixture(scope="module")
def warehouse() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create table daily (account_id varchar, feature_key varchar, date_day date)")
    return connection


@settings(max_examples=150, deadline=None)
@given(keys=st.lists(KEYS, max_size=40), again=st.lists(st.integers(0, 39), max_size=3))
def test_the_gate_finds_each_key_that_is_there_twice_or_is_no_key(
    warehouse: duckdb.DuckDBPyConnection, keys: list[Key], again: list[int]
) -> None:
    rows = [*keys, *(keys[place] for place in again if place < len(keys))]
    warehouse.execute("delete from daily")
    if rows:
        warehouse.executemany("insert into daily values (?, ?, ?)", rows)

    found = set(warehouse.execute(_query()).fetchall())

    assert found == {key for key, count in Counter(rows).items() if count > 1 or None in key}


def _query() -> str:
    rules = json.loads(SUITE.read_text())["expectations"]
    (query,) = (one["kwargs"]["unexpected_rows_query"] for one in rules if one["meta"].get("rule") == RULE)
    return str(query.format(batch="daily"))
