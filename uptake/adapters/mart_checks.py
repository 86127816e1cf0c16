"""What Great Expectations cannot know of candidate marts: their contract, the snapshot before, and the moment.

Nothing in here turns an exception into a pass: what could not be decided is a check of status `errored`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Literal

import duckdb
import pyarrow as pa

from uptake.adapters.marts import MARTS
from uptake.ports import Build, Check

MAX_FALL = 0.3  # of a mart's rows, against the snapshot before
MAX_RISE = 3.0  # times as many rows
NOISE = 10  # a change of so few rows is a small base breathing
MAX_LAG = timedelta(hours=36)  # from the end of the last day with usage to as_of
GROWS_FREELY = frozenset({"fct_outcomes"})  # one row per enrollment: a new playbook multiplies them
USAGE = "fct_account_feature_daily"
NAMES = frozenset({f"gate:{what}:{mart}" for what in ("columns", "rows") for mart in MARTS} | {"gate:freshness"})

Severity = Literal["critical", "warning"]
Status = Literal["passed", "failed", "errored", "missing", "baseline"]

_TYPES: dict[pa.DataType, str] = {
    pa.string(): r"VARCHAR|ENUM\(.*\)",
    pa.int64(): "BIGINT|INTEGER|SMALLINT|TINYINT|HUGEINT",
    pa.float64(): "DOUBLE|FLOAT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us"): "TIMESTAMP|TIMESTAMP_S|TIMESTAMP_MS|TIMESTAMP_NS",
    pa.date32(): "DATE",
}
_ADDRESS = re.compile(r"\S+@\S+")


def check_marts(build: Build, history: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    """Compare the candidate marts with their contract, with the snapshot before, and with as_of."""
    try:
        warehouse = duckdb.connect(str(build.warehouse), read_only=True)
    except duckdb.Error as error:
        yield from (checked(name, "errored", told(error)) for name in sorted(NAMES))
        return
    with warehouse:
        for mart, schema in MARTS.items():
            yield _decided(f"gate:columns:{mart}", partial(_columns, warehouse, mart, schema))
            yield _decided(f"gate:rows:{mart}", partial(_volume, warehouse, mart, build.as_of, history))
        yield _decided("gate:freshness", partial(_freshness, warehouse, build.as_of))


def _decided(name: str, decide: Callable[[], tuple[Status, str]]) -> Check:
    """Return the check that `decide` comes to; an exception is an error, never a pass."""
    try:
        status, detail = decide()
    except Exception as error:
        return checked(name, "errored", told(error))
    return checked(name, status, detail)


def _columns(warehouse: duckdb.DuckDBPyConnection, mart: str, schema: pa.Schema) -> tuple[Status, str]:
    """Compare names and types with the contract; further columns do no harm."""
    found = dict(
        warehouse.execute(
            "select column_name, data_type from duckdb_columns() where schema_name = 'marts' and table_name = ?", [mart]
        ).fetchall()
    )
    if not found:
        return "missing", f"marts.{mart} is not in the warehouse"
    for field in schema:
        if field.name not in found:
            return "failed", f"column {field.name} is missing; found {', '.join(sorted(found))}"
        if not re.fullmatch(_TYPES[field.type], found[field.name]):
            wanted = _TYPES[field.type].split("|")[0]
            return "failed", f"column {field.name} is of type {found[field.name]}, expected {wanted}"
    return "passed", ""


def _volume(
    warehouse: duckdb.DuckDBPyConnection, mart: str, as_of: datetime, history: Sequence[Mapping[str, Any]]
) -> tuple[Status, str]:
    """Compare the number of rows with the snapshot nearest in time."""
    before = min(history, key=lambda manifest: abs(_moment(manifest) - as_of), default=None)
    (now,) = warehouse.execute(f"select count(*) from marts.{mart}").fetchone() or (0,)  # noqa: S608
    if before is None or mart not in before["row_counts"]:
        return "baseline", f"{now} rows, no earlier snapshot"
    then = int(before["row_counts"][mart])
    seen = f"{now} rows; {then} in snapshot {before['snapshot_id']}"
    if then > 0 and now == 0:
        return "failed", f"{seen}, expected more than none"
    if abs(now - then) <= NOISE:
        return "passed", seen
    if now < then * (1 - MAX_FALL):
        return "failed", f"{seen}, expected a fall of at most {MAX_FALL:.0%}"
    if now > then * MAX_RISE and then > 0 and mart not in GROWS_FREELY:
        return "failed", f"{seen}, expected at most {MAX_RISE:g} times as many"
    return "passed", seen


def _freshness(warehouse: duckdb.DuckDBPyConnection, as_of: datetime) -> tuple[Status, str]:
    """Compare the last day with usage with as_of. A day counts as seen to its end: marts know days, not hours."""
    (last,) = warehouse.execute(f"select max(date_day) from marts.{USAGE}").fetchone() or (None,)  # noqa: S608
    as_of = as_of.astimezone(UTC)
    if last is None:
        return "failed", f"no usage at all; expected some up to as_of {as_of:%Y-%m-%d %H:%M}"
    assert isinstance(last, date)
    seen = f"last usage on {last:%Y-%m-%d}, as_of {as_of:%Y-%m-%d %H:%M}"
    if last > as_of.date():
        return "failed", f"{seen}; expected none after as_of"
    lag = as_of - datetime.combine(last + timedelta(days=1), time(), UTC)
    if lag > MAX_LAG:
        return "failed", f"{seen}; expected at most {MAX_LAG / timedelta(hours=1):g} hours after that day"
    return "passed", seen


def _moment(manifest: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(manifest["as_of"])


def checked(name: str, status: Status, detail: str, severity: Severity = "critical") -> Check:
    """Return a check that was decided."""
    return Check(name=name, status=status, severity=severity, detail=detail)


def told(error: BaseException | str) -> str:
    """Return what went wrong in one line, without an address in it."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return _ADDRESS.sub("(address)", " ".join(text.split()))[:400] or "no message"
