"""T3: a seed's world. Workers, tickers, a webhook, people and a mail service, all in one thread, under every fault.

What is promised is checked while it happens (no request after a stop's commit, an intent before every request) and at
the end, on the accept log and the ledger. `python -m tests.crash.simulation SEED` tells what became of one seed.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import sqlalchemy as sa

from tests.crash.oracle import judge, request_came, watches
from tests.crash.orders import ORDERS
from tests.crash.outbox import API_KEY, KEYS, LINKS, NOW, OneSnapshot, address_of
from tests.crash.peace import make_peace
from tests.crash.scheduler import Process, Scheduler
from tests.crash.small_world import (
    PEOPLE,
    STAGES,
    TWO_STAGES,
    Stops,
    advance,
    dump,
    enter_all,
    journeys,
    plan_first,
)
from tests.crash.wire import EVERY_FAULT, Service, Wire
from uptake import failpoints
from uptake.adapters.ledger import open_ledger
from uptake.adapters.sendgrid import SendGridMailer
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.adapters.sendgrid_logs import SendGridLogs
from uptake.errors import UptakeError
from uptake.operations.reconcile import guard, reconcile
from uptake.operations.record_delivery import record_delivery
from uptake.operations.send import send_due
from uptake.ports import Run

BASE = "https://mail.simulated.example"
_JUMPS = (1, 1, 1, 5, 20, 20, 70, 130, 200, 400, 1_900, 3_700, 11_000, 90_000)  # seconds
_REACTIONS = (
    *(["processed", "delivered"],) * 6,
    ["processed", "deferred", "delivered", "open", "click"],
    ["processed", "bounce"],
    ["processed", "blocked"],
    ["dropped"],
    ["processed", "delivered", "spamreport"],
    ["processed", "delivered", "unsubscribe"],
    ["processed", "delivered", "group_unsubscribe"],
    ["processed", "delivered", "bounce without ids"],
    [],
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one seed."""

    seed: int
    digest: str  # of every step, the accept log and the ledger
    steps: int
    mails: int
    held: int
    kills: int
    faults: Counter[str]
    duplicates: int
    losses: tuple[str, ...]


class MemoryWitness:
    """The newest intent, outside of the ledger."""

    def __init__(self) -> None:
        self._newest: tuple[str, datetime] | None = None

    def note(self, send_id: str, sending_at: datetime) -> None:
        failpoints.at("witness: drafted")
        self._newest = (send_id, sending_at)
        failpoints.at("witness: noted")

    def newest(self) -> tuple[str, datetime] | None:
        return self._newest


