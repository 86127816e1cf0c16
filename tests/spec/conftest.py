"""Tables in, people out: a condition, rows as text, and who matches, on each engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime

import duckdb
import pyarrow as pa
import pytest

from uptake.adapters.conditions_duckdb import column, condition_names, to_expression
from uptake.domain.conditions import ColumnType, Condition, evaluate, parse

Row = dict[str, object]
Engine = Callable[[Condition, list[Row], datetime], list[str]]

_ARROW = {
    ColumnType.TEXT: pa.string(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.BOOL: pa.bool_(),
    ColumnType.DATE: pa.date32(),
    ColumnType.TIMESTAMP: pa.timestamp("us"),
}


def read_table(text: str, columns: Mapping[str, ColumnType]) -> list[Row]:
    """Read `| id | account.plan | ...` and the rows under it; `-` is unknown."""
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.strip().splitlines()]
    head, rows = lines[0], lines[1:]
    return [
        {name: _read(cell, columns[name]) if name != "id" else cell for name, cell in zip(head, row, strict=True)}
        for row in rows
    ]


def _read(cell: str, of: ColumnType) -> object:
    match cell, of:
        case "-", _:
            return None
        case _, ColumnType.NUMBER:
            return float(cell)
        case _, ColumnType.BOOL:
            return {"yes": True, "no": False}[cell]
        case _, ColumnType.DATE:
            return date.fromisoformat(cell)
        case _:
            return cell


def _in_python(condition: Condition, rows: list[Row], now: datetime) -> list[str]:
    return [str(row["id"]) for row in rows if evaluate(condition, row, now)]


def _in_duckdb(condition: Condition, rows: list[Row], now: datetime) -> list[str]:
    types = condition_names("when")
    schema = pa.schema([(name, pa.string() if name == "id" else _ARROW[types[name]]) for name in rows[0]])
    with duckdb.connect() as database:
        relation = database.from_arrow(pa.Table.from_pylist(rows, schema=schema))
        return [row[0] for row in relation.filter(to_expression(condition, now)).select(column("id")).fetchall()]


@pytest.fixture(params=[_in_python, _in_duckdb], ids=["python", "duckdb"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each of the two engines that must agree."""
    found: Engine = request.param
    return found


@pytest.fixture
def matching(engine: Engine, now: datetime) -> Callable[[str, str], list[str]]:
    """Return who of a table matches a condition, today being 2026-03-03."""

    def match(condition: str, table: str) -> list[str]:
        columns = condition_names("when")
        return engine(parse(condition, columns), read_table(table, columns), now)

    return match
