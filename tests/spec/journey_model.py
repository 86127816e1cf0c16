"""A small model of the journey of one account, written from docs/success-ops.md and docs/contracts.md.

It shares no code with the engine: conditions are Python functions here, stages plain dictionaries, and everything
happens one person at a time. `test_random_schedules.py` lets both live through the same months.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

WEEK = timedelta(days=7)
Facts = Mapping[str, Any]  # what is known of the account and one of its people
Ask = Callable[[Facts], bool | None]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A stage."""

    key: str
    is_task: bool = False
    after: timedelta = timedelta(0)
    when: Ask | None = None
    wait_until: Ask | None = None
    wait_for: timedelta = timedelta(0)
    goal: str | None = None  # the account has `tried` or `adopted`
    ways: tuple[tuple[str | None, Ask | None], ...] = ()  # where to (None: the end), and when
    within: timedelta = WEEK
    dedupe: str = ""


@dataclass(frozen=True, kw_only=True)
class Book:
    """One version of a playbook."""

    name: str
    steps: tuple[Step, ...]
    goal: str = "adopted"
    goal_by: str = "account"
    exit_when: Ask | None = None
    priority: int = 100
    follows: bool = True
    person_cap: tuple[int, timedelta] = (99, WEEK)
    account_cap: tuple[int, timedelta] = (99, WEEK)
    opens: tuple[int, int] = (8, 18)  # hours on the recipient's clock
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)

    def step(self, key: str) -> Step:
        return next(step for step in self.steps if step.key == key)


@dataclass
class Person:
    """Somebody in one enrollment."""

    name: str
    is_in: bool = True
    ends: dict[str, datetime] = field(default_factory=dict)  # stage -> when it was over
    waits_for_task: dict[str, datetime] = field(default_factory=dict)  # stage -> when it came to it
    mails: dict[str, str] = field(default_factory=dict)  # stage -> `open` while nobody knows


@dataclass
class Task:
    person: str  # who came first
    due_at: datetime
    dedupe: str
    closed_at: datetime | None = None


