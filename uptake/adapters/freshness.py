"""How old the newest event of a source is, by when it happened, against the limits that the source declares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from uptake.adapters.check_results import Severity, checked, told
from uptake.ports import Check

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

    from uptake.adapters.source_mapping import MappingFile

#: How old the newest event may be, and what it is when it is older; the strictest last.
Limits = tuple[tuple[timedelta, Severity], ...]

_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}


def declared_limits(manifest: Manifest, source: str) -> Limits:
    """Return the `freshness` that a source's `events` declare in dbt; none when they declare none."""
    for node in manifest.sources.values():
        if (node.source_name, node.name) == (source, "events") and node.freshness is not None:
            declared: tuple[tuple[Any, Severity], ...] = (
                (node.freshness.error_after, "critical"),
                (node.freshness.warn_after, "warning"),
            )
            return tuple((limit.count * _UNITS[str(limit.period)], severity) for limit, severity in declared if limit)
    return ()


def mapped_limits(mapping: MappingFile) -> Limits:
    """Return the `fresh_within` of a mapping."""
    return ((mapping.mapping.fresh_within, "critical"),)


def source_freshness(warehouse: duckdb.DuckDBPyConnection, source: str, limits: Limits, as_of: datetime) -> Check:
    """Compare the age of the newest event, against as_of, with the limits of its source."""
    name = f"dbt:source_freshness:{source}.events"
    if not any(severity == "critical" for _, severity in limits):
        return checked(name, "missing", "the source declares no error_after")
    try:
        newest = warehouse.execute(
            "select max(occurred_at) from staging.stg_usage_events where occurred_at <= ?", [as_of.replace(tzinfo=None)]
        ).fetchone()
    except duckdb.Error as error:
        return checked(name, "errored", told(error))
    if newest is None or newest[0] is None:
        return checked(name, "failed", f"no event up to {as_of:%Y-%m-%d %H:%M}")
    age = as_of - newest[0].replace(tzinfo=UTC)
    detail = f"the newest event is {_told(age)} older than as_of"
    for limit, severity in limits:
        if age > limit:
            return checked(name, "failed", f"{detail}; expected at most {_told(limit)}", severity)
    return checked(name, "passed", detail)


def _told(duration: timedelta) -> str:
    hours = duration.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 and hours % 24 == 0 else f"{hours:.1f} h"
