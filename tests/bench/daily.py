"""One more day: the same refresh on 60 and on 365 days of history, of the same customers, whose last days are the same.
Measured is all of `operations.refresh` (build, gate, snapshot, people, ledger) and `DbtTransformer.build` within it, in
one process in which everything is imported and parsed. Data work is what a build costs beyond a build of next to no
data in the same process: both kinds of ratio are given, because a cost that is fixed hides in the first one how much
more a long history asks for. The newest day is a Tuesday; of three, one is the day after a Sunday, on which a week is
added to the history of health as well, and the median leaves it out. Both must end with the same windows of 28 days and
the same facts of the days they share.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from tests.bench.harness import EVENTS, ROUNDS, Measured, Result, apart, bound, here, median, memory, must_agree, say
from tests.bench.usage import LAST_DAY, Log, moment, write
from uptake.adapters.transformer_dbt import DbtTransformer
from uptake.ports import Build

SHORT, LONG = 60, 365
LOG = Log(events=max(EVENTS // 500, 100), days=LONG + ROUNDS, users=EVENTS // 1_000, accounts=EVENTS // 20_000)
TINY = Log(events=100, days=60, users=20, accounts=5)
GROWTH_TARGET = 1.3
SHARE_TARGET = 0.05

_ANSWER = """
    select
        (select (count(*), sum(count_events), sum(count_contacts), sum(sum_quantity))
         from marts.fct_account_feature_daily where date_day > $first),
        (select sum(days_used_28) from marts.contact_features),
        (select (sum(days_used_28), sum(days_used_prev_28), sum(count_contacts_28)) from marts.account_features),
        (select (count(*), sum(count_active_contacts_28), sum(count_features_adopted), sum(days_since_last_use))
         from marts.accounts_current),
        (select (count(*), sum(active_days_28), sum(count_features_adopted)) from marts.contacts_current)
"""
_SETTLED = 3.5  # seconds; a file touched later is read again at the next build, because it may still change


@dataclass
class Clocked:
    """A transformer that measures its builds."""

    inner: DbtTransformer
    builds: list[Measured] = field(default_factory=list)

    def build(self, *, source: str, raw: Path, as_of: datetime | None) -> Build:
        self.builds.append(here(lambda: self.inner.build(source=source, raw=raw, as_of=as_of)))
        return self.builds[-1].answer

    def people(self, warehouse: Path) -> Any:
        return self.inner.people(warehouse)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """What the refreshes of one history came to: the first, of everything, and then one per new day."""

    full: Measured
    builds: list[Measured]
    refreshes: list[Measured]


def run(scratch: Path) -> list[Result]:
    """Measure the daily run."""
    folder = scratch / "days"
    if not folder.exists():
        say(f"writing {LOG}")
        write(LOG, folder.with_suffix(".draft")).rename(folder)
    done = apart(bound(_days, folder, scratch / "daily"))
    fixed, short, long = done.answer
    size = f"{LOG.events:,} events a day"
    whole = f"{LONG} days, {LOG.events * LONG / 1e6:.3g} M events"
    beyond = {days: median(runs.builds).cpu - fixed.cpu for days, runs in ((SHORT, short), (LONG, long))}
    return [
        _growth("one new day: build", size, median(short.builds).cpu, median(long.builds).cpu),
        _growth("one new day: whole refresh", size, median(short.refreshes).cpu, median(long.refreshes).cpu),
        _growth("one new day: data work", size, beyond[SHORT], beyond[LONG], target=None),
        Result(
            work=f"one new day: data work, on {LONG} days",
            size=f"{size}, {whole}",
            against="the full build's data work",
            floor=long.full.cpu - fixed.cpu,
            ours=beyond[LONG],
            target=SHARE_TARGET,
        ),
        memory("one new day: peak memory, the full build before it included", whole, done.peak),
    ]


def _growth(work: str, size: str, short: float, long: float, *, target: float | None = GROWTH_TARGET) -> Result:
    """Compare CPU seconds on the short and on the long history."""
    return Result(
        work=f"{work}, on {LONG} days",
        size=size,
        against=f"the same on {SHORT} days",
        floor=short,
        ours=long,
        target=target,
    )


def _days(folder: Path, place: Path) -> tuple[Measured, Runs, Runs]:
    """Build next to nothing, then both histories, then add the same new days to them in turns."""
    shutil.rmtree(place, ignore_errors=True)
    fixed = _fixed(place / "tiny")
    last = [LAST_DAY - timedelta(days=back) for back in reversed(range(ROUNDS))]
    histories = {days: _home(folder, place / str(days), days, last[0]) for days in (SHORT, LONG)}
    time.sleep(_SETTLED)
    first = {
        days: _refresh(home, last[0] - timedelta(days=1), f"all of {days} days") for days, home in histories.items()
    }
    runs: dict[int, list[tuple[Measured, Measured]]] = {days: [] for days in histories}
    for day in last:
        for home in histories.values():
            _add(folder, home, day)
        time.sleep(_SETTLED)
        for days, home in histories.items():
            runs[days].append(_refresh(home, day, f"{day} on {days} days"))
        since = last[0] - timedelta(days=SHORT)
        must_agree(f"daily: {day}", _answer(histories[SHORT], since), _answer(histories[LONG], since))
    short, long = (
        Runs(full=first[days][0], builds=[one for one, _ in runs[days]], refreshes=[one for _, one in runs[days]])
        for days in (SHORT, LONG)
    )
    return fixed, short, long


def _fixed(home: Path) -> Measured:
    """Return what a warm build of next to nothing costs."""
    write(TINY, home / "raw")
    time.sleep(_SETTLED)
    runs = [_refresh(home, LAST_DAY, "next to no data")[0] for _ in range(ROUNDS + 1)]
    return median(runs[1:])


def _home(folder: Path, home: Path, days: int, end: date) -> Path:
    """Return a home with the last days of the log before `end`."""
    (home / "raw" / "events").mkdir(parents=True)
    for file in folder.glob("*.ndjson"):
        shutil.copy(file, home / "raw")
    for back in range(1, days + 1):
        _add(folder, home, end - timedelta(days=back))
    return home


def _add(folder: Path, home: Path, day: date) -> None:
    shutil.copy(folder / "events" / f"{day}.ndjson.gz", home / "raw" / "events")


def _refresh(home: Path, day: date, told: str) -> tuple[Measured, Measured]:
    """Refresh one home as of the end of a day; return what the build in it cost, and all of it."""
    from uptake.bootstrap import open_uptake

    uptake = open_uptake(home=home, raw=home / "raw")
    clocked = Clocked(uptake.transformer)
    uptake.transformer = clocked  # type: ignore[assignment]
    whole = here(lambda: uptake.refresh(as_of=moment(day), docs=False))
    assert whole.answer.gate == "passed", f"{told}: {whole.answer.reasons}"
    build = clocked.builds[0]
    say(f"daily, {told}: build {build.cpu:.2f}, refresh {whole.cpu:.2f} s CPU, {whole.wall:.2f} s")
    return replace(build, answer=None), replace(whole, answer=None)


def _answer(home: Path, first: date) -> Any:
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as session:
        return session.execute(_ANSWER, {"first": first}).fetchall()
