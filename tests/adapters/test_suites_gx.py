from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa

from uptake.adapters.check_results import shown as told_value
from uptake.adapters.check_results import told
from uptake.adapters.gx_duckdb import address
from uptake.adapters.marts import MARTS
from uptake.adapters.suites_gx import GxSuites
from uptake.ports import Build

AS_OF = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)


@pytest.fixture
def empty(tmp_path: Path) -> Build:
    """A build whose marts are all there and all empty."""
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema marts; create schema staging")
        connection.execute("create table staging.stg_usage_events (occurred_at timestamp, user_id varchar)")
        for mart, schema in MARTS.items():
            connection.register("rows", schema.empty_table())
            connection.execute(f"create table marts.{mart} as from rows")
    return Build(warehouse=path, invocation_id="i", as_of=AS_OF, checks=(), counts={}, unmapped_events={})


def test_the_dialect_reads_rows_after_its_connection_was_given_back(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        connection.execute("create table t as select i from range(5000) r(i)")
    engine = sa.create_engine(address(tmp_path / "x.duckdb"))
    with engine.connect() as connection:
        result = connection.execute(sa.text("select i from t order by i"))
    assert [row[0] for row in result.fetchall()] == list(range(5000))
    engine.dispose()


def test_the_dialect_cannot_write(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "x.duckdb")).close()
    engine = sa.create_engine(address(tmp_path / "x.duckdb"))
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="read-only"):
        connection.execute(sa.text("create table t (i int)"))
    engine.dispose()


def test_the_dialect_describes_tables_and_views(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        connection.execute("create schema s")
        connection.execute("create table s.t (a varchar not null, b date)")
        connection.execute("create view s.v as from s.t")
    engine = sa.create_engine(address(tmp_path / "x.duckdb"))
    inspector = sa.inspect(engine)
    assert set(inspector.get_schema_names()) >= {"main", "s"}
    assert (inspector.get_table_names("s"), inspector.get_view_names("s")) == (["t"], ["v"])
    assert [(column["name"], column["nullable"]) for column in inspector.get_columns("t", "s")] == [
        ("a", False),
        ("b", True),
    ]
    assert inspector.has_table("v", "s")
    assert not inspector.has_table("w", "s")
    with pytest.raises(sa.exc.NoSuchTableError):
        inspector.get_columns("w", "s")
    engine.dispose()


def test_the_warehouse_can_be_written_again_after_a_run(root: Path, tmp_path: Path, empty: Build) -> None:
    GxSuites(root / "expectations", tmp_path / "home").run(empty, history=[])
    with duckdb.connect(str(empty.warehouse)) as connection:
        connection.execute("create table more (i int)")


def test_marts_without_a_row_do_not_pass(root: Path, tmp_path: Path, empty: Build) -> None:
    checks = GxSuites(root / "expectations", tmp_path / "home").run(empty, history=[])
    held = {check.name for check in checks if check.blocks}
    # A log without users has no contacts; one that names users, as this one does, must have some.
    may_be_empty = {"fct_outcomes", "feature_recommendations", "fct_account_health_weekly"}
    may_be_empty |= {"dim_contacts", "contacts_current", "contact_features"}
    assert held == {
        "gate:freshness",
        "gx:dim_contacts:unexpected_rows_expectation:who_acts_is_somebody",
        *(f"gx:{mart}:expect_table_row_count_to_be_between" for mart in set(MARTS) - may_be_empty),
    }


def test_gx_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, uptake.adapters.suites_gx; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, "3"),
        (1.5, "1.5"),
        ("adopted", "adopted"),
        ("2026-03-02", "2026-03-02"),
        ("jane@example.invalid", "(text not shown)"),
        ("Jane Doe", "(text not shown)"),
        ("<b>", "(text not shown)"),
        (["a", "b c"], "a, (text not shown)"),
    ],
)
def test_only_plain_values_are_shown(value: Any, shown: str) -> None:
    assert told_value(value) == shown


def test_an_error_is_told_in_one_line_without_an_address() -> None:
    assert told(ValueError("\nno row for jane@example.invalid\nat x")) == "ValueError: no row for (address) at x"
