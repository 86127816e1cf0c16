"""Failed tests of dbt of every kind, each with a few of its rows by id."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

from uptake.adapters.dbt_failures import SAMPLES, with_rows
from uptake.ports import Check

PROFILE = "p: {target: t, outputs: {t: {type: duckdb, path: '%s', threads: 1}}}"
PROJECT = "{name: p, version: 1.0.0, config-version: 2, profile: p, flags: {send_anonymous_usage_stats: false}}"
USERS = """
select 'a' || n as account_id, 'f' || n as feature_key, case when n > 2 then 'adopted' end as state,
    'jane' || least(n, 3) || '@example.invalid' as address, 'Jane ' || n as given_name
from range(20) as r(n)
union all select 'a1', 'f1', 'unheard of', 'x@example.invalid', 'Jane Doe'
union all select 'joe@example.invalid', 'f2', 'Ask for Joe', 'y@example.invalid', 'Joe'
"""
SCHEMA = """
models:
  - name: users
    data_tests:
      - grain: {name: grain, arguments: {columns: [account_id, feature_key]}}
    columns:
      - name: account_id
        data_tests:
          - unique: {name: unique}
      - name: feature_key
        data_tests:
          - relationships: {name: relationships, arguments: {to: ref('features'), field: feature_key}}
      - name: state
        data_tests:
          - not_null: {name: not_null}
          - accepted_values: {name: accepted_values, arguments: {values: [adopted]}}
      - name: address
        data_tests:
          - unique: {name: unique_of_an_address, config: {severity: warn}}
          - not_null: {name: passes}
"""
#: Every test that fails -> its rows as they are shown.
FAILED = {
    "grain": ("account_id=a1, feature_key=f1",),
    "unique": ("account_id=a1, feature_key=f1", "account_id=a1, feature_key=f1"),
    "relationships": ("account_id=a18, feature_key=f18", "account_id=a19, feature_key=f19"),
    "not_null": ("account_id=a0, feature_key=f0", "account_id=a1, feature_key=f1", "account_id=a2, feature_key=f2"),
    "accepted_values": ("account_id=(text not shown), feature_key=f2", "account_id=a1, feature_key=f1"),
    "unique_of_an_address": tuple(f"account_id=a{n}, feature_key=f{n}" for n in range(3, 8)),
    "of_people": ("account_id=(text not shown)",),
    "of_words": (),
}


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A small project whose tests fail: its warehouse, and dbt's results."""
    project = tmp_path_factory.mktemp("project")
    for folder in ("models", "tests/generic"):
        (project / folder).mkdir(parents=True)
    shutil.copy(root / "dbt_project/tests/generic/grain.sql", project / "tests/generic")
    warehouse = project / "warehouse.duckdb"
    (project / "dbt_project.yml").write_text(PROJECT)
    (project / "profiles.yml").write_text(PROFILE % warehouse)
    (project / "models/users.sql").write_text(f"{{{{ config(materialized='table') }}}} {USERS}")
    (project / "models/features.sql").write_text("select 'f' || n as feature_key from range(18) as r(n)")
    (project / "models/schema.yml").write_text(SCHEMA)
    (project / "tests/of_people.sql").write_text(
        "select account_id, given_name from {{ ref('users') }} where given_name = 'Joe' -- people"
    )
    (project / "tests/of_words.sql").write_text("select given_name, address from {{ ref('users') }}")
    places = ["--project-dir", str(project), "--profiles-dir", str(project), "--log-level-file", "none"]
    outcome: Any = dbtRunner().invoke(["build", *places, "--log-level", "none", "--no-write-json"])
    if DuckDBConnectionManager._ENV is not None:
        DuckDBConnectionManager._ENV.close()
    DuckDBConnectionManager.close_all_connections()
    assert outcome.exception is None
    return warehouse, {result.node.unique_id: result for result in outcome.result}


def checks_of(results: dict[str, Any]) -> list[Check]:
    return [
        Check(
            name=f"dbt:{one.node.name}",
            status="passed" if one.status == "pass" else "failed",
            severity="warning" if one.status == "warn" else "critical",
        )
        for one in results.values()
        if one.node.resource_type == "test"
    ]


def test_rows_that_broke_a_test_are_told_by_their_ids_alone(built: tuple[Path, dict[str, Any]]) -> None:
    warehouse, results = built
    with duckdb.connect(str(warehouse), read_only=True) as session:
        found = {check.name.removeprefix("dbt:"): check for check in with_rows(session, checks_of(results), results)}
    assert found.pop("passes").rows == ()
    assert {name: tuple(sorted(check.rows)) for name, check in found.items()} == FAILED
    assert max(len(check.rows) for check in found.values()) == SAMPLES
    told = "".join("".join(check.rows) for check in found.values())
    assert not any(word in told for word in ("@", "jane", "Jane", "Joe", "unheard"))


def test_a_test_that_cannot_be_asked_again_fails_all_the_same(built: tuple[Path, dict[str, Any]]) -> None:
    _, results = built
    checks = checks_of(results)
    with duckdb.connect() as empty:
        assert with_rows(empty, checks, results) == checks


def test_other_checks_are_left_as_they_are(built: tuple[Path, dict[str, Any]]) -> None:
    of_nobody = Check(name="dbt:source_freshness:x.events", status="failed", severity="critical")
    with duckdb.connect() as empty:
        assert with_rows(empty, [of_nobody], built[1]) == [of_nobody]