@dataclass
class Journey:
    """One enrollment."""

    number: int
    book: Book  # as it was entered
    entered_at: datetime
    people: list[Person]
    versions: list[Book] = field(default_factory=list)  # every version ever approved, the newest first
    ended: str | None = None
    tasks: dict[str, Task] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What a tick finds."""

    now: datetime
    gate_held: bool
    everything_paused: bool
    playbooks: Mapping[str, str]  # pause or stop
    account: str | None  # pause or stop
    facts: Mapping[str, Facts]  # by person
    gone: frozenset[str]  # people who are not in the data any more
    suppressed: frozenset[str]
    zones: Mapping[str, str]


class Account:
    """One account in all its playbooks."""

    def __init__(self) -> None:
        self.journeys: list[Journey] = []
        self.touches: list[tuple[datetime, str]] = []  # mails taken and tasks closed: when, to whom
        self.in_flight: list[tuple[int, str, str]] = []  # mails of unknown fate: enrollment, person, stage
        self.told: list[tuple[Any, ...]] = []  # all that was ever decided

    # --- what the world does ---

    def mail_taken(self, number: int, person: str, key: str, at: datetime) -> None:
        self.touches.append((at, person))
        for journey in self.journeys:
            for one in journey.people:
                if (journey.number, one.name) == (number, person):
                    one.ends[key] = at
                    one.mails.pop(key, None)
        if (number, person, key) in self.in_flight:
            self.in_flight.remove((number, person, key))

    def mail_unknown(self, number: int, person: str, key: str) -> None:
        self.in_flight.append((number, person, key))

    def task_closed(self, number: int, key: str, at: datetime) -> None:
        (journey,) = (one for one in self.journeys if one.number == number)
        task = journey.tasks.get(key)
        if task is not None:  # one that only the engine opened is a difference, and told at the end
            task.closed_at = at
            self.touches.append((at, task.person))

    # --- what a tick does ---

    def tick(self, moment: Moment) -> list[tuple[int, str, str]]:
        """Decide; return the mails to be sent: enrollment, person, stage."""
        for journey in self.journeys:
            if journey.ended is None:
                self._leave(journey, moment)
        mails: list[tuple[Any, ...]] = []
        tasks: list[tuple[Any, ...]] = []
        for journey in self.journeys:
            if journey.ended is None:
                for person in journey.people:
                    if person.is_in:
                        self._decide(journey, person, moment, mails, tasks)
        self._open_tasks(tasks, moment)
        return self._choose(mails, moment)

    def _leave(self, journey: Journey, moment: Moment) -> None:
        """End what ends: a stop, the goal, everybody's own reasons, or no stage left."""
        book = _counts(journey)
        if moment.playbooks.get(book.name) == "stop" or moment.account == "stop":
            self._end(journey, "stopped")
            return
        there = [person for person in journey.people if person.is_in]
        sound = not moment.gate_held
        if sound and book.goal_by == "account" and _reached(moment.facts[there[0].name]["account_state"], book.goal):
            self._end(journey, "goal_reached")
            return
        reasons: dict[str, str] = {}
        for person in there:
            facts = moment.facts[person.name]
            if sound and book.goal_by == "contact" and _reached(facts["contact_state"], book.goal):
                reasons[person.name] = "goal_reached"
            elif sound and book.exit_when is not None and book.exit_when(facts) is True:
                reasons[person.name] = "exit_condition"
            elif person.name in moment.suppressed:
                reasons[person.name] = "suppressed"
            elif sound and person.name in moment.gone:
                reasons[person.name] = "left"
        done = [person.name in reasons or self._has_all(journey, person, moment) for person in there]
        for person in there:
            if person.name in reasons:
                person.is_in = False
                self.told.append((journey.number, person.name, "left", reasons[person.name]))
        if all(done):
            same = {reasons.get(person.name) for person in there}
            self._end(journey, (same.pop() or "completed") if len(same) == 1 else "completed")

    def _has_all(self, journey: Journey, person: Person, moment: Moment) -> bool:
        """Say whether no stage is left; while the gate is held, a way that a condition opens leads nowhere."""
        if _waits(journey, person, moment) or (moment.gate_held and self._at_a_fork(journey, person, moment)):
            return False
        return self._next(journey, person, moment) is None

    def _end(self, journey: Journey, reason: str) -> None:
        journey.ended = reason
        self.told.append((journey.number, "ended", reason))

    def _next(self, journey: Journey, person: Person, moment: Moment) -> Step | None:
        """Return the stage this person stands before; the last stage that is over says where that is."""
        book = _counts(journey)
        keys = [step.key for step in book.steps]
        over = _over(journey, person, moment)
        places = {key: _place(key, keys, journey.versions) for key in over}
        at = max(places.values(), default=-1.0)
        if at == int(at) and at >= 0:
            step = book.steps[int(at)]
            for to, when in step.ways:
                if when is None or when(moment.facts[person.name]) is True:
                    return None if to is None else book.step(to)
            return book.steps[int(at) + 1] if int(at) + 1 < len(keys) else None
        return next((step for place, step in enumerate(book.steps) if place > at), None)

    def _decide(self, journey, person, moment, mails, tasks) -> None:
        if _waits(journey, person, moment) or (moment.gate_held and self._at_a_fork(journey, person, moment)):
            return
        step = self._next(journey, person, moment)
        if step is None:
            return
        now, facts, book = moment.now, moment.facts[person.name], _counts(journey)
        over = _over(journey, person, moment)
        due = max(over.values(), default=journey.entered_at) + step.after
        if due > now:
            return
        what = (journey.number, person.name, step.key)
        said = True if step.when is None else step.when(facts)
        sound = not moment.gate_held
        if now - due - step.wait_for > WEEK:
            reason = "too_late"
        elif sound and step.wait_until is not None and step.wait_until(facts) is not True and now < due + step.wait_for:
            return
        elif sound and step.goal is not None and _reached(facts["account_state"], step.goal):
            reason = "stage_goal_reached"
        elif sound and said is not True:
            reason = "value_missing" if said is None else "condition_false"
        elif self._must_wait(moment, book, person, step):
            return
        else:
            place = [one.key for one in book.steps].index(step.key)
            if step.is_task:
                tasks.append((book.priority, book.name, place, journey.number, person, journey, step))
            else:
                mails.append((book.priority, book.name, place, person.name, journey.number, person, journey, step))
            return
        person.ends[step.key] = now
        self.told.append((*what, "passed over", reason))

    def _must_wait(self, moment: Moment, book: Book, person: Person, step: Step) -> bool:
        """Say whether a pause, the gate, or the recipient's window stands in between."""
        is_paused = moment.everything_paused or "pause" in (moment.playbooks.get(book.name), moment.account)
        is_awake = step.is_task or _open(moment.now, moment.zones[person.name], book)
        return is_paused or moment.gate_held or not is_awake

    def _at_a_fork(self, journey: Journey, person: Person, moment: Moment) -> bool:
        """While the gate is held nobody takes a way that a condition opens."""
        book = _counts(journey)
        keys = [step.key for step in book.steps]
        at = max((_place(key, keys, journey.versions) for key in _over(journey, person, moment)), default=-1.0)
        return at == int(at) and at >= 0 and any(when is not None for _, when in book.steps[int(at)].ways)

    def _open_tasks(self, wanted: list[tuple[Any, ...]], moment: Moment) -> None:
        """Open one task for all of an enrollment who stand before it, and one of a kind for an account."""
        holds = {
            task.dedupe: (journey.number, key)
            for journey in self.journeys
            if journey.ended is None
            for key, task in journey.tasks.items()
            if task.closed_at is None
        }
        for *_, number, person, journey, step in sorted(wanted, key=lambda one: one[:4]):
            kind = step.dedupe or f"{journey.book.name}/{step.key}"
            if holds.setdefault(kind, (number, step.key)) != (number, step.key):
                person.ends[step.key] = moment.now
                self.told.append((number, person.name, step.key, "passed over", "duplicate_task"))
                continue
            person.waits_for_task[step.key] = moment.now
            self.told.append((number, person.name, step.key, "task"))
            if step.key not in journey.tasks:
                journey.tasks[step.key] = Task(person=person.name, due_at=moment.now + step.within, dedupe=kind)

    def _choose(self, mails: list[tuple[Any, ...]], moment: Moment) -> list[tuple[int, str, str]]:
        """One mail a person; then the caps, the most important first."""
        sent: list[tuple[int, str, str]] = []
        seen: set[str] = set()
        in_account = 0
        for *_, person, journey, step in sorted(mails, key=lambda one: one[:5]):
            book = _counts(journey)
            if person.name in seen:
                continue
            seen.add(person.name)
            most, per = book.person_cap
            flying = sum(name == person.name for _, name, _ in self.in_flight)
            if sum(at > moment.now - per for at, name in self.touches if name == person.name) + flying >= most:
                continue
            most, per = book.account_cap
            in_account += 1
            if sum(at > moment.now - per for at, _ in self.touches) + len(self.in_flight) + in_account > most:
                continue
            person.mails[step.key] = "open"
            sent.append((journey.number, person.name, step.key))
            self.told.append((journey.number, person.name, step.key, "sent"))
        return sent


