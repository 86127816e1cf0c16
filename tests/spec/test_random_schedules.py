"""The engine against the small model: random playbooks, edits, events and leaps of the clock, person by person.

One schedule is one account with its people, living through the months of a world in up to three playbooks. A world
holds many, because a tick decides for all at once; none of them touches another. `make soak` runs more of them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spec.journey_model import Account, Book, Journey, Moment, Person, Step
from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.adapters.ledger import open_ledger
from uptake.domain.playbooks import Playbook, Release, StageText
from uptake.domain.sends import SuppressionReason
from uptake.domain.workspace import Workspace
from uptake.operations.tasks import close_task
from uptake.operations.tick import tick
from uptake.ports import Approved, Entry, Keys, Plan, Snapshot
from uptake.testing import write_snapshot

SCHEDULES = 500  # of one world
TICKS = 12
START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHORTLY_BEFORE = timedelta(minutes=45)  # what people and the mail service do, they do before a tick
LEAPS = (1, 5, 12, 24, 24, 24, 48, 48, 72, 220)  # hours

#: What a condition says: to the engine as text, to the model as a function.
ASKS: dict[str, Any] = {
    "account.arr > 10": lambda facts: None if facts["arr"] is None else facts["arr"] > 10,
    "feature.adoption_state == 'tried'": lambda facts: facts["contact_state"] == "tried",
    "account.plan != 'free'": lambda facts: facts["plan"] != "free",
    "account_feature.adoption_state == 'never' or account.arr < 10": lambda facts: (
        True if facts["account_state"] == "never" else None if facts["arr"] is None else facts["arr"] < 10
    ),
}
ALWAYS_OPEN = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "23:59"}
WORKDAYS = {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:00", "end": "18:00"}
WORKSPACE = {
    "sender": {"name": "Uptake", "address": "success@vendor.example"},
    "postal_address": "1 Long Street, Town",
    "topics": {"training": 7},
    "consent": {"default_basis": "contract"},
}


def _stage(random: Random, later: list[str]) -> dict[str, Any]:
    """Return a random stage that `later` ones follow."""
    stage: dict[str, Any] = {"after": random.choice(["0d", "1h", "1d", "2d", "3d"])}
    if random.random() < 0.25:
        stage |= {"task": "Call", "within": random.choice(["1d", "5d"])}
        stage |= {"dedupe": "help"} if random.random() < 0.4 else {}
    else:
        stage["email"] = "words.md"
    if random.random() < 0.3:
        stage["when"] = random.choice(list(ASKS))
    if random.random() < 0.25:
        stage |= {"wait_until": random.choice(list(ASKS)), "for": random.choice(["1d", "4d"])}
    if random.random() < 0.15:
        stage["goal"] = {"reach": random.choice(["tried", "adopted"]), "by": "account"}
    if random.random() < 0.3:
        to = random.choice([*later, "end"])
        stage["next"] = [{"to": to, "when": random.choice(list(ASKS))}] if random.random() < 0.7 else [{"to": to}]
    return stage


def _definition(random: Random, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a random playbook, or a random edit of the one before."""
    keys = random.sample("abcdef", random.randint(1, 4))
    if before is not None and random.random() < 0.7:
        keys = [key for key in before["stages"] if random.random() < 0.8]
        keys.insert(random.randint(0, len(keys)), next(key for key in "uvwxyz" if key not in keys))
        if random.random() < 0.3:
            random.shuffle(keys)
    person, account = random.randint(1, 3), random.randint(1, 5)
    return {
        "stages": {key: _stage(random, keys[place + 1 :]) for place, key in enumerate(keys)},
        "goal": {
            "reach": random.choice(["adopted", "adopted", "tried"]), "by": random.choice(["account", "contact"]),
            "within": "28d",
        },
        "exit_when": random.choice([None, None, "account.plan == 'free'"]),
        "priority": random.choice([10, 20]),
        "edits": random.choice(["follow", "pin"]),
        "workspace": {
            "caps": {"person": {"mails": person, "per": "2d"}, "account": {"mails": account, "per": "3d"}},
            "window": random.choice([ALWAYS_OPEN, WORKDAYS]),
        },
    }  # fmt: skip


