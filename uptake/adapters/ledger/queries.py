"""Named read queries: each block of `queries.sql` starts with a line `-- name --`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import sqlalchemy as sa

from uptake.adapters.ledger.schema import UtcTime
from uptake.errors import LedgerError

_HEADER = re.compile(r"^-- (\w+) --\n", re.MULTILINE)
_JSON = frozenset({"summary", "reasons", "checks", "facts"})


@cache
def queries() -> Mapping[str, str]:
    """Return all named queries."""
    text = files("uptake.adapters.ledger").joinpath("queries.sql").read_text(encoding="utf-8")
    _, *parts = _HEADER.split(text)
    found = dict(zip(parts[::2], parts[1::2], strict=True))
    assert len(found) == len(parts) // 2, "a query name is used twice"
    return found


def run_query(connection: sa.Connection, name: str, params: Mapping[str, object]) -> list[Mapping[str, Any]]:
    """Run one named query; columns named `..._at` come back as aware times. Raises LedgerError for an unknown name."""
    statement = _statement(name, tuple(sorted(key for key, value in params.items() if isinstance(value, datetime))))
    expected = set(statement._bindparams)
    if expected != set(params):
        raise LedgerError(f"ledger query {name!r} was given {sorted(params)}; expected {sorted(expected)}")
    rows = connection.execute(statement, dict(params)).mappings()
    return [{key: _value(key, value) for key, value in row.items()} for row in rows]


@cache
def _statement(name: str, times: tuple[str, ...]) -> sa.TextClause:
    """Return a query in which these parameters are moments."""
    text = queries().get(name)
    if text is None:
        raise LedgerError(f"no ledger query {name!r}; expected one of {', '.join(sorted(queries()))}")
    statement = sa.text(text)
    known = [key for key in times if key in statement._bindparams]
    return statement.bindparams(*(sa.bindparam(key, type_=UtcTime) for key in known))


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name.endswith("_at"):  # naive UTC in both databases, as text in SQLite
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.replace(tzinfo=UTC)
    return json.loads(value) if name in _JSON else value
