"""Puts ephemeral models into the SQL that reads them, without taking all of that SQL to pieces.

dbt has sqlparse group every token of a statement to find out whether it begins with `with`: a quarter of the time of a
refresh on little data. Its first words say it, too; whatever else a statement begins with is left to dbt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_AHEAD = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"  # white space and comments
_WITH = re.compile(rf"{_AHEAD}with\b\s*(?:recursive\b\s*)?", re.DOTALL | re.IGNORECASE)
_SELECT = re.compile(rf"{_AHEAD}select\b", re.DOTALL | re.IGNORECASE)


def injected(sql: str, ctes: list[Any]) -> str | None:
    """Return a statement with dbt's `InjectedCTE`s put in front of its own, as dbt would; None when dbt has to."""
    added = ", ".join(str(cte.sql) for cte in ctes)
    if not added:
        return sql
    if found := _WITH.match(sql):
        return f"{sql[: found.end()]}{added}, {sql[found.end() :]}"
    if not _SELECT.match(sql):
        return None
    start = len(sql) - len(sql.lstrip())
    return f"{sql[:start]}with{added} {sql[start:]}"


@contextmanager
def quick_injection() -> Iterator[None]:
    """Let dbt inject like this for a while. Only one invocation may run in it at a time."""
    from dbt import compilation

    by_dbt = compilation.inject_ctes_into_sql

    def inject(sql: str, ctes: list[Any]) -> str:
        found = injected(sql, ctes)
        return by_dbt(sql, ctes) if found is None else found

    compilation.inject_ctes_into_sql = inject
    try:
        yield
    finally:
        compilation.inject_ctes_into_sql = by_dbt
