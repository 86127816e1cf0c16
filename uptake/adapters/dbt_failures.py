"""Which rows a failed data test of dbt found: a few of them, by their ids alone, as the suites of GX tell theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from uptake.adapters.check_results import rows_by_id
from uptake.ports import Check

SAMPLES = 5


def with_rows(warehouse: duckdb.DuckDBPyConnection, checks: Sequence[Check], results: Mapping[str, Any]) -> list[Check]:
    """Return the checks, those that failed with a few of the rows that broke them.

    A test is asked once more, so only what failed costs anything. One whose rows cannot be read any more, or have no
    id, stays as it is: it holds just the same.

    Args:
        warehouse: What dbt has built.
        checks: What came of dbt's tests; others are left as they are.
        results: dbt's result of each node, by unique id.
    """
    tests = {f"dbt:{one.node.name}": one.node for one in results.values() if one.node.resource_type == "test"}
    return [
        replace(check, rows=_rows(warehouse, tests[check.name], results))
        if check.status == "failed" and check.name in tests
        else check
        for check in checks
    ]


def _rows(warehouse: duckdb.DuckDBPyConnection, test: Any, results: Mapping[str, Any]) -> tuple[str, ...]:
    query = _query(test, results.get(getattr(test, "attached_node", None) or ""))
    try:
        return rows_by_id(warehouse.execute(f"select * from (\n{query}\n) limit {SAMPLES}"))  # noqa: S608
    except duckdb.Error:  # a test may read what only dbt's own session has
        return ()


def _query(test: Any, tested: Any) -> str:
    """Return a query for the rows that broke a test.

    A test of one column selects its values (NULL, doubled, of nobody, unknown), so that the rows are those of the model
    with these values. Any other test selects rows itself.
    """
    relation = getattr(getattr(tested, "node", None), "relation_name", None)
    if not getattr(test, "column_name", None) or relation is None:
        return str(test.compiled_code)
    column = '"' + test.column_name.replace('"', '""') + '"'
    return (
        f"select tested.* from {relation} as tested"  # noqa: S608
        f" semi join (\n{test.compiled_code}\n) as found(broken) on tested.{column} is not distinct from found.broken"
    )