def _counts(journey: Journey) -> Book:
    """Return the version that counts: the newest approved one says whether people follow it."""
    newest = journey.versions[0]
    return newest if newest.follows else journey.book


def _over(journey: Journey, person: Person, moment: Moment) -> dict[str, datetime]:
    """Return the stages that are over for a person, tasks that somebody closed or that lapsed among them."""
    over = dict(person.ends)
    for key, came_at in person.waits_for_task.items():
        task = journey.tasks[key]
        if task.closed_at is not None:
            over[key] = max(came_at, min(task.closed_at, task.due_at + WEEK))
        elif task.due_at + WEEK <= moment.now:
            over[key] = max(came_at, task.due_at + WEEK)
    return over


def _waits(journey: Journey, person: Person, moment: Moment) -> bool:
    """Say whether a mail of unknown fate, or a task nobody has closed, holds this person up."""
    open_tasks = set(person.waits_for_task) - set(_over(journey, person, moment))
    return bool(person.mails or open_tasks)


def _place(key: str, keys: list[str], versions: list[Book]) -> float:
    """Return where a stage stands in the file; a removed one just before the next of its file that is left."""
    if key in keys:
        return float(keys.index(key))
    for book in versions:
        order = [step.key for step in book.steps]
        if key in order:
            left = [one for one in order[order.index(key) + 1 :] if one in keys]
            return (keys.index(left[0]) if left else len(keys)) - 0.5
    raise AssertionError(key)


def _reached(state: str | None, goal: str) -> bool:
    return state == "adopted" or (goal == "tried" and state in ("tried", "lapsed"))


def _open(now: datetime, zone: str, book: Book) -> bool:
    local = now.astimezone(ZoneInfo(zone))
    return local.weekday() in book.days and book.opens[0] <= local.hour < book.opens[1]
