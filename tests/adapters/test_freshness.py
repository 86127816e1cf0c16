"""Age without the days on which a log rests: what is learned, what is left out, and what never is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.adapters.freshness import (
    MOST,
    WEEKS,
    age_at,
    event_age,
    known_quiet,
    quiet_weekdays,
    source_freshness,
)

MONDAY = date(2026, 3, 2)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LIMIT = timedelta(hours=36)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 4, 1), timezones=st.just(UTC))  # noqa: DTZ001
QUIET = st.frozensets(st.integers(0, 6), max_size=6)


def log(week: str, *, weeks: int = WEEKS, before: date = MONDAY) -> dict[date, int]:
    """Events of each day of some weeks up to a Monday, like `100 100 100 100 100 3 0`."""
    counts = [int(count) for count in week.split()]
    first = before - timedelta(weeks=weeks)
    return {first + timedelta(days=n): counts[n % 7] for n in range(7 * weeks)}


def on(day: int, count: int) -> Callable[[dict[date, int]], None]:
    """A change of one day, so many days before that Monday."""
    return lambda days: days.update({MONDAY - timedelta(days=day): count})


def without(*weeks: int) -> Callable[[dict[date, int]], None]:
    """Whole weeks gone, counted back from that Monday."""
    return lambda days: days.update({MONDAY - timedelta(days=7 * w - n): 0 for w in weeks for n in range(7)})


USUAL = "100 100 100 100 100 3 0"


@pytest.mark.parametrize(
    ("days", "changes", "quiet"),
    [
        # week                        what happened in it                      left out
        (log(USUAL),                  [],                                      "sat sun"),
        (log("0 100 100 100 100 100 0"), [],                                   "mon sun"),
        (log("9 9 9 9 0 9 9"),        [],                                      ""),         # too few to tell
        (log("14 14 14 14 0 14 14"),  [],                                      "fri"),
        (log("100 100 100 100 100 100 100"), [],                               ""),
        (log("100 100 100 100 100 8 8"), [],                                   ""),         # a tenth of the mean is 7.4
        (log("100 100 100 100 100 7 7"), [],                                   "sat sun"),
        (log(USUAL),                  [on(2, 50)],                             "sun"),      # one busy Saturday
        (log(USUAL),                  [on(2 + 7 * (WEEKS - 1), 50)],           "sun"),      # ... six weeks ago
        (log(USUAL, weeks=WEEKS + 1), [on(2 + 7 * WEEKS, 50)],                 "sat sun"),  # ... seven weeks ago
        (log(USUAL),                  [on(7, 0)],                              "sat sun"),  # a holiday on a Monday
        (log(USUAL),                  [on(7 * n, 0) for n in range(1, WEEKS)], "sat sun"),  # five of them
        (log(USUAL),                  [without(3)],                            ""),         # a week without a log
        (log(USUAL, weeks=WEEKS - 1), [],                                      ""),         # too young
        (log("0 0 0 0 0 0 0"),        [],                                      ""),
        ({},                          [],                                      ""),
    ],
)  # fmt: skip
def test_a_weekday_is_quiet_when_it_was_so_in_each_of_the_last_weeks(
    days: dict[date, int], changes: list[Any], quiet: str
) -> None:
    for change in changes:
        change(days)
    assert " ".join(WEEKDAYS[n] for n in sorted(quiet_weekdays(days, MONDAY))) == quiet


@pytest.mark.parametrize(
    ("since", "now", "quiet", "told"),
    [
        ("2026-02-27 16:00", "2026-03-02 05:00", "sat sun", "61.0 h old, 13.0 h without Saturday and Sunday"),
        ("2026-02-27 16:00", "2026-03-02 05:00", "", "61.0 h old"),
        ("2026-02-28 16:00", "2026-03-01 05:00", "sat sun", "13.0 h old, 0.0 h without Saturday and Sunday"),
        ("2026-02-27 16:00", "2026-03-02 05:00", "sun", "61.0 h old, 37.0 h without Sunday"),
        ("2026-03-02 05:00", "2026-03-03 05:00", "sat sun", "24.0 h old"),
        ("2026-03-02 05:00", "2026-03-02 04:00", "mon", "0.0 h old"),
        ("2026-02-27 16:00", "2026-03-17 05:00", "sat sun", "(no more than 4 days are left out)"),
        ("2026-02-26 22:00", "2026-03-02 05:00", "mon fri sat sun", "79.0 h old, 2.0 h without Monday, Friday, Sat"),
    ],
)  # fmt: skip
def test_age_leaves_out_quiet_days(since: str, now: str, quiet: str, told: str) -> None:
    moments = [datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in (now, since)]
    age = age_at(*moments, frozenset(WEEKDAYS.index(name) for name in quiet.split()))
    assert told in age.told
    assert ("hardly any events" in age.told) is ("without" in told or "left out" in told)


@given(MOMENTS, MOMENTS, QUIET)
def test_the_counted_age_is_never_above_the_plain_one_and_never_much_below(
    since: datetime, now: datetime, quiet: frozenset[int]
) -> None:
    age = age_at(now, since, quiet)
    assert age.plain == max(now - since, timedelta())
    assert max(age.plain - MOST, timedelta()) <= age.counted <= age.plain
    assert bool(age.quiet) is (age.counted < age.plain)


@given(MOMENTS, MOMENTS, MOMENTS, QUIET)
def test_age_never_falls_as_time_goes_by(
    since: datetime, one: datetime, other: datetime, quiet: frozenset[int]
) -> None:
    sooner, later = sorted((one, other))
    assert age_at(sooner, since, quiet).counted <= age_at(later, since, quiet).counted


@given(st.lists(st.integers(0, 60), min_size=7, max_size=7 * 12), st.integers(0, 6))
def test_no_log_teaches_that_nothing_is_to_be_expected(counts: list[int], shift: int) -> None:
    before = MONDAY + timedelta(days=shift)
    days = {before - timedelta(days=n): count for n, count in enumerate(counts, 1)}
    assert len(quiet_weekdays(days, before)) < 7


@pytest.fixture
def warehouse() -> duckdb.DuckDBPyConnection:
    """A log that rests at weekends; its newest event is of Friday, 2026-02-27 16:50."""
    connection = duckdb.connect()
    connection.execute("create schema staging")
    connection.execute(
        "create table staging.stg_usage_events as select n as occurred_at"
        " from range(timestamp '2026-01-05', timestamp '2026-02-27 17:00', interval 10 minutes) as r(n)"
        " where dayofweek(n) between 1 and 5 and hour(n) between 8 and 16"
    )
    return connection


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("as_of", "status", "told"),
    [
        ("2026-02-28 05:00", "passed", "12.2 h old"),
        ("2026-03-01 05:00", "passed", "36.2 h old, 7.2 h without Saturday and Sunday, on which this log has hardly"),
        ("2026-03-02 05:00", "passed", "60.2 h old, 12.2 h without Saturday and Sunday, on which this log has hardly"),
        ("2026-03-03 04:00", "passed", "35.2 h without Saturday and Sunday"),
        ("2026-03-03 05:00", "failed", "84.2 h old, 36.2 h without Saturday and Sunday, on which this log has hardly"),
        ("2026-03-30 05:00", "failed", "(no more than 4 days are left out); expected at most 36.0 h"),
    ],
)  # fmt: skip
def test_a_weekend_is_waited_for_and_a_log_that_broke_off_is_found(
    warehouse: duckdb.DuckDBPyConnection, as_of: str, status: str, told: str
) -> None:
    check = source_freshness(warehouse, "uptake", ((LIMIT, "critical"),), at(as_of))
    assert (check.status, check.blocks) == (status, status == "failed")
    assert told in check.detail


def test_a_warning_comes_before_a_failure(warehouse: duckdb.DuckDBPyConnection) -> None:
    limits: Any = ((LIMIT, "critical"), (timedelta(hours=6), "warning"))
    check = source_freshness(warehouse, "uptake", limits, at("2026-03-02 05:00"))
    assert (check.status, check.severity, check.blocks) == ("failed", "warning", False)
    assert source_freshness(warehouse, "uptake", limits, at("2026-02-27 20:00")).status == "passed"


def test_a_silence_does_not_teach_itself(warehouse: duckdb.DuckDBPyConnection) -> None:
    newest = at("2026-02-27 16:50")
    assert known_quiet(warehouse, newest) == {5, 6}
    months_later = event_age(warehouse, newest, newest + timedelta(days=90), LIMIT)
    assert months_later.counted == timedelta(days=90) - MOST


def test_a_source_without_limits_or_without_events_never_passes(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert source_freshness(warehouse, "uptake", (), at("2026-02-27 17:00")).status == "missing"
    warned: Any = ((LIMIT, "warning"),)
    assert source_freshness(warehouse, "uptake", warned, at("2026-02-27 17:00")).status == "missing"
    limits: Any = ((LIMIT, "critical"),)
    assert source_freshness(warehouse, "uptake", limits, at("2025-01-01 00:00")).status == "failed"
    warehouse.execute("drop table staging.stg_usage_events")
    check = source_freshness(warehouse, "uptake", limits, at("2026-02-27 17:00"))
    assert (check.status, check.blocks) == ("errored", True)
