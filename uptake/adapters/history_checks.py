"""Candidate marts against the snapshots before them: how many rows, what the past was, who stands where.

What is compared is in the manifests (`row_counts` and `profile`). Without anything to compare with a check is a
`baseline`, which counts as run. Where a person let a check pass (`let_pass`, the names of such checks), the snapshot
is the new normal: from then on this check, and no other, compares with it and what came after it. Nothing in here turns
an exception into a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any

import duckdb

from uptake.adapters import mart_profile
from uptake.adapters.check_results import Status

Manifest = Mapping[str, Any]

RECENT = 7  # days with a snapshot whose median is compared with: one odd day among them does not matter
MAX_FALL = 0.3  # of a mart's rows, against that median
MAX_RISE = 3.0  # times as many rows
LONG_AGO = (timedelta(days=21), timedelta(days=35))  # a little less every day is seen only from here
MAX_LONG_FALL = 0.5  # of a mart's rows within four weeks
NOISE = 10  # a change of so few is a small base breathing

SETTLED = timedelta(days=3)  # so long late events may still change a day
MAX_PAST_CHANGE = 0.1  # of the events of settled days: they are over, and only late events may add a few
MAX_FEATURE_CHANGE = 0.25  # of the events of one feature in settled weeks

WINDOW = timedelta(days=28)  # of every state of adoption
COMPARABLE = timedelta(days=7)  # shares of an older snapshot say little: a quarter of the window has been exchanged
MAX_SHIFT = 0.2  # of accounts in another state, all features together
MAX_FEATURE_SHIFT = 0.4  # of the accounts of one feature: a launch moves many, not in days
MAX_BREADTH_SHIFT = 0.3  # of accounts in another tenth of breadth
MAX_ACCOUNTS_SHIFT = 0.2  # of accounts on another plan, or gone: contracts do not change in droves
MAX_SCALE = 3.0  # times as much, or a third: a unit has changed, not the business

FIRST_LOAD = WINDOW  # so long a feature that nobody hit is new, and not a typing error

GROWS_FREELY = frozenset({"fct_outcomes"})  # one row per enrollment: a new playbook multiplies them

Found = tuple[Status, str]


@dataclass(frozen=True)
class History:
    """The earlier snapshots that a candidate is compared with, each a manifest.

    before: All of them, newest first.
    as_of: The moment of the candidate.
    """

    before: tuple[Manifest, ...]
    as_of: datetime

    @property
    def last(self) -> Manifest | None:
        """The snapshot just before the candidate."""
        return self.before[0] if self.before else None

    @property
    def recent(self) -> tuple[Manifest, ...]:
        """The last one of each of the last days that have one, newest first."""
        by_day: dict[date, Manifest] = {}
        for one in self.before:
            by_day.setdefault(_moment(one).date(), one)
        return tuple(by_day.values())[:RECENT]

    @property
    def long_ago(self) -> tuple[Manifest, ...]:
        """Those of about four weeks before."""
        near, far = LONG_AGO
        return tuple(one for one in self.before if near <= self.as_of - _moment(one) <= far)

    @property
    def older(self) -> tuple[Manifest, ...]:
        """Those from before a first load."""
        return tuple(one for one in self.before if self.as_of - _moment(one) >= FIRST_LOAD)

    def let_pass(self, check: str) -> tuple[Manifest, ...]:
        """Return the snapshots from the newest one on for which a person let this check pass; none if nobody did."""
        for place, one in enumerate(self.before):
            if check in one.get("let_pass", ()):
                return self.before[: place + 1]
        return ()

    def of(self, check: str) -> History:
        """Return the part that one check compares with."""
        return History(before=self.let_pass(check) or self.before, as_of=self.as_of)


def history_of(manifests: Sequence[Manifest], as_of: datetime) -> History:
    """Choose what to compare with. A candidate older than every snapshot is compared with the one nearest in time."""
    dated = sorted(((_moment(one), one) for one in manifests), key=lambda pair: pair[0], reverse=True)
    before = [one for moment, one in dated if moment <= as_of] or [one for _, one in dated[-1:]]
    return History(before=tuple(before), as_of=as_of)


def volume(warehouse: duckdb.DuckDBPyConnection, mart: str, history: History) -> Found:
    """Compare the number of rows with the usual one of the last days, and with that of four weeks ago."""
    (now,) = warehouse.execute(f"select count(*) from marts.{mart}").fetchone() or (0,)  # noqa: S608
    history = history.of(f"gate:rows:{mart}")
    usual = _median_rows(mart, history.recent)
    if usual is None:
        return "baseline", f"{now} rows, no earlier snapshot"
    seen = f"{now} rows; {usual:.0f} is the median of the last {len(history.recent)} days with a snapshot"
    if usual > 0 and now == 0:
        return "failed", f"{seen}; expected more than none"
    if now < usual * (1 - MAX_FALL) and usual - now > NOISE:
        return "failed", f"{seen}; expected a fall of at most {MAX_FALL:.0%}"
    if now > usual * MAX_RISE and now - usual > NOISE and usual > 0 and mart not in GROWS_FREELY:
        return "failed", f"{seen}; expected at most {MAX_RISE:g} times as many"
    then = _median_rows(mart, history.long_ago)
    if then is not None and now < then * (1 - MAX_LONG_FALL) and then - now > NOISE:
        return "failed", f"{seen}, {then:.0f} four weeks ago; expected a fall of at most {MAX_LONG_FALL:.0%} since"
    return "passed", seen


def past_days(warehouse: duckdb.DuckDBPyConnection, history: History) -> Found:
    """Compare days that are over with what the last snapshot said of them.

    A clock or time zone that moved, a day that was copied, half a log: all of them change the past.
    """
    last = history.last
    then = _part(last, "days")
    if last is None or then is None:
        return "baseline", "no earlier snapshot that remembers its days"
    settled = _moment(last).date() - SETTLED
    now = mart_profile.days(warehouse)
    first = max(min(then), f"{mart_profile.first_day(warehouse) or ''}")
    days = [day for day in sorted({*then, *now}) if first <= day <= f"{settled:%Y-%m-%d}"]
    if not days:
        return "baseline", "no day that both snapshots know and that is over"
    before = sum(then.get(day, 0) for day in days)
    moved = {day: abs(now.get(day, 0) - then.get(day, 0)) for day in days}
    changed = sum(moved.values())
    seen = f"{changed} of {before} events of {len(days)} days that are over were not so in {last['snapshot_id']}"
    if changed > max(NOISE, before * MAX_PAST_CHANGE):
        worst = max(moved, key=lambda day: moved[day])
        told = f"{seen}, most on {worst} ({then.get(worst, 0)} then, {now.get(worst, 0)} now)"
        return "failed", f"{told}; expected at most {MAX_PAST_CHANGE:.0%}"
    return "passed", seen


def past_features(warehouse: duckdb.DuckDBPyConnection, history: History) -> Found:
    """Compare the weeks of each feature that are over with what the last snapshot said of them."""
    last = history.last
    then_of = _part(last, "feature_weeks")
    if last is None or then_of is None:
        return "baseline", "no earlier snapshot that remembers its features"
    settled = _moment(last).date() - SETTLED
    now_of = mart_profile.feature_weeks(warehouse)
    begins = mart_profile.first_day(warehouse)
    first = max(  # the first week of either is cut off by its window
        min(week for weeks in then_of.values() for week in weeks),
        f"{begins - timedelta(days=begins.weekday())}" if begins else "",
    )
    worst: tuple[float, str] = (0.0, "")
    for feature, then in then_of.items():
        now = now_of.get(feature, {})
        weeks = [week for week in {*then, *now} if week > first and _ends(week) <= settled]
        before = sum(then.get(week, 0) for week in weeks)
        changed = sum(abs(now.get(week, 0) - then.get(week, 0)) for week in weeks)
        if changed > NOISE and changed > before * MAX_FEATURE_CHANGE:
            told = f"{feature}: {before} events in weeks that are over in {last['snapshot_id']}, "
            told += f"{sum(now.get(week, 0) for week in weeks)} now"
            worst = max(worst, (changed / max(before, 1), told))
    if worst[1]:
        return "failed", f"{worst[1]}; expected a change of at most {MAX_FEATURE_CHANGE:.0%}"
    return "passed", f"{len(then_of)} features"


def states_shift(warehouse: duckdb.DuckDBPyConnection, history: History, as_of: datetime) -> Found:
    """Compare how accounts are spread over states of adoption: all of them, and feature by feature."""
    if (unlike := _incomparable(warehouse, history, as_of, "states")) is not None:
        return "baseline", unlike
    then_of, now_of = _part(history.last, "states") or {}, mart_profile.states(warehouse)
    common = sorted(set(then_of) & set(now_of))
    pooled_then = {(key, state): n for key in common for state, n in then_of[key].items()}
    pooled_now = {(key, state): n for key in common for state, n in now_of[key].items()}
    whole, rows = shift(pooled_then, pooled_now)
    seen = f"{whole:.0%} of accounts and features are in another state than in {_id(history.last)}"
    if whole > MAX_SHIFT and rows > NOISE:
        return "failed", f"{seen}; expected at most {MAX_SHIFT:.0%}"
    shifts = sorted(((*shift(then_of[key], now_of[key]), key) for key in common), reverse=True)
    for share, accounts, key in shifts:
        if share > MAX_FEATURE_SHIFT and accounts > NOISE:
            return "failed", f"{key}: {share:.0%} of its accounts changed; expected at most {MAX_FEATURE_SHIFT:.0%}"
    return "passed", seen


def breadth_shift(warehouse: duckdb.DuckDBPyConnection, history: History, as_of: datetime) -> Found:
    """Compare how accounts are spread over tenths of breadth."""
    if (unlike := _incomparable(warehouse, history, as_of, "breadth")) is not None:
        return "baseline", unlike
    share, accounts = shift(_part(history.last, "breadth") or {}, mart_profile.breadth(warehouse))
    seen = f"{share:.0%} of accounts are in another tenth of breadth than in {_id(history.last)}"
    if share > MAX_BREADTH_SHIFT and accounts > NOISE:
        return "failed", f"{seen}; expected at most {MAX_BREADTH_SHIFT:.0%}"
    return "passed", seen


def accounts_shift(warehouse: duckdb.DuckDBPyConnection, history: History) -> Found:
    """Compare how accounts are spread over plans, and how many have left: whole audiences and exits hang on it."""
    then = _part(history.last, "accounts")
    if then is None:
        return "baseline", "no earlier snapshot that remembers it"
    share, count = shift(then, mart_profile.accounts(warehouse))
    seen = f"{share:.0%} of accounts are on another plan, or left, since {_id(history.last)}"
    if share > MAX_ACCOUNTS_SHIFT and count > NOISE:
        return "failed", f"{seen}; expected at most {MAX_ACCOUNTS_SHIFT:.0%}"
    return "passed", seen


def scale(warehouse: duckdb.DuckDBPyConnection, history: History, name: str) -> Found:
    """Compare what one account pays or seats, or one event counts: a jump is another unit."""
    remembered = [_part(one, "scales") or {} for one in history.of(f"gate:scale:{name}").recent]
    earlier = [part[name] for part in remembered if name in part]
    if not earlier:
        return "baseline", "no earlier snapshot that remembers it"
    usual, now = median(earlier), mart_profile.scales(warehouse).get(name)
    if now is None:
        return "passed", "nothing in the marts tells it"
    seen = f"{now:g} at the median, {usual:g} in earlier snapshots"
    if not usual / MAX_SCALE <= now <= usual * MAX_SCALE:
        return "failed", f"{seen}; expected at most {MAX_SCALE:g} times as much or as little"
    return "passed", seen


def never_hit(warehouse: duckdb.DuckDBPyConnection, history: History) -> tuple[Found, bool]:
    """Name catalogued features that no event ever hit; True when they hold: it is not their first load any more.

    A feature is in its first load until it has been in the catalogue for a whole window. One that nobody hit when a
    person let this check pass does not hold either, as long as nobody has hit it since.
    """
    lost = [key for key, is_hit in mart_profile.hit(warehouse).items() if not is_hit]
    if not lost:
        return ("passed", "every feature of the catalogue was used by somebody"), True
    known = [_part(one, "hit") or {} for one in history.older]
    since = [_part(one, "hit") or {} for one in history.let_pass("gate:catalogue")]
    accepted = {
        key for key in lost if since and since[-1].get(key) is False and not any(part.get(key) for part in since)
    }
    again = [key for key in lost if key not in accepted and any(key in part for part in known)]
    if again:
        told = f"no event ever hit {_named(again)}, catalogued for {FIRST_LOAD.days} days and more"
        return ("failed", f"{told}; expected some use of every feature, or its row taken out of the catalogue"), True
    why = "let pass by a person" if accepted else f"a warning in the first {FIRST_LOAD.days} days"
    return ("failed", f"no event hits {_named(lost)}; {why}"), False


def shift(then: Mapping[Any, int], now: Mapping[Any, int]) -> tuple[float, int]:
    """Return the total variation distance of two distributions (0 = the same, 1 = nothing in common), and how many
    rows of the smaller one that is.
    """
    total_then, total_now = sum(then.values()), sum(now.values())
    if not total_then or not total_now:
        return 0.0, 0
    keys = {*then, *now}
    share = sum(abs(now.get(key, 0) / total_now - then.get(key, 0) / total_then) for key in keys) / 2
    return share, round(share * min(total_then, total_now))


def _incomparable(warehouse: duckdb.DuckDBPyConnection, history: History, as_of: datetime, part: str) -> str | None:
    """Say why shares cannot be compared: nothing to compare with, too long ago, or a window not yet full."""
    if _part(history.last, part) is None:
        return "no earlier snapshot that remembers it"
    assert history.last is not None
    age = as_of - _moment(history.last)
    if abs(age) > COMPARABLE:
        return f"the last snapshot is {age.days} days older; shares are compared within {COMPARABLE.days}"
    found = warehouse.execute("select min(date_day) from marts.fct_account_feature_daily").fetchone()
    first = found[0] if found else None
    if first is None or as_of.date() - first < 2 * WINDOW:
        return f"usage is known since {first}: until {2 * WINDOW.days} days are, shares are still building up"
    return None


def _median_rows(mart: str, manifests: Sequence[Manifest]) -> float | None:
    counts = [int(one["row_counts"][mart]) for one in manifests if mart in one["row_counts"]]
    return float(median(counts)) if counts else None


def _part(manifest: Manifest | None, name: str) -> dict[str, Any] | None:
    found = None if manifest is None else manifest.get("profile", {}).get(name)
    return dict(found) if found else None


def _ends(week: str) -> date:
    return date.fromisoformat(week) + timedelta(days=6)


def _id(manifest: Manifest | None) -> str:
    return str((manifest or {}).get("snapshot_id"))


def _named(keys: Sequence[str]) -> str:
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def _moment(manifest: Manifest) -> datetime:
    return datetime.fromisoformat(manifest["as_of"]).astimezone(UTC)


Decide = Callable[[duckdb.DuckDBPyConnection, History, datetime], Found]


def _scale_of(name: str) -> Decide:
    return lambda warehouse, history, _: scale(warehouse, history, name)


#: Checks of the whole candidate against its history -> how each is decided. What can go wrong by itself has a name of
#: its own: whoever lets a check pass says nothing of the others.
CHECKS: dict[str, Decide] = {
    "gate:past:days": lambda warehouse, history, _: past_days(warehouse, history),
    "gate:past:features": lambda warehouse, history, _: past_features(warehouse, history),
    "gate:drift:states": states_shift,
    "gate:drift:breadth": breadth_shift,
    "gate:drift:accounts": lambda warehouse, history, _: accounts_shift(warehouse, history),
    **{f"gate:scale:{name}": _scale_of(name) for name in mart_profile.SCALES},
}
