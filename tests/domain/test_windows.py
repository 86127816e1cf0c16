"""The first allowed moment, over every zone there is and every change of the clock in three years."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uptake.domain.windows import closed_because, closes_at, next_allowed
from uptake.domain.workspace import Window

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# What depends on the machine is left out.
ZONES = sorted(name for name in available_timezones() if name not in ("localtime", "posixrules", "Factory"))
OFFICE = Window(start=time(8), end=time(18))
BERLIN, LORD_HOWE = "Europe/Berlin", "Australia/Lord_Howe"


def sunday(start: str, end: str) -> Window:
    return Window(days=("sun",), start=time.fromisoformat(start), end=time.fromisoformat(end))


minutes = st.integers(0, 24 * 60 - 1).map(lambda m: time(m // 60, m % 60))
windows = st.builds(
    lambda days, ends: Window(days=tuple(sorted(days, key=DAYS.index)), start=ends[0], end=ends[1]),
    st.sets(st.sampled_from(DAYS), min_size=1),
    st.tuples(minutes, minutes).map(sorted).filter(lambda ends: ends[0] < ends[1]),
)
moments = st.datetimes(
    datetime.fromisoformat("2025-01-01"), datetime.fromisoformat("2027-12-31"), timezones=st.just(UTC)
)


def is_allowed(moment: datetime, zone: str, window: Window, holidays: tuple[date, ...]) -> bool:
    """Say it anew, plainly: look at the recipient's clock."""
    local = moment.astimezone(ZoneInfo(zone))
    return (
        DAYS[local.weekday()] in window.days
        and local.date() not in holidays
        and window.start <= local.time() < window.end
    )


def check(now: datetime, zone: str, window: Window, holidays: tuple[date, ...]) -> None:
    found = next_allowed(now, zone, window, holidays)
    assert found.tzinfo is UTC
    assert found >= now
    assert is_allowed(found, zone, window, holidays)
    step = max((found - now) / 200, timedelta(minutes=1))
    between = now
    while between < found:
        assert not is_allowed(between, zone, window, holidays)
        between += step
    if found > now:
        assert not is_allowed(found - timedelta(microseconds=1), zone, window, holidays)


@settings(max_examples=300, deadline=None)
@given(moments, st.sampled_from(ZONES), windows, st.lists(st.integers(0, 9), max_size=4))
def test_nothing_allowed_lies_before_the_first_allowed_moment(
    now: datetime, zone: str, window: Window, closed: list[int]
) -> None:
    check(now, zone, window, tuple(now.date() + timedelta(days=days) for days in closed))


def check_end(now: datetime, zone: str, window: Window, holidays: tuple[date, ...]) -> None:
    """From the first allowed moment on, all are allowed until it closes."""
    opens = next_allowed(now, zone, window, holidays)
    found = closes_at(opens, zone, window, holidays)
    assert found.tzinfo is UTC
    assert found > opens
    assert not is_allowed(found, zone, window, holidays)
    step = (found - opens) / 50
    assert all(is_allowed(opens + number * step, zone, window, holidays) for number in range(50))
    assert is_allowed(found - timedelta(microseconds=1), zone, window, holidays)
    assert closes_at(found, zone, window, holidays) == found, "closed: it closes now"


@settings(max_examples=300, deadline=None)
@given(moments, st.sampled_from(ZONES), windows, st.lists(st.integers(0, 9), max_size=4))
def test_a_window_is_open_until_it_closes(now: datetime, zone: str, window: Window, closed: list[int]) -> None:
    check_end(now, zone, window, tuple(now.date() + timedelta(days=days) for days in closed))


def changes() -> list[tuple[str, datetime]]:
    """Every change of a clock from 2025 to 2027, one zone for each kind of change."""
    found: dict[tuple[object, ...], tuple[str, datetime]] = {}
    for zone in ZONES:
        clock = ZoneInfo(zone)
        week = datetime(2025, 1, 1, tzinfo=UTC)
        while week.year < 2028:
            days = [week + timedelta(days=days) for days in range(8)]
            before, after = (day.astimezone(clock).utcoffset() for day in (days[0], days[-1]))
            if before != after:
                changed = next(day for day in days if day.astimezone(clock).utcoffset() == after)
                found.setdefault((before, after, week.year, week.month), (zone, changed))
            week = days[-1]
    return list(found.values())