def _for_engine(name: str, definition: Mapping[str, Any]) -> Release:
    own = {key: value for key, value in definition.items() if key != "workspace"}
    playbook = Playbook.model_validate(
        {
            "teaches": "dashboards", "topic": "training", "audience": {"where": "account.plan == 'team'"},
            "holdout": "0%", "enter": "manual", **own,
        }
    )  # fmt: skip
    texts = {key: StageText(subject=key, body="Words") for key, stage in playbook.stages.items() if stage.email}
    workspace = Workspace.model_validate(WORKSPACE | definition["workspace"])
    return Release(name=name, playbook=playbook, workspace=workspace, texts=texts, layout="")


def _long(text: str) -> timedelta:
    return int(text[:-1]) * {"h": HOUR, "d": 24 * HOUR}[text[-1]]


def _for_model(name: str, definition: Mapping[str, Any]) -> Book:
    steps = []
    for key, stage in definition["stages"].items():
        ways = [
            (None if way["to"] == "end" else way["to"], ASKS[way["when"]] if "when" in way else None)
            for way in stage.get("next", [])
        ]
        steps.append(
            Step(
                key=key, is_task="task" in stage, after=_long(stage["after"]), when=ASKS.get(stage.get("when")),
                wait_until=ASKS.get(stage.get("wait_until")), wait_for=_long(stage.get("for", "0d")),
                goal=stage.get("goal", {}).get("reach"), ways=tuple(ways), within=_long(stage.get("within", "7d")),
                dedupe=stage.get("dedupe", ""),
            )
        )  # fmt: skip
    caps, window = definition["workspace"]["caps"], definition["workspace"]["window"]
    return Book(
        name=name, steps=tuple(steps), goal=definition["goal"]["reach"], goal_by=definition["goal"]["by"],
        exit_when=(lambda facts: facts["plan"] == "free") if definition["exit_when"] else None,
        priority=definition["priority"], follows=definition["edits"] == "follow",
        person_cap=(caps["person"]["mails"], _long(caps["person"]["per"])),
        account_cap=(caps["account"]["mails"], _long(caps["account"]["per"])),
        opens=(0, 24) if window is ALWAYS_OPEN else (8, 18), days=tuple(range(len(window["days"]))),
    )  # fmt: skip