class Simulations:
    """Lives through one seed after the other on one ledger file, which is put back to its beginning each time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "simulated.sqlite3"
        self.ledger = open_ledger(f"sqlite:///{self.path}", KEYS)
        # Nothing here loses power: what is tested is the order of transactions, and a sync costs more than a step.
        sa.event.listen(self.ledger._store._engine, "connect", _fast)
        self.ledger.close()
        enter_all(self.ledger)
        plan_first(self.ledger, PEOPLE[:3])
        self.raw = sqlite3.connect(self.path, isolation_level=None)
        self._beginning = sqlite3.connect(":memory:")
        self.raw.backup(self._beginning)

    def close(self) -> None:
        self.raw.close()
        self._beginning.close()
        self.ledger.close()

    def live(self, seed: int) -> Outcome:
        self._beginning.backup(self.raw)
        world = World(self, seed)
        with world.scheduler.takes_over(), watches(world):
            try:
                world.live()
            finally:
                world.close()
        return world.outcome()


@contextmanager
def simulations(folder: Path) -> Iterator[Simulations]:
    found = Simulations(folder)
    try:
        yield found
    finally:
        found.close()


class World:
    """One seed."""

    def __init__(self, base: Simulations, seed: int) -> None:
        self.seed, self.ledger, self.raw = seed, base.ledger, base.raw
        self.chance = chance = random.Random(f"simulation:{seed}")
        self.scheduler = Scheduler(chance, start=NOW)
        self.scheduler.locked_ledger = chance.choice((0, 0, 0, 0.01))
        self.service = Service(
            self.scheduler,
            chance,
            first_fault=seed % len(EVERY_FAULT),
            share=chance.choice((0.1, 0.3, 0.5, 0.7)),
            lag=chance.choice((timedelta(0), timedelta(minutes=10), timedelta(minutes=59))),
        )
        self.service.log_fails = chance.choice((0, 0, 0.3))
        self.service.on_request = lambda body, lines: request_came(self, body, lines)
        self.service.on_accepted = self._will_be_told
        self.snapshot = OneSnapshot(Path("/nowhere"))
        self.stages = STAGES[: chance.choice((1, 1, 2))]
        self.witness, self.events = MemoryWitness(), SendGridEvents(KEYS.pseudonym)
        self.stops = Stops()
        self.addresses = {name: address_of(name) for name in PEOPLE}
        self.untold: list[dict[str, Any]] = []  # events that the service has not told yet
        self.told_again: list[bytes] = []  # bodies whose acknowledgement was lost
        self.reached_goal: set[str] = set()
        self.released: Counter[str] = Counter()
        self.fences: list[int] = []
        self.intents: dict[str, int] = {}  # the commit of the newest intent of each send
        self.losses: list[str] = []
        self.kills = 0
        self.count_stored = 0
        self._mailers: dict[str, SendGridMailer] = {}
        self._kill_share = chance.choice((0, 0.005, 0.02))
        self._jump_share = chance.choice((0.005, 0.02, 0.08))
        self.logs = SendGridLogs(
            BASE, API_KEY, pseudonym_key=KEYS.pseudonym, transport=_Logs(self.service), wait=lambda _seconds: None
        )

    def close(self) -> None:
        self.logs.close()
        for mailer in self._mailers.values():
            mailer.close()

    # --- the story ---------------------------------------------------------------------------------------

    def live(self) -> None:
        """Chaos first, then peace; in the end everything must be where it can be told."""
        begin = self.scheduler.start
        for number in range(self.chance.randint(2, 6)):
            begin(f"worker{number}", self._works)
        for number in range(self.chance.choice((1, 1, 2))):
            begin(f"ticker{number}", self._ticks)
        begin("webhook", self._tells)
        begin("person", self._orders)
        self.scheduler.run(self.chance.choice((150, 250, 400)), self._between)
        make_peace(self)
        judge(self)

    def _between(self, alive: list[Process]) -> None:
        chance = self.chance
        if chance.random() < self._jump_share:
            self.scheduler.advance(timedelta(seconds=chance.choice(_JUMPS)))
        if chance.random() < self._kill_share:
            victim = chance.choice(alive)
            self.kills += 1
            self.scheduler.kill(victim)
            name, _, life = victim.name.partition("+")
            self.scheduler.start(f"{name}+{int(life or 0) + 1}", victim._work)
        elif chance.random() < 0.01:
            chance.choice(alive).sleeps_until = self.scheduler.count_steps + chance.choice((20, 100, 400))

    def _works(self, process: Process) -> None:
        while True:
            if self.has_work("planned", "claimed", "sending") or self.chance.random() < 0.02:
                with self._survives(process):
                    self.send(process.name, batch_size=self.chance.choice((1, 1, 2, 10)))
            self._idle(1, 5, 20)

    def _idle(self, *times: int) -> None:
        """Do nothing for a while."""
        assert self.scheduler.current is not None
        self.scheduler.current.sleeps_until = self.scheduler.count_steps + self.chance.choice(times)
        self.scheduler.pause("idle")

    def has_work(self, *statuses: str) -> bool:
        some = "select count(*) from sends where status in (select value from json_each(?))"
        return bool(self.raw.execute(some, [orjson.dumps(statuses).decode()]).fetchone()[0])

    def send(self, owner: str, batch_size: int) -> None:
        if owner not in self._mailers:
            wire = Wire(self.service)
            self._mailers[owner] = SendGridMailer(BASE, API_KEY, clock=self.scheduler, transport=wire)
        self.snapshot.as_of = self.scheduler.moment
        send_due(
            self.ledger, self._mailers[owner], self.snapshot, LINKS, self.snapshot, clock=self.scheduler, owner=owner,
            batch_size=batch_size, witness=self.witness,
        )  # fmt: skip

    def _ticks(self, process: Process) -> None:
        while True:
            with self._survives(process):
                self.tick(process.name)
            self._idle(20, 60, 100)

    def tick(self, owner: str) -> None:
        """As `Uptake.tick` does, with journeys of two stages."""
        clock, ledger = self.scheduler, self.ledger
        self._fold()
        guard(ledger, self.witness, now=clock.now())
        if ledger.releases.controls().forgotten is not None or ledger.read("unresolved_sends"):
            reconcile(ledger, self.logs, self.events, clock=clock)
        run = ledger.runs.begin("tick", owner=owner, now=clock.now(), lease=timedelta(minutes=5))
        if run is None:
            return
        if self.fences and run.fence <= max(self.fences):
            self.losses.append(f"fence {run.fence} was given after {max(self.fences)}")
        self.fences.append(run.fence)
        try:
            self._decide(run, clock.now())
        finally:
            if self.scheduler.current is None or not self.scheduler.current.is_killed:
                ledger.runs.finish(run, status="done", detail="", now=clock.now())

    def _decide(self, run: Run, now: datetime) -> None:
        endings, wanted = [], []
        for journey in journeys(self.raw, self.stages):
            if journey.contact_id in self.reached_goal:
                journey.ending = "goal_reached"
            if journey.ending is not None:
                endings.append(journey)
            elif journey.next_stage is not None and (journey.arm == "treatment" or self.chance.random() < 0.2):
                wanted.append(journey)  # some that nobody may decide, to see them refused
        if endings or wanted:
            self.ledger.enrollments.record(
                advance(wanted, endings, now), releases={1: TWO_STAGES}, snapshot_id="s1", gate_id=1, git_sha="abc",
                run=run, now=now,
            )  # fmt: skip
            for journey in endings:
                self.stopped("contact", journey.contact_id, journey.ending or "", self.scheduler.current)

    def _tells(self, process: Process) -> None:
        while True:
            with self._survives(process):
                if self.untold and self.chance.random() < 0.5:
                    self.tell(self.chance.randint(1, len(self.untold)))
                elif self.told_again and self.chance.random() < 0.3:
                    self.store(self.chance.choice(self.told_again))
                elif self.chance.random() < 0.3:
                    self._fold()
            self._idle(1, 5, 30)

    def tell(self, count: int) -> None:
        """Post some of the events, in any order, and some of them twice."""
        picked = self.chance.sample(self.untold, count)
        if self.chance.random() < 0.2:
            picked.append(self.chance.choice(picked))
        body = orjson.dumps(picked)
        if self.chance.random() < 0.2:
            self.told_again.append(body)
        self.store(body)
        self.untold = [event for event in self.untold if event not in picked]

    def store(self, body: bytes) -> None:
        self.ledger.delivery.store(body, now=self.scheduler.now())

    def _fold(self) -> None:
        record_delivery(self.ledger, self.events, clock=self.scheduler, limit=self.chance.choice((1, 100)))

    def _orders(self, process: Process) -> None:
        """What people do in between."""
        while True:
            self._idle(20, 60, 100)
            with self._survives(process):
                order = self.chance.choice(ORDERS)
                self.scheduler.trace.append(f"{process.name} orders {order.__name__}")
                order(self, self.chance.choice(PEOPLE), process)

    @contextmanager
    def _survives(self, process: Process) -> Iterator[None]:
        """A command that ends with an error is started again, as Prefect does."""
        try:
            yield
        except UptakeError as error:
            self.scheduler.trace.append(f"{process.name} ends with {type(error).__name__}")

    def commit_of(self, process: Process | None) -> int:
        return self.scheduler.count_commits if process is None else process.commit

    def stopped(self, kind: str, target: str, what: str, process: Process | None) -> None:
        self.stops.add(kind, target, what, self.commit_of(process))

    def _will_be_told(self, lines: list[dict[str, Any]]) -> None:
        """Think of what becomes of accepted mail."""
        at = int(self.scheduler.moment.timestamp())
        for line in lines:
            for number, name in enumerate(self.chance.choice(_REACTIONS)):
                event: dict[str, Any] = {"event": name.split(" ")[0], "email": line["to"], "timestamp": at + number}
                if name == "blocked":
                    event |= {"event": "bounce", "type": "blocked"}
                if name == "dropped":
                    event["reason"] = self.chance.choice(("Bounced Address", "Spam Content"))
                if name == "group_unsubscribe":
                    event["asm_group_id"] = line["group_id"]
                if "without ids" not in name:
                    event |= {"uptake_send_id": line["send_id"], "sg_message_id": f"{line['message_id']}.x"}
                self.untold.append(event)

    # --- the end ---------------------------------------------------------------------------------------------

    def outcome(self) -> Outcome:
        log = Counter(line["send_id"] for line in self.service.accepted.all)
        parts = [*self.scheduler.trace, *(f"{one['send_id']} {one['to']}" for one in self.service.accepted.all)]
        digest = hashlib.sha256("\n".join(parts).encode() + dump(self.raw, without=("playbook_versions",)))
        return Outcome(
            seed=self.seed,
            digest=digest.hexdigest(),
            steps=self.scheduler.count_steps,
            mails=log.total(),
            held=self.raw.execute("select count(*) from sends where status = 'held'").fetchone()[0],
            kills=self.kills,
            faults=Counter(self.service.fired),
            duplicates=sum(max(0, count - 1 - self.released[send_id]) for send_id, count in log.items()),
            losses=tuple(self.losses),
        )


class _Logs(httpx.BaseTransport):
    def __init__(self, service: Service) -> None:
        self._service = service

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._service.logs(request)


def _fast(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):
        connection.execute(f"pragma {pragma}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, simulations(Path(folder)) as every:
        for text in sys.argv[1:]:
            print(every.live(int(text)))  # noqa: T201
