"""Python and dbt name the same marts, columns and types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import yaml

from uptake.adapters.marts import CONDITION_MARTS, MARTS

_DUCKDB = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us"): "TIMESTAMP",
    pa.date32(): "DATE",
}
_EXPECTED = {mart: [(field.name, _DUCKDB[field.type]) for field in schema] for mart, schema in MARTS.items()}


def test_the_contracts_of_dbt_are_the_marts_that_python_reads(root: Path):
    declared = {}
    for path in sorted((root / "dbt_project/models/marts").rglob("_*__models.yml")):
        for model in yaml.safe_load(path.read_text())["models"]:
            declared[model["name"]] = [(column["name"], column["data_type"].upper()) for column in model["columns"]]
            assert all(column["description"] for column in model["columns"]), model["name"]
    assert declared == _EXPECTED


def test_every_model_says_its_grain_in_its_first_line(root: Path):
    models = sorted((root / "dbt_project/models").rglob("*.sql"))
    assert len(models) > 30
    assert [path.name for path in models if not path.read_text().startswith("-- grain: one row")] == []


def test_what_conditions_name_is_a_mart():
    assert set(CONDITION_MARTS.values()) <= set(MARTS)


@pytest.mark.slow
def test_an_engineer_builds_the_sample_alone_and_the_tables_keep_the_contract(root: Path, tmp_path: Path):
    project = tmp_path / "dbt_project"
    for path in sorted((root / "dbt_project").rglob("*")):
        name = path.relative_to(root / "dbt_project")
        if path.is_file() and name.parts[0] not in ("target", "logs") and path.suffix not in (".duckdb", ".wal"):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_bytes(path.read_bytes())
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("UPTAKE_", "DBT_"))}

    dbt = Path(sys.executable).with_name("dbt")
    done = subprocess.run([dbt, "build"], cwd=project, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:]
    with duckdb.connect(str(project / "uptake_dev.duckdb"), read_only=True) as session:
        found = {
            mart: [row[:2] for row in session.sql(f"describe marts.{mart}").fetchall()]
            for (mart,) in session.sql("select table_name from duckdb_tables() where schema_name = 'marts'").fetchall()
        }
        used = session.sql("select count(*) from marts.account_features where days_used_28 > 0").fetchall()
    assert found == _EXPECTED
    assert used[0][0] > 0
