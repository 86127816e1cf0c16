"""One statement asks what Great Expectations asks in hundreds, and its own engine comes to the same verdicts."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from uptake.adapters import suites_gx
from uptake.adapters.gx_one_statement import ask

pytestmark = pytest.mark.slow

ROWS = """
create schema marts;
create table marts.m as select * from (values
    ('a1', 1.0, 'team', date '2026-01-01', 3),
    ('a2', 2.5, 'free', date '2026-01-02', null),
    ('a3', -1.0, null, date '1999-01-01', 7),
    (null, 'nan'::double, 'Team', null, 30),
    ('a3', null, 'team', date '2026-01-05', 0)
) as t(account_id, share, plan, date_day, days)
"""


def rule(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "meta": {}}


RULES = [
    rule("expect_table_row_count_to_be_between", min_value=1),
    rule("expect_table_row_count_to_be_between", min_value=6, max_value=9),
    rule("expect_table_columns_to_match_set", column_set=["account_id", "share", "plan"], exact_match=False),
    rule("expect_table_columns_to_match_set", column_set=["account_id", "gone"], exact_match=False),
    rule("expect_column_values_to_not_be_null", column="account_id"),
    rule("expect_column_values_to_not_be_null", column="account_id", mostly=0.8),
    rule("expect_column_values_to_be_between", column="share", min_value=0, max_value=2),
    rule("expect_column_values_to_be_between", column="share", min_value=-1, max_value=2.5),
    rule("expect_column_values_to_be_between", column="share", min_value=-1, strict_min=True),
    rule("expect_column_values_to_be_between", column="days", max_value=30, strict_max=True),
    rule("expect_column_values_to_be_between", column="days", min_value=0, max_value=30),
    rule("expect_column_values_to_be_in_set", column="plan", value_set=["team", "free"]),
    rule("expect_column_values_to_be_in_set", column="plan", value_set=["team", "free", "Team"]),
    rule("expect_column_values_to_be_in_set", column="days", value_set=[0, 3, 7, 30]),
    rule("unexpected_rows_expectation", unexpected_rows_query="select account_id from {batch} where days > 28"),
    rule("unexpected_rows_expectation", unexpected_rows_query="select account_id from {batch} where days > 99;"),
    rule(
        "unexpected_rows_expectation",
        unexpected_rows_query="select days from {batch} where not regexp_full_match(account_id, '[a-z][0-9]{{1}}')",
    ),
]
#: Not in the one statement's language: GX's own engine is asked.
LEFT = [
    rule("expect_column_mean_to_be_between", column="days", min_value=0, max_value=20),
    rule("expect_column_distinct_values_to_be_in_set", column="plan", value_set=["team"]),
    rule("expect_column_values_to_be_in_set", column="plan", value_set=[]),
]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("one") / "w.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(ROWS)
    return path


def suite_of(*rules: dict[str, Any]) -> Any:
    import great_expectations as gx

    return gx.ExpectationSuite(name="m", expectations=[one | {"meta": {"rule": str(n)}} for n, one in enumerate(rules)])


def test_both_ways_come_to_the_same_verdicts_and_counts(warehouse: Path) -> None:
    suite = suite_of(*RULES)
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        found = ask(connection, "marts", "m", suite.expectations)
    with suites_gx._gx_quiet(), suites_gx._gx_warehouse(warehouse) as source:
        batch = source.add_table_asset(name="m", table_name="m", schema_name="marts")
        whole = batch.add_batch_definition_whole_table("all").get_batch()
        by_gx = whole.validate(suite, result_format={"result_format": "SUMMARY"}).results
    assert None not in found
    theirs_of = {one.expectation_config.meta["rule"]: one for one in by_gx}  # it has an order of its own
    assert len(theirs_of) == len(RULES)
    for ours in found:
        assert ours is not None
        result = ours[0]
        theirs = theirs_of[result.expectation_config.meta["rule"]]
        assert (result.success, result.result.get("unexpected_count"), result.result.get("observed_value")) == (
            theirs.success,
            theirs.result.get("unexpected_count"),
            theirs.result.get("observed_value"),
        ), result.expectation_config
    assert {ours[0].success for ours in found if ours is not None} == {True, False}


def test_what_it_does_not_know_is_left_to_gx_and_still_decided(warehouse: Path) -> None:
    suite = suite_of(RULES[4], *LEFT)
    place = suites_gx.Suite(file="m.json", schema="marts", relation="m")
    with suites_gx._gx_quiet(), duckdb.connect(str(warehouse), read_only=True) as connection:
        assert [one is None for one in ask(connection, "marts", "m", suite.expectations)] == [False, True, True, True]
        results = suites_gx._validate(suite, place, connection, warehouse)
    assert [one.success for one, _ in results] == [False, True, False, False]


def test_rows_that_broke_a_rule_are_told_by_their_ids_alone(warehouse: Path) -> None:
    suite = suite_of(
        rule("expect_column_values_to_be_between", column="days", max_value=5),
        rule("unexpected_rows_expectation", unexpected_rows_query="select plan, share from {batch}"),
    )
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        found = ask(connection, "marts", "m", suite.expectations)
    assert found[0] is not None
    assert found[0][1] == (f"account_id=a3, date_day={date(1999, 1, 1)}", "account_id=None, date_day=None")
    assert found[1] is not None
    assert (found[1][0].success, found[1][1]) == (False, ())


def test_one_broken_rule_is_an_error_and_hides_nothing(warehouse: Path) -> None:
    suite = suite_of(
        RULES[4],
        rule("unexpected_rows_expectation", unexpected_rows_query="select nothing from {batch}"),
        rule("expect_column_values_to_not_be_null", column="gone"),
        RULES[0],
    )
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        found = [one[0] for one in ask(connection, "marts", "m", suite.expectations) if one is not None]
    assert [one.success for one in found] == [False, False, False, True]
    assert [bool(one.exception_info.get("raised_exception")) for one in found] == [False, True, True, False]