CHANGES = changes()


def test_there_are_clocks_that_change() -> None:
    assert len(ZONES) > 400
    assert len(CHANGES) > 50


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CHANGES), st.integers(-72 * 60, 24 * 60), windows)
def test_a_change_of_the_clock_is_neither_waited_for_nor_forgotten(
    change: tuple[str, datetime], minutes_away: int, window: Window
) -> None:
    zone, day = change
    check(day + timedelta(minutes=minutes_away), zone, window, ())
    check_end(day + timedelta(minutes=minutes_away), zone, window, ())


@pytest.mark.parametrize(
    ("now", "zone", "window", "expected"),
    [
        # Tokyo's Friday evening: the weekday and the hour are the recipient's, both.
        ("2026-03-06T10:00", "Asia/Tokyo", OFFICE, "2026-03-08T23:00"),
        # Clocks go from 02:00 to 03:00: a window that opens in between opens at 03:00.
        ("2026-03-29T00:30", BERLIN, sunday("02:30", "04:00"), "2026-03-29T01:00"),
        # ... and one that lies wholly in between does not open that day.
        ("2026-03-29T00:30", BERLIN, sunday("02:10", "02:50"), "2026-04-05T00:10"),
        # Clocks go from 03:00 back to 02:00: the hour that comes twice counts twice.
        ("2026-10-25T00:50", BERLIN, sunday("02:00", "02:30"), "2026-10-25T01:00"),
        # Lord Howe Island changes by half an hour.
        ("2026-10-03T15:20", LORD_HOWE, sunday("02:10", "03:00"), "2026-10-03T15:30"),
        ("2026-03-03T09:00:00.5", "UTC", OFFICE, "2026-03-03T09:00:00.5"),
        ("2026-03-03T18:00", "UTC", OFFICE, "2026-03-04T08:00"),
        ("2026-03-03T07:59:59.999999", "UTC", OFFICE, "2026-03-03T08:00"),
    ],
)
def test_the_recipients_own_clock_decides(now: str, zone: str, window: Window, expected: str) -> None:
    found = next_allowed(datetime.fromisoformat(now).replace(tzinfo=UTC), zone, window)
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_holiday_moves_to_the_next_open_day() -> None:
    now = datetime(2026, 12, 24, 20, tzinfo=UTC)
    assert next_allowed(now, "UTC", OFFICE, [date(2026, 12, 25)]) == datetime(2026, 12, 28, 8, tzinfo=UTC)


@pytest.mark.parametrize("unknown", ["", "Mars/Base", "../etc/passwd", "/etc/passwd", "America", "Ж\x00"])
def test_an_unknown_zone_counts_as_the_default(unknown: str) -> None:
    now = datetime(2026, 3, 3, 18, 30, tzinfo=UTC)
    assert next_allowed(now, unknown, OFFICE, default_zone="America/New_York") == now
    assert next_allowed(now, unknown, OFFICE) == datetime(2026, 3, 4, 8, tzinfo=UTC)


def test_a_clock_in_any_zone_may_ask() -> None:
    now = datetime(2026, 3, 3, 9, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert next_allowed(now, "UTC", OFFICE) == datetime(2026, 3, 3, 8, tzinfo=UTC)


def test_a_closed_window_says_why_by_the_recipients_clock():
    def why(*moment: int, zone: str = "Europe/Berlin") -> str | None:
        return closed_because(datetime(*moment, tzinfo=UTC), zone, OFFICE, [date(2026, 5, 1)])

    assert why(2026, 4, 30, 9) is None
    assert why(2026, 4, 30, 17) == "it is 19:00 there; mail leaves from 08:00 to 18:00"
    assert why(2026, 4, 30, 23) == "2026-05-01 is a holiday"
    assert why(2026, 5, 2, 9) == "2026-05-02 is a Saturday"
    assert why(2026, 5, 3, 23, zone="Asia/Tokyo") is None
