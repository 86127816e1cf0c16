"""The demo: 45 days of a customer base, its usage, two playbooks and their mail, in a few minutes.

It is a list of steps. After each one a marker is written; a step that was begun and not finished is done again, which
is harmless, because everything it calls is. So kill -9 anywhere costs at most one step, and nothing is sent twice.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from uptake.errors import Held, Refused
from uptake.sandbox.base import FIRST_DAY, HISTORY_DAYS, CustomerBase
from uptake.sandbox.demo_table import Figures, print_figures
from uptake.sandbox.files import AcceptedMail, read_accept_log, write_json
from uptake.sandbox.ports import marker_path
from uptake.sandbox.truth import Enrollment, planted_lifts
from uptake.sandbox.usage import Usage

DAYS = 45
REFRESH_EVERY = 3  # days
REFRESH_HOUR = 6  # UTC, when the day before is complete
# UTC. Mail windows are working hours where people live: Asia and the Pacific, India and Europe, all of America.
TICK_HOURS = (1, 8, 16)
START = datetime.combine(FIRST_DAY, time(), UTC)
APPROVER = "demo"


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a refresh came to."""

    is_passed: bool
    reasons: tuple[str, ...] = ()


class DemoWorld(Protocol):
    """The product, as far as the demo drives it. Every method may be called again after a kill."""

    def refresh(self, *, now: datetime) -> Refreshed:
        """Build the marts as of now, ask the gate, publish the snapshot, load the people, export the ledger."""

    def plan(self, playbook: str, *, now: datetime) -> str:
        """Plan a playbook on the current snapshot; return the plan's id."""

    def approve(self, plan_id: str, *, by: str, now: datetime) -> None:
        """Approve the plan's release."""

    def tick(self, *, now: datetime) -> int:
        """Enter, decide and send all that is due; return how many mails were accepted."""

    def post_events(self, *, now: datetime) -> int:
        """Let fakegrid post what has happened to accepted mails by now; return how many events."""

    def record_delivery(self, *, now: datetime) -> int:
        """Fold what the webhook has stored; return how many events were new."""

    def measure(self, *, now: datetime) -> None:
        """Compute outcomes and lift."""

    def report(self, *, now: datetime) -> Mapping[str, Path]:
        """Write the pages; return each one's title and path."""

    def enrollments(self) -> Sequence[Enrollment]:
        """Return every enrollment, all arms."""

    def figures(self, *, now: datetime) -> Figures:
        """Return what the closing table shows."""


class Movable(Protocol):
    """The sandbox's clock."""

    def now(self) -> datetime:
        """Return the present moment."""

    def move(self, moment: datetime) -> None:
        """Move it forward."""


@dataclass(frozen=True, kw_only=True)
class DemoPlan:
    """How long the demo lasts and what it runs. A finished part can only be continued with the same one."""

    playbooks: tuple[str, ...]
    days: int = DAYS
    tick_hours: tuple[int, ...] = TICK_HOURS
    refresh_every: int = REFRESH_EVERY
    history_days: int = HISTORY_DAYS

    @property
    def end(self) -> datetime:
        """The morning after the last day, when all of it is known."""
        return START + timedelta(days=self.days, hours=REFRESH_HOUR)


@dataclass(frozen=True)
class _Step:
    name: str
    at: datetime
    run: Callable[[datetime], None]


@dataclass
class _Marker:
    """How far the demo has come, in `HOME/sandbox/demo.json`."""

    path: Path
    identity: dict[str, Any]
    done: int = 0
    pages: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, identity: dict[str, Any]) -> _Marker:
        stored = json.loads(path.read_text())
        found = stored.get("identity")
        if found not in (None, identity):
            raise Refused(f"{path}: this demo was begun as {found}, not as {identity}; FRESH=1 starts over")
        return cls(path, identity, stored.get("done", 0), stored.get("pages", {}))

    def write(self) -> None:
        write_json(self.path, {"identity": self.identity, "done": self.done, "pages": self.pages})


def demo_identity(home: Path) -> Mapping[str, Any]:
    """Return what a home's demo was begun with: seed, accounts, contacts and more; empty when none was."""
    path = marker_path(home)
    found: Mapping[str, Any] = (json.loads(path.read_text()).get("identity") or {}) if path.exists() else {}
    return found


def prepare_home(home: Path, *, fresh: bool) -> None:
    """Make a folder a demo home, or find that it is one; `fresh` empties it first. Call it before anything opens it.

    Raises Refused for a folder that holds something else: real data must not be mixed with, or removed for, a demo.
    """
    marker = marker_path(home)
    if home.exists() and not marker.exists() and any(home.iterdir()):
        raise Refused(f"{home} is not empty and is no demo's home: {marker} is missing; set UPTAKE_HOME elsewhere")
    if fresh and marker.exists():
        _empty(home, marker)
    if not marker.exists():
        write_json(marker, {})


def _empty(home: Path, marker: Path) -> None:
    """Remove everything; the marker goes last, so that a removal cut short leaves a demo's home."""
    others = [entry for entry in home.iterdir() if entry != marker.parent]
    beside = [entry for entry in marker.parent.iterdir() if entry != marker]
    for entry in (*others, *beside):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    marker.unlink()


