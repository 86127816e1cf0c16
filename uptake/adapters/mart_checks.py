"""What Great Expectations cannot know of candidate marts: their contract, the snapshots before, and the moment.

Nothing in here turns an exception into a pass: what could not be decided is a check of status `errored`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa

from uptake.adapters import history_checks
from uptake.adapters.check_results import Status, checked, told
from uptake.adapters.freshness import age_at, event_age, known_quiet, newest_event
from uptake.adapters.marts import MARTS
from uptake.ports import Build, Check

MAX_LAG = timedelta(hours=36)  # from the newest event to as_of
SKEW = timedelta(minutes=10)  # clocks differ
MAX_EARLY = 0.01  # of a day's events may lie in the future: somebody's own clock is always wrong
USAGE = "fct_account_feature_daily"
NAMES = frozenset(
    {f"gate:{what}:{mart}" for what in ("columns", "rows") for mart in MARTS}
    | {"gate:freshness", "gate:future", "gate:catalogue", *history_checks.CHECKS}
)

_TYPES: dict[pa.DataType, str] = {
    pa.string(): r"VARCHAR|ENUM\(.*\)",
    pa.int64(): "BIGINT|INTEGER|SMALLINT|TINYINT|HUGEINT",
    pa.float64(): "DOUBLE|FLOAT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us"): "TIMESTAMP|TIMESTAMP_S|TIMESTAMP_MS|TIMESTAMP_NS",
    pa.date32(): "DATE",
}


def check_marts(build: Build, manifests: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[Check]:
    """Compare the candidate marts with their contract, with the snapshots before (their manifests), and with time."""
    try:
        warehouse = duckdb.connect(str(build.warehouse), read_only=True)
    except duckdb.Error as error:
        yield from (checked(name, "errored", told(error)) for name in sorted(NAMES))
        return
    as_of = build.as_of.astimezone(UTC)
    with warehouse:
        for mart, schema in MARTS.items():
            yield _decided(f"gate:columns:{mart}", partial(_columns, warehouse, mart, schema))
        yield _decided("gate:freshness", partial(_freshness, warehouse, as_of))
        yield _decided("gate:future", partial(_future, warehouse, now))
        yield from _compared(warehouse, manifests, as_of)


def _compared(
    warehouse: duckdb.DuckDBPyConnection, manifests: Sequence[Mapping[str, Any]], as_of: datetime
) -> Iterator[Check]:
    """Compare the candidate with its history; one that cannot be read is no history at all."""
    try:
        history = history_checks.history_of(manifests, as_of)
    except Exception as error:
        names = [*(f"gate:rows:{mart}" for mart in MARTS), *history_checks.CHECKS, "gate:catalogue"]
        yield from (checked(name, "errored", told(error)) for name in names)
        return
    for mart in MARTS:
        yield _decided(f"gate:rows:{mart}", partial(history_checks.volume, warehouse, mart, history))
    for name, decide in history_checks.CHECKS.items():
        yield _decided(name, partial(decide, warehouse, history, as_of))
    try:
        (status, detail), holds = history_checks.never_hit(warehouse, history)
        yield checked("gate:catalogue", status, detail, "critical" if holds else "warning")
    except Exception as error:
        yield checked("gate:catalogue", "errored", told(error))


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


def _freshness(warehouse: duckdb.DuckDBPyConnection, as_of: datetime) -> tuple[Status, str]:
    """Compare the newest event with as_of, by when it happened; and see that the marts know of that time, too."""
    newest = newest_event(warehouse, as_of)
    (last,) = warehouse.execute(f"select max(date_day) from marts.{USAGE}").fetchone() or (None,)  # noqa: S608
    moment = f"as_of {as_of:%Y-%m-%d %H:%M}"
    if newest is None or last is None:
        return "failed", f"no usage at all; expected some up to {moment}"
    expected = f"expected at most {MAX_LAG / timedelta(hours=1):g} h"
    age = event_age(warehouse, newest, as_of, MAX_LAG)
    seen = f"at {moment} the newest event, of {newest:%Y-%m-%d %H:%M}, is {age.told}"
    if age.counted > MAX_LAG:
        return "failed", f"{seen}; {expected}"
    told_of = f"last usage on {last:%Y-%m-%d}, {moment}"
    if last > as_of.date():
        return "failed", f"{told_of}; expected none after as_of"
    over = datetime.combine(last + timedelta(days=1), time(), tzinfo=UTC)
    if as_of - over >= MAX_LAG and age_at(as_of, over, known_quiet(warehouse, newest)).counted >= MAX_LAG:
        return "failed", f"{told_of}; {expected} between them"
    return "passed", seen


def _future(warehouse: duckdb.DuckDBPyConnection, now: datetime) -> tuple[Status, str]:
    """Count events and births that lie ahead: a clock, a time zone or a unit has moved."""
    moment = now.astimezone(UTC).replace(tzinfo=None)
    early, day = warehouse.execute(
        "select count(*) filter (where occurred_at > ?), count(*) filter (where occurred_at > ?)"
        " from staging.stg_usage_events where occurred_at > ?",  # what is older need not be read
        [moment + SKEW, moment - timedelta(days=1), moment - timedelta(days=1)],
    ).fetchone() or (0, 0)
    seen = f"{early} of the {day} newest events lie after now, {now:%Y-%m-%d %H:%M}"
    if early > max(history_checks.NOISE, day * MAX_EARLY):
        return "failed", f"{seen}; expected at most {MAX_EARLY:.0%} of them"
    for mart in ("dim_accounts", "dim_contacts"):
        (unborn,) = warehouse.execute(
            f"select count(*) from marts.{mart} where created_at > ?",  # noqa: S608
            [moment + timedelta(days=1)],
        ).fetchone() or (0,)
        if unborn:
            return "failed", f"{unborn} rows of {mart} were created after now, {now:%Y-%m-%d %H:%M}; expected none"
    return "passed", seen
