"""Python and dbt name the same marts, columns and types."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
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
EXPECTED = {mart: [(field.name, _DUCKDB[field.type]) for field in schema] for mart, schema in MARTS.items()}


def test_the_contracts_of_dbt_are_the_marts_that_python_reads(root: Path):
    declared = {}
    for path in sorted((root / "dbt_project/models/marts").rglob("_*__models.yml")):
        for model in yaml.safe_load(path.read_text())["models"]:
            declared[model["name"]] = [(column["name"], column["data_type"].upper()) for column in model["columns"]]
            assert all(column["description"] for column in model["columns"]), model["name"]
    assert declared == EXPECTED


def test_every_model_says_its_grain_in_its_first_line(root: Path):
    models = sorted((root / "dbt_project/models").rglob("*.sql"))
    assert len(models) > 30
    assert [path.name for path in models if not path.read_text().startswith("-- grain: one row")] == []


def test_what_conditions_name_is_a_mart():
    assert set(CONDITION_MARTS.values()) <= set(MARTS)
