"""A day of simulated usage: a pure function of the seed, the day and the mails accepted before it.

Each day draws the same uniforms whether or not mails were accepted, so that two worlds that differ in their mails
differ in nothing else (common random numbers). Times are UTC; a person's working hours are their zone's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property, lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from uptake.sandbox.base import HISTORY_DAYS, CustomerBase
from uptake.sandbox.chance import Bools, Floats, Ints, stream
from uptake.sandbox.files import AcceptedMail, write_whole
from uptake.sandbox.friction import NAMES, frictions
from uptake.sandbox.habits import Habits, account_factor, habits, taught_from, weekday_factor

SHARE_LATE = 0.006  # usage events that arrive one or two days later, in a later file
SHARE_DUPLICATE = 0.003  # lines that come twice, half of them in the next day's file
SHARE_MALFORMED = 0.0005  # lines that no reader can read
_EXPLORING = 0.0003  # somebody looks at a feature once
_MORE = 0.52  # geometric: how likely one more use follows on the same day
_MAX_COUNT = 8
_LATEST = 2  # days
_DAY_SECONDS = 86_400


@dataclass(frozen=True, kw_only=True)
class DayFile:
    """What one written file holds, in lines."""

    lines: int
    events: int
    duplicates: int
    malformed: int


@dataclass(frozen=True)
class _Lines:
    """The lines that one day's usage leaves, by the file that they come in: 0 = the day's own."""

    by_delay: tuple[tuple[str, ...], ...]
    copies: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class _Events:
    """The usage events of one day as columns, in order of time."""

    person: Ints
    feature: Ints
    turn: Ints  # 0 for the first use of a feature by a person on the day
    second: Ints  # of the UTC day
    chance: Floats  # uniform; decides whatever else is to be decided about an event


class Usage:
    """What the people of a customer base do, day by day."""

    def __init__(self, base: CustomerBase) -> None:
        self._base = base

    @cached_property
    def _habits(self) -> Habits:
        return habits(self._base)

    def lessons(self, mails: Sequence[AcceptedMail]) -> Ints:
        """Return from which day each (contact, feature) is used because a mail taught it."""
        return taught_from(self._base, mails)

    def uses(self, day: int, lessons: Ints) -> Bools:
        """Return who uses which feature on a day: (contact, feature)."""
        return self._uses(day, lessons, stream(self._base.seed, "day", day))

    def uses_until(self, day: int, lessons: Ints, second: int) -> Bools:
        """Return who has used which feature on a day by a second of it: (contact, feature)."""
        events = self._events(day, lessons)
        is_early = events.second <= second
        used = np.zeros((len(self._base.contacts), len(self._base.features)), dtype=np.bool_)
        used[events.person[is_early], events.feature[is_early]] = True
        return used

    def _uses(self, day: int, lessons: Ints, rng: np.random.Generator) -> Bools:
        base, known = self._base, self._habits
        account = base.contacts.account
        is_here = base.contacts.created_day <= day
        drive = account_factor(base, day)[account] * weekday_factor(base, base.date_of(day).weekday()) * is_here
        visits = rng.random(len(account)) < base.contacts.activity * drive
        draw = rng.random(known.visit_rate.shape, dtype=np.float32)
        glance = rng.random(known.visit_rate.shape, dtype=np.float32)
        habitual = draw < np.where(day < known.visit_end, known.visit_rate, 0.0)
        alone = (known.start <= day) & (day < known.end)
        learned = draw < known.learned_rate * np.minimum(drive, 1.15)[:, None]
        used = (visits[:, None] & (habitual | (glance < _EXPLORING))) | ((alone | (lessons <= day)) & learned)
        may = base.entitled[base.plan_on(day)][account]
        return np.asarray(used & may)

    def write_day(self, raw: Path, on: date, mails: Sequence[AcceptedMail]) -> DayFile:
        """Write `events/YYYY-MM-DD.ndjson` of one finished UTC day, whole or not at all.

        The file holds what arrived on that day: its own usage, and late lines of the two days before.
        """
        day, lessons = self._base.day_of(on), self.lessons(mails)
        lines: list[str] = []
        copies: list[str] = []
        for delay in range(_LATEST + 1):
            if day - delay < -HISTORY_DAYS:
                break
            came = self._lines(day - delay, lessons)
            lines += came.by_delay[delay]
            copies += came.copies[delay]
        broken = self._malformed(day, lines)
        lines += self._friction_lines(day)
        everything = [*lines, *copies, *broken]
        order = stream(self._base.seed, "order", day).random(len(everything))
        # Files of real collectors are roughly in order, with stragglers.
        positions = np.argsort(np.arange(len(everything)) + order * 500, kind="stable")
        text = "\n".join(everything[place] for place in positions.tolist())
        write_whole(raw / "events" / f"{on.isoformat()}.ndjson", f"{text}\n".encode() if everything else b"")
        return DayFile(lines=len(everything), events=len(lines), duplicates=len(copies), malformed=len(broken))

    def _lines(self, day: int, lessons: Ints) -> _Lines:
        # Only lessons of that day or before matter, so a day asked for again as "two days ago" is found again.
        return self._cached_lines(day, np.minimum(lessons, day + 1).tobytes())

    @lru_cache(maxsize=_LATEST + 2)  # noqa: B019 - the few days live as long as the simulator does
    def _cached_lines(self, day: int, lessons: bytes) -> _Lines:
        shape = (len(self._base.contacts), len(self._base.features))
        events = self._events(day, np.frombuffer(lessons, dtype=np.int64).reshape(shape))
        lateness, twice = _spread(events.chance * 1_009.7), _spread(events.chance * 3_571.3)
        delays = np.where(lateness < SHARE_LATE, np.where(lateness < SHARE_LATE * 0.7, 1, 2), 0)
        by_delay: list[list[str]] = [[] for _ in range(_LATEST + 1)]
        copies: list[list[str]] = [[] for _ in range(_LATEST + 1)]
        rows = self._rows(day, events, delays)
        for line, delay, again in zip(rows, delays.tolist(), twice.tolist(), strict=True):
            by_delay[delay].append(line)
            if again < SHARE_DUPLICATE:
                copies[min(delay + (again < SHARE_DUPLICATE / 2), _LATEST)].append(line)
        by_delay[0] += self._machine_lines(day)
        return _Lines(tuple(map(tuple, by_delay)), tuple(map(tuple, copies)))

    def _events(self, day: int, lessons: Ints) -> _Events:
        """Return the usage events of a day, in the order of their times."""
        rng = stream(self._base.seed, "day", day)
        used = self._uses(day, lessons, rng)
        repeat = rng.random(used.shape, dtype=np.float32)
        moment = rng.random(used.shape, dtype=np.float32).astype(np.float64)
        who, what = np.nonzero(used)
        counts = 1 + np.minimum(np.log(1.0 - repeat[used]) / np.log(_MORE), _MAX_COUNT - 1).astype(np.int64)
        turn = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        person, feature = np.repeat(who, counts), np.repeat(what, counts)
        chance = _spread(np.repeat(moment[used], counts) + turn * 0.381966)
        second = self._seconds(day, person, chance)
        order = np.lexsort((turn, feature, person, second))
        return _Events(person[order], feature[order], turn[order], second[order], chance[order])

    def _seconds(self, day: int, person: Ints, place: Floats) -> Ints:
        """Return UTC seconds of the day: around the middle of each person's working day."""
        odds = np.clip(place, 1e-4, 1 - 1e-4)
        local = self._base.contacts.hour[person] + np.clip(1.5 * np.log(odds / (1 - odds)), -10.0, 10.0)
        hours = (local - self._offsets(day)[person]) % 24.0
        return np.minimum(hours * 3_600, _DAY_SECONDS - 1).astype(np.int64)

    def _offsets(self, day: int) -> Floats:
        """Return each person's zone as hours from UTC, at noon of the day."""
        noon = datetime.combine(self._base.date_of(day), time(12), UTC)
        hours = {
            zone: (noon.astimezone(ZoneInfo(zone)).utcoffset() or noon - noon).total_seconds() / 3_600
            for zone in set(self._base.contact_zones)
        }
        return np.array([hours[zone] for zone in self._base.contact_zones])

    @cached_property
    def _who(self) -> tuple[str, ...]:
        base = self._base
        return tuple(
            f'"account_id":"{base.account_ids[account]}","user_id":"{user}"'
            for account, user in zip(base.contacts.account.tolist(), base.user_ids, strict=True)
        )

    def _rows(self, day: int, events: _Events, delays: Ints) -> list[str]:
        base = self._base
        on, *later = (base.date_of(day + delay).isoformat() for delay in range(_LATEST + 1))
        rows = []
        columns = (events.person, events.feature, events.turn, events.second, events.chance, delays)
        for who, what, k, second, u, delay in zip(*(column.tolist() for column in columns), strict=True):
            names = base.features[what].events
            name = names[int(u * 7_919) % len(names)]
            more = f',"quantity":{1 + int(u * 613) % 20}' if int(u * 97) % 12 == 0 else ""
            received = f',"received_at":"{later[delay - 1]}T{_clock(second)}Z"' if delay else ""
            rows.append(
                f'{{"event_id":"e-{day + 1_000:04d}-{who:05d}-{what:02d}-{k}","occurred_at":"{on}T{_clock(second)}Z",'
                f'{self._who[who]},"event_name":"{name}"{received}{more}}}'
            )
        return rows

    def _machine_lines(self, day: int) -> list[str]:
        """Return what the product's own jobs write: no user, and no feature of the catalogue."""
        base = self._base
        active = np.flatnonzero(account_factor(base, day) > 0)
        chosen = active[stream(base.seed, "jobs", day).random(len(active)) < 0.05]
        on = base.date_of(day).isoformat()
        return [
            f'{{"event_id":"j-{day + 1_000:04d}-{account:04d}","occurred_at":"{on}T02:{account % 60:02d}:00Z",'
            f'"account_id":"{base.account_ids[account]}","event_name":"system.nightly_job"}}'
            for account in chosen.tolist()
        ]

    def _friction_lines(self, day: int) -> list[str]:
        """Return what those leave behind who could not use the product, on the day itself."""
        met = frictions(self._base, day)
        second = self._seconds(day, met.person, met.place)
        on = self._base.date_of(day).isoformat()
        columns = (met.person, met.name, met.turn, second)
        return [
            f'{{"event_id":"f-{day + 1_000:04d}-{person:05d}-{turn}","occurred_at":"{on}T{_clock(at)}Z",'
            f'{self._who[person]},"event_name":"{NAMES[name]}"}}'
            for person, name, turn, at in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _malformed(self, day: int, lines: Sequence[str]) -> list[str]:
        rng = stream(self._base.seed, "malformed", day)
        count = int(rng.poisson(SHARE_MALFORMED * len(lines)))
        broken = []
        for kind in rng.integers(0, 3, count).tolist():
            line = lines[int(rng.integers(0, len(lines)))]
            broken.append(
                (
                    line[: len(line) * 2 // 3],  # a write that was cut off
                    f"ERROR collector: upstream timed out {day}",  # a log line in the wrong file
                    line.replace('"occurred_at":"20', '"occurred_at":"yesterday '),
                )[kind]
            )
        return broken


def _spread(values: Floats) -> Floats:
    """Return the fractional part: a second, nearly independent uniform out of a first one."""
    return np.asarray(values - np.floor(values))


def _clock(second: int) -> str:
    return f"{second // 3_600:02d}:{second % 3_600 // 60:02d}:{second % 60:02d}"
