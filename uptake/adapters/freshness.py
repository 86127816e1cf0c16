"""How old the newest event is, by when it happened; days on which a log never has any are no sign that it broke off.

A log that rests at weekends is two days older on Monday morning. So age counts without the weekdays on which this
very log had hardly any events in each of its last weeks. What cannot be learned is not left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from uptake.adapters.check_results import Severity, checked, told
from uptake.ports import Check

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

    from uptake.adapters.source_mapping import MappingFile

#: How old the newest event may be, and what it is when it is older; the strictest last.
Limits = tuple[tuple[timedelta, Severity], ...]

WEEKS = 6  # in each of which a weekday was quiet: one that was so by chance will not be so six times
HARDLY = 0.1  # of the mean day's events
FEWEST = 10  # events of a mean day: of fewer, a tenth is less than one
MOST = timedelta(days=4)  # that are ever left out, whatever was learned: a log that broke off must be found

_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_DAY = timedelta(days=1)
_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, kw_only=True)
class Age:
    """How old something is at a moment.

    plain: By the clock.
    counted: Without quiet days; never more than `plain`, never less than it by over `MOST`.
    quiet: Names of the weekdays that were left out.
    """

    plain: timedelta
    counted: timedelta
    quiet: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """Say what was counted and what was not."""
        if not self.quiet:
            return f"{_told(self.plain)} old"
        days = " and ".join(filter(None, (", ".join(self.quiet[:-1]), self.quiet[-1])))
        text = f"{_told(self.plain)} old, {_told(self.counted)} without {days}, on which this log has hardly any events"
        return f"{text} (no more than {_told(MOST)} are left out)" if self.plain - self.counted == MOST else text


def quiet_weekdays(days: Mapping[date, int], before: date) -> frozenset[int]:
    """Return the weekdays (Monday is 0) on which a log hardly has any events, by its last whole weeks before a day.

    None are known of a log that is younger than these weeks or has few events at all, or when one of the weeks is
    nearly empty itself: then the log had broken off, and shows nobody's habits.

    Args:
        days: How many events each day had; a day that is not in it had none.
        before: The first day that is not looked at: that of the newest event, which may not be over.
    """
    window = [before - n * _DAY for n in range(1, 7 * WEEKS + 1)]
    counts = {day: days.get(day, 0) for day in window}
    mean = sum(counts.values()) / len(window)
    if not days or min(days) > window[-1] or mean < FEWEST:
        return frozenset()
    if any(sum(counts[day] for day in window[n : n + 7]) < HARDLY * 7 * mean for n in range(0, len(window), 7)):
        return frozenset()
    busy = {day.weekday() for day in window if counts[day] >= HARDLY * mean}
    return frozenset(range(7)) - busy


def age_at(now: datetime, since: datetime, quiet: frozenset[int]) -> Age:
    """Return how old something of the moment `since` is at `now`, both UTC, when these UTC weekdays do not count."""
    plain = max(now - since, timedelta())
    left_out: dict[int, timedelta] = {}
    for n in range((now.date() - since.date()).days + 1):
        begins = datetime.combine(since.date(), time(), tzinfo=UTC) + n * _DAY
        within = min(now, begins + _DAY) - max(since, begins)
        if begins.weekday() in quiet and within > timedelta():
            left_out[begins.weekday()] = left_out.get(begins.weekday(), timedelta()) + within
    counted = plain - min(sum(left_out.values(), timedelta()), MOST)
    return Age(plain=plain, counted=counted, quiet=tuple(_NAMES[weekday] for weekday in sorted(left_out)))


def newest_event(warehouse: duckdb.DuckDBPyConnection, as_of: datetime) -> datetime | None:
    """Return when the newest event up to as_of happened; None without any. Raises duckdb.Error."""
    # Not max(): of the newest alone DuckDB reads the last lines, of a maximum all of them.
    (newest,) = warehouse.execute(
        "select occurred_at from staging.stg_usage_events where occurred_at <= ? order by occurred_at desc limit 1",
        [as_of.replace(tzinfo=None)],
    ).fetchone() or (None,)
    return None if newest is None else newest.replace(tzinfo=UTC)


def known_quiet(warehouse: duckdb.DuckDBPyConnection, newest: datetime) -> frozenset[int]:
    """Return the quiet weekdays of a log whose newest event is this one. Raises duckdb.Error.

    Learned from what was before it: else a log that broke off would itself teach that nothing is to be expected.
    """
    days = warehouse.execute(
        "select cast(occurred_at as date), count(*) from staging.stg_usage_events where occurred_at <= ? group by 1",
        [newest.replace(tzinfo=None)],
    ).fetchall()
    return quiet_weekdays(dict(days), newest.date())


def event_age(warehouse: duckdb.DuckDBPyConnection, newest: datetime, as_of: datetime, limit: timedelta) -> Age:
    """Return the age of the newest event; what is within the limit anyway needs no habits. Raises duckdb.Error."""
    plain = age_at(as_of, newest, frozenset())
    return plain if plain.plain <= limit else age_at(as_of, newest, known_quiet(warehouse, newest))


# --- the freshness that a source declares ---------------------------------------------------------------------


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
        newest = newest_event(warehouse, as_of)
        if newest is None:
            return checked(name, "failed", f"no event up to {as_of:%Y-%m-%d %H:%M}")
        age = event_age(warehouse, newest, as_of, min(limit for limit, _ in limits))
    except duckdb.Error as error:
        return checked(name, "errored", told(error))
    detail = f"the newest event is {age.told}"
    for limit, severity in limits:
        if age.counted > limit:
            return checked(name, "failed", f"{detail}; expected at most {_told(limit)}", severity)
    return checked(name, "passed", detail)


def _told(duration: timedelta) -> str:
    hours = duration.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 and hours % 24 == 0 else f"{hours:.1f} h"