class World:
    """Everything random, once for the engine and once for the model."""

    def __init__(self, folder: Path, seed: int, schedules: int) -> None:
        self.random = Random(seed)
        self.folder, self.path = folder, folder / "ledger.sqlite3"
        self.ledger = open_ledger(f"sqlite:///{self.path}", Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,)))
        self.journeys = DuckJourneys()
        self.snapshot: Snapshot | None = None
        self.accounts = {f"a{number}": Account() for number in range(schedules)}
        self.people = {
            name: [f"{name}-{place}" for place in range(self.random.choice([1, 1, 2, 3]))] for name in self.accounts
        }
        self.zones = {
            person: self.random.choice(["UTC", "Asia/Tokyo", "America/New_York"])
            for people in self.people.values()
            for person in people
        }
        self.facts: dict[str, dict[str, Any]] = {
            name: {"arr": 20.0, "plan": "team", "account_state": "never", "contact_state": "never"}
            for name in self.accounts
        }
        self.own_state: dict[str, str] = dict.fromkeys(self.zones, "never")
        self.gone: set[str] = set()
        self.suppressed: set[str] = set()
        self.orders: dict[tuple[str, str], str] = {}
        self.versions: defaultdict[str, list[Book]] = defaultdict(list)
        self.approved: dict[str, Approved] = {}
        self.definitions: dict[str, dict[str, Any]] = {}
        self.unknown: list[tuple[int, str, str]] = []

    def current(self) -> Snapshot | None:
        return self.snapshot

    def live(self) -> None:
        """Let engine and model live through it."""
        random, now = self.random, START
        edited = {name: random.sample(range(2, TICKS - 1), 2) for name in ("p", "q", "r")}
        enters = {
            (account, name): random.randint(0, TICKS - 5)
            for account in self.accounts
            for name in edited
            if random.random() < 0.6
        }
        for number in range(TICKS):
            now += random.choice(LEAPS) * HOUR
            held = number > 1 and random.random() < 0.1
            if number:
                self._events(now)
            self._publish(now, number, held)
            for name, at in edited.items():
                if number in (0, *at):
                    self._approve(name, now)
            for name in edited:
                self._enter(name, sorted(one for one, at in enters.items() if at == number and one[1] == name), now)
            self._orders(now)
            result = tick(self.journeys, self, self.ledger, now=now, git_sha="t", owner="t")  # type: ignore[arg-type]
            assert (result.gate_held is not None) is held
            self._sends(now, self._model_tick(now, held))

    def _events(self, now: datetime) -> None:
        """Change what is known of people, and let tasks and messages come to their end, shortly before the tick."""
        random, at = self.random, now - SHORTLY_BEFORE
        for name, people in self.people.items():
            facts = self.facts[name]
            if random.random() < 0.15:
                facts["arr"] = random.choice([None, 5.0, 20.0])
            if random.random() < 0.04:
                facts["plan"] = random.choice(["free", "team"])
            if random.random() < 0.12:
                facts["account_state"] = random.choice(["never", "tried", "tried", "lapsed", "adopted"])
            for person in people:
                if random.random() < 0.12:
                    self.own_state[person] = random.choice(["never", "tried", "tried", "adopted"])
                if random.random() < 0.02:
                    self.gone ^= {person}
                if random.random() < 0.02 and person not in self.suppressed:
                    self.suppressed.add(person)
                    address = self.ledger.people.address_hash_of(person)
                    assert address is not None
                    self.ledger.people.suppress(
                        address, reason=SuppressionReason.COMPLAINED, topic=None, source="test", now=at
                    )
        for task in self.ledger.read("open_tasks"):
            if random.random() < 0.3:
                close_task(self.ledger, task_id=task["task_id"], outcome="done", reason="x", by="Ada", now=at)
                self.accounts[task["account_id"]].task_closed(task["enrollment_id"], task["stage_key"], at)
        for mail in list(self.unknown):
            if random.random() < 0.5:
                self.unknown.remove(mail)
                self._taken(mail, at)

    def _publish(self, now: datetime, number: int, held: bool) -> None:
        everybody = [(name, person) for name, people in self.people.items() for person in people]
        shown = [(name, person) for name, person in everybody if person not in self.gone]
        marts = {
            "accounts_current": [
                {"account_id": name, "plan": facts["plan"], "arr": facts["arr"], "age_days": 99}
                for name, facts in self.facts.items()
            ],
            "dim_accounts": [{"account_id": name} for name in self.facts],
            "account_features": [
                {
                    "account_id": name, "feature_key": "dashboards", "is_entitled": True,
                    "adoption_state": facts["account_state"],
                }
                for name, facts in self.facts.items()
            ],
            "contacts_current": [{"contact_id": person, "account_id": name} for name, person in shown],
            "contact_features": [
                {
                    "contact_id": person, "account_id": name, "feature_key": "dashboards",
                    "adoption_state": self.own_state[person],
                }
                for name, person in shown
            ],
        }  # fmt: skip
        snapshot = write_snapshot(self.folder, as_of=now, marts=marts, snapshot_id=f"s{number}")
        self.snapshot = Snapshot(
            snapshot_id=f"s{number}", as_of=now, directory=snapshot.directory, manifest={"goal_hash": "g"}
        )
        if number == 0:
            lines = [
                {
                    "contact_id": person, "account_id": name, "address": f"{person}@example.invalid",
                    "time_zone": self.zones[person],
                }
                for name, person in everybody
            ]  # fmt: skip
            self.ledger.people.load(pa.Table.from_pylist(lines), now=now)
        self.gate_id = self.ledger.gates.record(
            snapshot_id=f"s{number}", status="held" if held else "passed", checks=(), reasons=(), as_of=now, now=now
        )

    def _approve(self, name: str, now: datetime) -> None:
        definition = self.definitions[name] = _definition(self.random, self.definitions.get(name))
        release = _for_engine(name, definition)
        version_id = self.ledger.releases.save_version(release, git_sha="t", now=now)
        plan = Plan(
            plan_id=f"{name}-{now:%m%d%H}", playbook=name, version_id=version_id, release_hash=release.release_hash,
            plan_hash="", snapshot_id="s", planned_at=now, count_accounts=9, count_contacts=9,
            summary={"goal_hash": "g"},
        )  # fmt: skip
        self.ledger.releases.save_plan(plan)
        expires_at = now + timedelta(days=90)
        self.ledger.releases.approve(plan, by="Ada", now=now, expires_at=expires_at, tolerance=1.0)
        self.approved[name] = Approved(
            playbook=name, version_id=version_id, release=release, plan=plan, approved_by="Ada",
            expires_at=expires_at, tolerance=1.0,
        )  # fmt: skip
        self.versions[name].insert(0, _for_model(name, definition))

    def _enter(self, name: str, entering: list[tuple[str, str]], now: datetime) -> None:
        if not entering:
            return
        lines = [
            {
                "account_id": account, "contact_id": person, "contact_rank": rank, "feature_key": "dashboards",
                "entry_no": 1, "arm": "treatment", "u": 0.5, "stratum": "team",
            }
            for account, _ in entering
            for rank, person in enumerate(self.people[account], start=1)
        ]  # fmt: skip
        nobody = pa.table({column: pa.array([], pa.string()) for column in ("account_id", "contact_id", "reason")})
        self.ledger.enrollments.enter(
            Entry(contacts=pa.Table.from_pylist(lines), left_out=nobody),
            self.approved[name], snapshot_id="s", gate_id=self.gate_id, now=now,
        )  # fmt: skip
        numbers = dict(self._read("select account_id, enrollment_id from enrollments where playbook = ?", name))
        for account, _ in entering:
            people = [Person(person) for person in self.people[account]]
            journey = Journey(numbers[account], self.versions[name][0], now, people, self.versions[name])
            self.accounts[account].journeys.append(journey)

    def _orders(self, now: datetime) -> None:
        """Pause, stop and resume at random; whatever was ordered lasts for some ticks."""
        random = self.random
        for target in list(self.orders):
            if random.random() < 0.5:
                self._order(*target, "resume", now)
                del self.orders[target]
        targets = [("playbook", name) for name in self.approved] + [("all", "*")]
        targets += [
            ("account", account) for account in random.sample(list(self.accounts), max(1, len(self.accounts) // 50))
        ]
        for scope, target in targets:
            likely = 1.0 if scope == "account" else 0.06
            if (scope, target) not in self.orders and random.random() < likely:
                stops = {"all": 0.0, "playbook": 0.1, "account": 0.3}[scope]
                action = "stop" if random.random() < stops else "pause"
                self._order(scope, target, action, now)
                self.orders[scope, target] = action

    def _order(self, scope: Any, target: str, action: Any, now: datetime) -> None:
        self.ledger.releases.control(scope, target, action, reason="x", by="Ada", now=now)

    def _model_tick(self, now: datetime, held: bool) -> list[tuple[int, str, str]]:
        sent: list[tuple[int, str, str]] = []
        for name, account in self.accounts.items():
            people = self.people[name]
            moment = Moment(
                now=now, gate_held=held, everything_paused=("all", "*") in self.orders,
                playbooks={target: action for (scope, target), action in self.orders.items() if scope == "playbook"},
                account=self.orders.get(("account", name)),
                facts={one: {**self.facts[name], "contact_state": self._own_state(one)} for one in people},
                gone=frozenset(self.gone), suppressed=frozenset(self.suppressed), zones=self.zones,
            )  # fmt: skip
            before = len(account.told)
            sent += account.tick(moment)
            account.told[before:] = [(*one, now) for one in account.told[before:]]
        return sorted(sent)

    def _own_state(self, person: str) -> str:
        """Who is gone from the data has used nothing in them, either."""
        return "never" if person in self.gone else self.own_state[person]

    def _sends(self, now: datetime, sent: list[tuple[int, str, str]]) -> None:
        """Let most of what was sent be taken, and some of it be of unknown fate."""
        planned = self._read(
            "select enrollment_id, contact_id, stage_key from sends where status = 'planned' order by 1, 2, 3"
        )
        for mail in planned:
            if self.random.random() < 0.85:
                self._taken(mail, now)
            else:
                self.unknown.append(mail)
                self._write("unknown", None, mail)
                self._account(mail).mail_unknown(*mail)
        for mail in set(sent) - set(planned):  # a difference; it is told at the end
            self._account(mail).mail_unknown(*mail)

    def _taken(self, mail: tuple[int, str, str], at: datetime) -> None:
        self._write("accepted", at, mail)
        self._account(mail).mail_taken(*mail, at)

    def _account(self, mail: tuple[int, str, str]) -> Account:
        return self.accounts[mail[1].split("-")[0]]

    def _write(self, status: str, at: datetime | None, mail: tuple[int, str, str]) -> None:
        moment = None if at is None else at.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        self._pen.execute(
            "update sends set status = ?, accepted_at = ?,"
            " address_hash = (select p.address_hash from people p where p.contact_id = sends.contact_id)"
            " where enrollment_id = ? and contact_id = ? and stage_key = ?",
            [status, moment, *mail],
        )

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._pen.execute(query, values).fetchall()

    @property
    def _pen(self) -> sqlite3.Connection:
        if "pen" not in self.__dict__:
            self.pen = sqlite3.connect(self.path, isolation_level=None)
            self.pen.execute("pragma synchronous = off")
        return self.pen

    def differing(self) -> dict[str, Any]:
        """Return what each account got from the engine alone, and from the model alone."""
        found: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)
        said = {"send": "sent", "task": "task", "pass_over": "passed over"}
        for number, person, key, verdict, reason, at in self._read(
            "select enrollment_id, contact_id, stage_key, verdict, reason, decided_at from decisions"
            " where verdict in ('send', 'task', 'pass_over')"
        ):
            told = (number, person, key, said[verdict], *([reason] if reason else []), _aware(at))
            found[person.split("-")[0]].add(told)
        for number, account, reason, at in self._read(
            "select enrollment_id, account_id, end_reason, ended_at from enrollments where status = 'ended'"
        ):
            found[account].add((number, "ended", reason, _aware(at)))
        for number, person, reason, at in self._read(
            "select c.enrollment_id, c.contact_id, c.end_reason, c.ended_at"
            " from enrollment_contacts c join enrollments e using (enrollment_id) where c.status = 'ended'"
            " and (e.ended_at is null or c.ended_at <> e.ended_at or c.end_reason <> e.end_reason)"
        ):
            found[person.split("-")[0]].add((number, person, "left", reason, _aware(at)))
        differing = {}
        for name, account in self.accounts.items():
            # Who leaves in the very tick, and for the very reason, in which the enrollment ends is told once.
            ends = {(one[0], *one[2:]) for one in account.told if one[1] == "ended"}
            told = {one for one in account.told if not (one[2] == "left" and (one[0], *one[3:]) in ends)}
            if told != found[name]:
                differing[name] = {
                    "engine alone": sorted(found[name] - told, key=str),
                    "model alone": sorted(told - found[name], key=str),
                    "told": account.told,
                }  # fmt: skip
        return differing


def _aware(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Lived:
    """What came of a world."""

    differing: Mapping[str, Any]  # by account: what engine and model do not agree on
    decided: int
    mails: int


def live(folder: Path, seed: int, schedules: int = SCHEDULES) -> Lived:
    """Let one world live."""
    world = World(folder, seed, schedules)
    world.live()
    told = [one for account in world.accounts.values() for one in account.told]
    found = Lived(differing=world.differing(), decided=len(told), mails=sum("sent" in one for one in told))
    world.pen.close()
    world.ledger.close()
    return found


@settings(max_examples=2, deadline=None, database=None)
@given(seed=st.integers(0, 2**32))
def test_engine_and_model_agree_over_random_schedules(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = live(tmp_path_factory.mktemp("world"), seed)
    assert not found.differing, dict(list(found.differing.items())[:1])
    assert found.decided > SCHEDULES
    assert found.mails > 0
