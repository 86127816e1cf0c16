"""What a snapshot remembers of its marts: a few sums and shares that the next one is compared with.

Lives in the manifest, so that no check has to open an old snapshot. Knows nothing of what is plausible: that is
`history_checks`. Counts only, no id of an account or a person.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import duckdb

DAYS = 35  # the window of every share, and a week that late events may still change
UNKNOWN = "unknown"
SCALES = ("arr", "seats", "quantity_per_event")

_FIRST_DAY = f"(select max(date_day) - {DAYS - 1} from marts.fct_account_feature_daily)"  # noqa: S608
_LAST_DAYS = f"date_day >= {_FIRST_DAY}"


def first_day(warehouse: duckdb.DuckDBPyConnection) -> date | None:
    """Return the day that the last days begin with, whether anything happened on it or not; None without usage."""
    found = warehouse.execute(f"select {_FIRST_DAY}").fetchone()
    return found[0] if found else None


def days(warehouse: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return the events of each of the last days: {'2026-03-01': 210}."""
    return _counts(
        warehouse,
        "select strftime(date_day, '%Y-%m-%d'), sum(count_events)::bigint"  # noqa: S608
        f" from marts.fct_account_feature_daily where {_LAST_DAYS} group by 1 order by 1",
    )


def feature_weeks(warehouse: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Return the events of each feature in each of the last weeks, by their Mondays."""
    return _nested(
        warehouse,
        "select feature_key, strftime(date_trunc('week', date_day), '%Y-%m-%d'), sum(count_events)::bigint"  # noqa: S608
        f" from marts.fct_account_feature_daily where {_LAST_DAYS} group by 1, 2 order by 1, 2",
    )


def states(warehouse: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Return how many accounts are in which state of adoption, by feature."""
    return _nested(
        warehouse,
        f"select feature_key, coalesce(adoption_state, '{UNKNOWN}'), count(*) from marts.account_features"  # noqa: S608
        " group by 1, 2 order by 1, 2",
    )


def breadth(warehouse: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return how many accounts have which breadth of adoption, in tenths."""
    return _counts(
        warehouse,
        "select coalesce(format('{:.1f}', floor(adoption_breadth * 10) / 10)"  # noqa: S608
        f", '{UNKNOWN}'), count(*) from marts.accounts_current group by 1 order by 1",
    )


def accounts(warehouse: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return how many accounts are on which plan, and have left or are our own: what audiences and exits ask first."""
    return _counts(
        warehouse,
        f"select concat_ws(', ', coalesce(plan, '{UNKNOWN}'), case when churned then 'churned' end,"  # noqa: S608
        " case when is_internal then 'internal' end), count(*) from marts.accounts_current group by 1 order by 1",
    )


def scales(warehouse: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """Return what one of each usually is: the median money and seats of an account, the quantity of an event."""
    found = warehouse.execute(
        "select median(arr) filter (where arr > 0), median(seats) filter (where seats > 0),"
        " (select sum(sum_quantity) / sum(count_events) from marts.fct_account_feature_daily)"
        " from marts.accounts_current"
    ).fetchone() or (None, None, None)
    return {name: float(value) for name, value in zip(SCALES, found, strict=True) if value}


def hit(warehouse: duckdb.DuckDBPyConnection) -> dict[str, bool]:
    """Return for each catalogued feature whether anybody ever used it."""
    rows = warehouse.execute(
        "select feature_key, feature_key in (select distinct feature_key from marts.fct_account_feature_daily)"
        " from marts.dim_features where feature_key is not null order by 1"
    ).fetchall()
    return dict(rows)


#: Part of a profile -> how it is found.
PARTS: dict[str, Callable[[duckdb.DuckDBPyConnection], Any]] = {
    "days": days,
    "feature_weeks": feature_weeks,
    "states": states,
    "breadth": breadth,
    "accounts": accounts,
    "scales": scales,
    "hit": hit,
}


def profile(warehouse: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return the whole profile of the marts in schema `marts`, as JSON takes it. Raises duckdb.Error."""
    return {name: find(warehouse) for name, find in PARTS.items()}


def _counts(warehouse: duckdb.DuckDBPyConnection, query: str) -> dict[str, int]:
    return dict(warehouse.execute(query).fetchall())


def _nested(warehouse: duckdb.DuckDBPyConnection, query: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for outer, inner, count in warehouse.execute(query).fetchall():
        found.setdefault(outer, {})[inner] = count
    return found
