"""When mail may leave: day, hour and holiday solved together, on the recipient's own clock."""

from __future__ import annotations

import calendar
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from uptake.domain.workspace import Window

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def next_allowed(
    now: datetime, zone: str, window: Window, holidays: Collection[date] = (), *, default_zone: str = "UTC"
) -> datetime:
    """Return the first moment from `now` on at which a recipient may be mailed; `now` itself when it is one.

    A moment is allowed when the recipient's clock shows one of the window's days, no holiday, and a time of day
    from its start until just before its end. An hour that the clock skips is not waited for; one that it shows
    twice counts twice.

    Args:
        now: Aware.
        zone: IANA name of the recipient's zone; one that is not known counts as `default_zone`.
        window: Days and hours.
        holidays: Days without mail, wherever the recipient is.
        default_zone: IANA name; must be known.

    Returns:
        An aware datetime in UTC.
    """
    clock = _zone(zone, default_zone)
    closed = frozenset(holidays)
    moment = now.astimezone(UTC)
    while True:
        # Until the clock is next put forward or back, its time is UTC plus a constant.
        offset = _offset(moment, clock)
        opens = _next_opening(moment.replace(tzinfo=None) + offset, window, closed) - offset
        opens_at = opens.replace(tzinfo=UTC)
        change = _next_change(moment, opens_at, clock)
        if change is None:
            return opens_at
        moment = change


def closes_at(
    now: datetime, zone: str, window: Window, holidays: Collection[date] = (), *, default_zone: str = "UTC"
) -> datetime:
    """Return the first moment from `now` on at which a recipient may not be mailed; `now` itself when it is one.

    Arguments and result as in `next_allowed`.
    """
    clock = _zone(zone, default_zone)
    closed = frozenset(holidays)
    moment = now.astimezone(UTC)
    while True:
        offset = _offset(moment, clock)
        local = moment.replace(tzinfo=None) + offset
        if not (_is_open(local.date(), window, closed) and window.start <= local.time() < window.end):
            return moment
        end = (datetime.combine(local.date(), window.end) - offset).replace(tzinfo=UTC)
        change = _next_change(moment, end, clock)
        if change is None:
            return end
        moment = change


def _zone(name: str, default: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a name; a folder of names
        return ZoneInfo(default)


def _offset(moment: datetime, clock: ZoneInfo) -> timedelta:
    return moment.astimezone(clock).utcoffset() or timedelta(0)


def _next_opening(local: datetime, window: Window, holidays: frozenset[date]) -> datetime:
    """Return the first allowed time from `local` on, on a clock that is never changed."""
    day, time = local.date(), local.time()
    if _is_open(day, window, holidays) and time < window.end:
        return local if time >= window.start else datetime.combine(day, window.start)
    day += _DAY
    while not _is_open(day, window, holidays):
        day += _DAY
    return datetime.combine(day, window.start)


def _is_open(day: date, window: Window, holidays: frozenset[date]) -> bool:
    return _DAYS[day.weekday()] in window.days and day not in holidays


def _next_change(start: datetime, end: datetime, clock: ZoneInfo) -> datetime | None:
    """Return when the clock is next put forward or back, if that is after `start` and not after `end`."""
    before = start
    while before < end:
        after = min(before + _DAY, end)
        if _offset(before, clock) != (offset := _offset(after, clock)):
            return _first_with(offset, before.replace(microsecond=0), after, clock)
        before = after
    return None


def _first_with(offset: timedelta, before: datetime, after: datetime, clock: ZoneInfo) -> datetime:
    """Return the second between the two at which the clock came to this offset, found by halves."""
    low, high = 0, -((before - after) // _SECOND)  # clocks change on whole seconds
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(before + middle * _SECOND, clock) == offset:
            high = middle
        else:
            low = middle
    return before + high * _SECOND


def closed_because(moment: datetime, zone: str, window: Window, holidays: Collection[date] = ()) -> str | None:
    """Return why the window is closed at a moment on the recipient's clock, in words; None when it is open."""
    local = moment.astimezone(_zone(zone, "UTC"))
    if local.date() in holidays:
        return f"{local:%Y-%m-%d} is a holiday"
    if _DAYS[local.weekday()] not in window.days:
        return f"{local:%Y-%m-%d} is a {calendar.day_name[local.weekday()]}"
    if not window.start <= local.time() < window.end:
        return f"it is {local:%H:%M} there; mail leaves from {window.start:%H:%M} to {window.end:%H:%M}"
    return None