def run_demo(
    world: DemoWorld,
    *,
    base: CustomerBase,
    plan: DemoPlan,
    home: Path,
    raw: Path,
    clock: Movable,
    console: Console,
) -> Figures:
    """Run the demo, or what is left of it, and print its table. `prepare_home` comes first.

    Raises Held when the first refresh does not pass the gate, Refused when the home holds another demo.
    """
    if base.first_day != START.date():
        raise ValueError(f"the customer base begins on {base.first_day}; the demo begins on {START.date()}")
    identity: dict[str, Any] = {
        "seed": base.seed,
        "accounts": len(base.accounts),
        "contacts": len(base.contacts),
        "days": plan.days,
        "playbooks": list(plan.playbooks),
        "tick_hours": list(plan.tick_hours),
    }
    marker = _Marker.read(marker_path(home), identity)
    demo = _Demo(world, base, plan, home, raw, marker)
    with _progress(console) as progress:
        demo.run(clock, progress)
    mails = demo.mails()
    truths = planted_lifts(base, demo.usage, mails, world.enrollments(), until=plan.end)
    figures = world.figures(now=clock.now())
    print_figures(console, figures, truths, {title: Path(page) for title, page in marker.pages.items()})
    return figures


class _Demo:
    def __init__(
        self, world: DemoWorld, base: CustomerBase, plan: DemoPlan, home: Path, raw: Path, marker: _Marker
    ) -> None:
        self.usage = Usage(base)
        self._world, self._base, self._plan, self._raw, self._marker = world, base, plan, raw, marker
        self._accept_log = home / "fakegrid" / "accepted.jsonl"
        self._sent = 0

    def mails(self) -> list[AcceptedMail]:
        """Return what fakegrid has accepted so far."""
        return read_accept_log(self._accept_log)

    def run(self, clock: Movable, progress: Progress) -> None:
        """Do every step that is not done yet."""
        steps = self._steps()
        bar = progress.add_task("the demo", total=len(steps), completed=self._marker.done, more="")
        for number in range(self._marker.done, len(steps)):
            step = steps[number]
            progress.update(bar, description=step.name, more=f"{self._sent} mails" if self._sent else "")
            if step.at > clock.now():
                clock.move(step.at)
            step.run(step.at)
            self._marker.done = number + 1
            self._marker.write()
            progress.advance(bar)
        progress.update(bar, description=f"{self._plan.days} days lived", more="")

    def _steps(self) -> list[_Step]:
        plan = self._plan
        steps = [
            _Step(f"history: {START + timedelta(days=day):%d %b}", START, self._history(day))
            for day in range(-plan.history_days, 0)
        ]
        for day in range(plan.days):
            midnight = START + timedelta(days=day)
            named = f"day {day + 1:2d} of {plan.days}, {midnight:%a %d %b}"
            early = [hour for hour in plan.tick_hours if hour < REFRESH_HOUR and day > 0]
            late = [hour for hour in plan.tick_hours if hour >= REFRESH_HOUR]
            steps += [_Step(f"{named}, {hour:02d}:00", midnight + timedelta(hours=hour), self._tick) for hour in early]
            steps.append(_Step(f"{named}, new data", midnight + timedelta(hours=REFRESH_HOUR), self._morning))
            if day == 0:
                steps += [_Step(f"{named}, {name}", steps[-1].at, self._launch(name)) for name in plan.playbooks]
            steps += [_Step(f"{named}, {hour:02d}:00", midnight + timedelta(hours=hour), self._tick) for hour in late]
        return [
            *steps,
            _Step("the last day's data", plan.end, self._last_morning),
            _Step("report", plan.end, self._end),
        ]

    def _history(self, day: int) -> Callable[[datetime], None]:
        def write(_: datetime) -> None:
            self.usage.write_day(self._raw, self._base.date_of(day), ())

        return write

    def _morning(self, now: datetime) -> None:
        """Yesterday's usage arrives; every third day the marts are refreshed."""
        is_first = now < START + timedelta(days=1)
        if not is_first:
            self.usage.write_day(self._raw, now.date() - timedelta(days=1), self.mails())
        if (now - START).days % self._plan.refresh_every == 0:
            self._refresh(now, must_pass=is_first)

    def _last_morning(self, now: datetime) -> None:
        self.usage.write_day(self._raw, now.date() - timedelta(days=1), self.mails())
        self._deliver(now)
        self._refresh(now, must_pass=True)

    def _refresh(self, now: datetime, *, must_pass: bool) -> None:
        self._base.write(self._raw, on=now.date())
        refreshed = self._world.refresh(now=now)
        if must_pass and not refreshed.is_passed:
            raise Held(f"the demo's data did not pass the gate: {'; '.join(refreshed.reasons) or 'no reason given'}")

    def _launch(self, playbook: str) -> Callable[[datetime], None]:
        def launch(now: datetime) -> None:
            self._world.approve(self._world.plan(playbook, now=now), by=APPROVER, now=now)

        return launch

    def _tick(self, now: datetime) -> None:
        self._deliver(now)  # first: who has unsubscribed since must not be mailed now
        self._sent += self._world.tick(now=now)

    def _deliver(self, now: datetime) -> None:
        self._world.post_events(now=now)
        self._world.record_delivery(now=now)

    def _end(self, now: datetime) -> None:
        self._world.measure(now=now)
        self._marker.pages = {title: str(page) for title, page in self._world.report(now=now).items()}


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[more]}"),
        console=console,
    )
