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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import orjson
import sqlalchemy as sa

from tests.crash.outbox import API_KEY, KEYS, LINKS, NOW, RELEASE, OneSnapshot, address_of
from tests.crash.scheduler import Process, Scheduler
from tests.crash.small_world import (
    ARMS,
    PEOPLE,
    STAGES,
    TWO_STAGES,
    Stops,
    advance,
    dump,
    enter_all,
    journeys,
    load,
    plan_first,
)
from tests.crash.wire import EVERY_FAULT, Service, Wire
from uptake import failpoints
from uptake.adapters.ledger import open_ledger
from uptake.adapters.ledger.delivery import SqlDelivery
from uptake.adapters.ledger.sends import SqlSends
from uptake.adapters.sendgrid import SendGridMailer
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.adapters.sendgrid_logs import SendGridLogs
from uptake.domain.ids import address_hash
from uptake.domain.sends import TAKEN, DeliveryEvent, SuppressionReason
from uptake.errors import UptakeError
from uptake.operations.reconcile import guard, reconcile
from uptake.operations.record_delivery import record_delivery
from uptake.operations.send import send_due
from uptake.ports import ReadBatch, Run

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
        with world.scheduler.takes_over(), world.watches():
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
        self.service.on_request, self.service.on_accepted = self._request_came, self._will_be_told
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
        self._make_peace()
        self._judge()

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
            if self._has_work("planned", "claimed", "sending") or self.chance.random() < 0.02:
                with self._survives(process):
                    self._send(process.name, batch_size=self.chance.choice((1, 1, 2, 10)))
            self._idle(1, 5, 20)

    def _idle(self, *times: int) -> None:
        """Do nothing for a while."""
        assert self.scheduler.current is not None
        self.scheduler.current.sleeps_until = self.scheduler.count_steps + self.chance.choice(times)
        self.scheduler.pause("idle")

    def _has_work(self, *statuses: str) -> bool:
        some = "select count(*) from sends where status in (select value from json_each(?))"
        return bool(self.raw.execute(some, [orjson.dumps(statuses).decode()]).fetchone()[0])

    def _send(self, owner: str, batch_size: int) -> None:
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
                self._tick(process.name)
            self._idle(20, 60, 100)

    def _tick(self, owner: str) -> None:
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
                self._stopped("contact", journey.contact_id, journey.ending or "", self.scheduler.current)

    def _tells(self, process: Process) -> None:
        while True:
            with self._survives(process):
                if self.untold and self.chance.random() < 0.5:
                    self._tell(self.chance.randint(1, len(self.untold)))
                elif self.told_again and self.chance.random() < 0.3:
                    self._store(self.chance.choice(self.told_again))
                elif self.chance.random() < 0.3:
                    self._fold()
            self._idle(1, 5, 30)

    def _tell(self, count: int) -> None:
        """Post some of the events, in any order, and some of them twice."""
        picked = self.chance.sample(self.untold, count)
        if self.chance.random() < 0.2:
            picked.append(self.chance.choice(picked))
        body = orjson.dumps(picked)
        if self.chance.random() < 0.2:
            self.told_again.append(body)
        self._store(body)
        self.untold = [event for event in self.untold if event not in picked]

    def _store(self, body: bytes) -> None:
        self.ledger.delivery.store(body, now=self.scheduler.now())

    def _fold(self) -> None:
        record_delivery(self.ledger, self.events, clock=self.scheduler, limit=self.chance.choice((1, 100)))

    def _orders(self, process: Process) -> None:
        """What people do in between."""
        while True:
            self._idle(20, 60, 100)
            with self._survives(process):
                order = self.chance.choice(_ORDERS)
                self.scheduler.trace.append(f"{process.name} orders {order.__name__}")
                order(self, self.chance.choice(PEOPLE), process)

    def unsubscribe(self, contact_id: str, process: Process) -> None:
        for one in self.ledger.people.address_hashes_of(contact_id):
            topic = self.chance.choice((None, "training", "other"))
            self.ledger.people.suppress(
                one, reason=SuppressionReason.UNSUBSCRIBED, topic=topic, source="web", now=self.scheduler.now()
            )
            if topic != "other":
                self._stopped("address", one, "unsubscribed", process)

    def import_list(self, contact_id: str, process: Process) -> None:
        listed = address_hash(KEYS.pseudonym, self.addresses[contact_id])
        self.ledger.people.suppress_all(
            [listed], reason=SuppressionReason.IMPORTED, source="list", now=self.scheduler.now()
        )
        self._stopped("address", listed, "imported", process)

    def forget(self, contact_id: str, process: Process) -> None:
        hashed = address_hash(KEYS.pseudonym, self.addresses[contact_id])
        self.ledger.erasures.erase(hashed, by="Grace", now=self.scheduler.now())
        self._stopped("address", hashed, "erased", process)

    def reach_goal(self, contact_id: str, _process: Process) -> None:
        self.reached_goal.add(contact_id)

    def leave(self, contact_id: str, process: Process) -> None:
        self.ledger.enrollments.leave(RELEASE.name, contact_id, reason="asked", by="Grace", now=self.scheduler.now())
        self._stopped("contact", contact_id, "taken out", process)

    def move(self, contact_id: str, _process: Process) -> None:
        """Somebody has another address from now on."""
        self.addresses[contact_id] = f"{contact_id}-moved@customer.example"
        load(self.ledger, {contact_id: self.addresses[contact_id]}, now=self.scheduler.now())

    def pause(self, contact_id: str, process: Process) -> None:
        scope, target = self.chance.choice(
            (("all", "*"), ("playbook", RELEASE.name), ("sending", ""), ("account", contact_id))
        )
        self._control(scope, target, "pause", process)

    def stop(self, contact_id: str, process: Process) -> None:
        self._control("account", contact_id, "stop", process)

    def resume(self, _contact_id: str, process: Process) -> None:
        for scope, target in (("all", "*"), ("playbook", RELEASE.name), ("sending", "")):
            self._control(scope, target, "resume", process)

    def _control(self, scope: Any, target: str, action: Any, process: Process | None) -> None:
        self.ledger.releases.control(scope, target, action, reason=action, by="Grace", now=self.scheduler.now())
        commit = self._commit_of(process)
        if action == "resume":
            self.stops.lift(scope, target, commit)
        else:
            self.stops.add(scope, target, f"{scope} {action}", commit)

    def release(self, _contact_id: str, process: Process) -> None:
        """A person who saw the list of what is stuck orders one of them again."""
        stuck = [row["send_id"] for row in self.ledger.read("stuck_sends") if row["status"] == "held"]
        if stuck:
            one = self.chance.choice(stuck)
            self.released[one] += self.ledger.sends.release(
                [one], by="Grace", reason="asked them", now=self.scheduler.now()
            )

    @contextmanager
    def _survives(self, process: Process) -> Iterator[None]:
        """A command that ends with an error is started again, as Prefect does."""
        try:
            yield
        except UptakeError as error:
            self.scheduler.trace.append(f"{process.name} ends with {type(error).__name__}")

    # --- what is checked while it happens ------------------------------------------------------------------

    @contextmanager
    def watches(self) -> Iterator[None]:
        """Note with which transaction each intent was committed, and each stop that the mail service told of."""
        intend: Callable[..., Mapping[str, Any]] = SqlSends.intend
        fold: Callable[..., list[int]] = SqlDelivery.fold_all

        def intending(sends: SqlSends, send_ids: list[str], **options: Any) -> Mapping[str, Any]:
            failures = intend(sends, send_ids, **options)
            if not failures:
                self.intents.update(dict.fromkeys(send_ids, self._commit_of(self.scheduler.current)))
            return failures

        def folding(delivery: SqlDelivery, read: list[ReadBatch], **options: Any) -> list[int]:
            new = fold(delivery, read, **options)
            for event in (event for one in read for event in one.events):
                if _stops(event):
                    hashed = address_hash(KEYS.pseudonym, event.address)
                    self._stopped("address", hashed, event.event, self.scheduler.current)
            return new

        with mock.patch.object(SqlSends, "intend", intending), mock.patch.object(SqlDelivery, "fold_all", folding):
            yield

    def _commit_of(self, process: Process | None) -> int:
        return self.scheduler.count_commits if process is None else process.commit

    def _stopped(self, kind: str, target: str, what: str, process: Process | None) -> None:
        self.stops.add(kind, target, what, self._commit_of(process))

    def _request_came(self, body: bytes, lines: list[dict[str, Any]]) -> None:
        """A whole request is at the service: who is in it may be written to, and the ledger knows."""
        hashed = hashlib.sha256(body).hexdigest()
        for line in lines:
            send_id, commit = line["send_id"], self.intents.get(line["send_id"], 0)
            row = self.raw.execute(
                "select contact_id, status, attempt, body_hash, arm, address_hash from sends where send_id = ?",
                [send_id],
            ).fetchone()
            if row is None or not commit:
                self.losses.append(f"{send_id} left without an intent")
                continue
            contact_id, status, attempt, body_hash, arm, intended_for = row
            reached = address_hash(KEYS.pseudonym, line["to"])
            if not self.released[send_id]:  # what a person sends again may overtake what a halted worker still holds
                if attempt < 1 or status in ("planned", "claimed", "withheld"):
                    self.losses.append(f"{send_id} left while it was {status}, attempt {attempt}")
                if (body_hash, intended_for) != (hashed, reached):
                    self.losses.append(f"{send_id}: another body or address than was intended")
            if arm != "treatment" or ARMS[contact_id] != "treatment":
                self.losses.append(f"{send_id} left for somebody in {arm}")
            broken = self.stops.at(
                commit,
                ("address", reached),
                ("contact", contact_id),
                ("account", contact_id),
                ("all", "*"),
                ("playbook", RELEASE.name),
                ("sending", ""),
            )
            self.losses += [f"{send_id} left after: {what}" for what in broken]

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

    def _make_peace(self) -> None:
        """No fault, no kill: everybody does their work until nothing is left to do."""
        self.service.share = self.service.log_fails = self.scheduler.locked_ledger = 0
        for number in range(12):
            # Leases, deadlines and breaks run out in minutes; what an old copy may have forgotten, in an hour.
            is_locked = self._resume_all()
            self.scheduler.advance(timedelta(minutes=61 if is_locked else 6))
            if self.untold:
                self._tell(len(self.untold))
            for body in self.told_again:
                self._store(body)
            self.told_again.clear()
            self._tick(f"peace{number}")
            if self._has_work("planned", "claimed", "sending"):
                self._send(f"peace{number}", batch_size=100)
            elif self._is_over():
                break
        else:
            self.losses.append("it never comes to rest")
        self.scheduler.advance(timedelta(hours=25))
        reconcile(self.ledger, self.logs, self.events, clock=self.scheduler, include_held=True)

    def _resume_all(self) -> bool:
        """Open what a person or a refusal has closed; a stop stays. Tell whether the ledger is taken for an old one."""
        controls = self.ledger.releases.controls()
        if controls.everything is not None:
            self._control("all", "*", "resume", None)
        if controls.sending_locked is not None or controls.sending_paused_until is not None:
            self._control("sending", "", "resume", None)
        for scope, ordered in (("playbook", controls.playbooks), ("account", controls.accounts)):
            for target in [target for target, action in ordered.items() if action == "pause"]:
                self._control(scope, target, "resume", None)
        return controls.forgotten is not None

    def _is_over(self) -> bool:
        found = journeys(self.raw, self.stages)
        is_decided = not any(one.next_stage is not None and one.arm == "treatment" for one in found)
        return is_decided and not self.untold and self.ledger.releases.controls().forgotten is None

    def _judge(self) -> None:
        log = Counter(line["send_id"] for line in self.service.accepted.all)
        rows = self.raw.execute("select send_id, status, reason, detail, contact_id from sends").fetchall()
        known = {row[0] for row in rows}
        lost = [f"{send_id} was accepted and is not in the ledger" for send_id in set(log) - known]
        listed = {row["send_id"] for row in self.ledger.read("stuck_sends")}
        for send_id, status, reason, detail, contact_id in rows:
            if status in TAKEN and not log[send_id]:
                lost.append(f"{send_id} is {status} and was never accepted")
            elif log[send_id] and status not in TAKEN:
                lost.append(f"{send_id} was accepted and is {status}")
            elif status in ("planned", "claimed", "sending", "unknown"):
                lost.append(f"{send_id} is left {status}")
            elif status == "held" and send_id not in listed:
                lost.append(f"{send_id} is held and not listed")
            elif (status == "withheld" and not reason) or (status == "failed" and not detail):
                lost.append(f"{send_id} is {status} without a reason")
            if ARMS[contact_id] != "treatment":
                lost.append(f"{send_id} was planned for {ARMS[contact_id]}")
        fences = [fence for (fence,) in self.raw.execute("select fence from runs order by run_id")]
        if fences != sorted(set(fences)):
            lost.append(f"fences went {fences}")
        arms = dict(self.raw.execute("select account_id, arm from assignments").fetchall())
        if arms != ARMS:
            lost.append(f"arms became {arms}")
        keys = set()
        for (body,) in self.raw.execute("select body from webhook_batches"):
            keys |= {event.event_key for event in self.events.read(body, received_at=NOW)[0]}
        stored = {key for (key,) in self.raw.execute("select event_key from delivery_events")}
        is_whole = not any(stop.what == "erased" for stops in self.stops.known.values() for stop in stops)
        if is_whole and keys != stored:  # the bodies of the forgotten are rewritten
            lost.append(f"{len(keys)} events were acknowledged, {len(stored)} are stored")
        for pragma, expected in (("quick_check", [("ok",)]), ("foreign_key_check", [])):
            if (found := self.raw.execute(f"pragma {pragma}").fetchall()) != expected:
                lost.append(f"{pragma}: {found}")
        if b"@customer" in dump(self.raw, without=("people", "webhook_batches")):
            lost.append("an address stands outside of people")
        self.losses += lost

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


_ORDERS = (
    World.unsubscribe, World.unsubscribe, World.import_list, World.forget, World.reach_goal, World.leave, World.move,
    World.pause, World.pause, World.stop, World.resume, World.resume, World.resume, World.release, World.release,
)  # fmt: skip


class _Logs(httpx.BaseTransport):
    def __init__(self, service: Service) -> None:
        self._service = service

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._service.logs(request)


def _stops(event: DeliveryEvent) -> bool:
    """Whether the mail service says that this address gets nothing more of this topic."""
    match event.event.value:
        case "bounce":
            return event.kind != "blocked"
        case "dropped":
            return event.reason == "Bounced Address"
        case name:
            return name in ("spamreport", "unsubscribe", "group_unsubscribe")


def _fast(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):
        connection.execute(f"pragma {pragma}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, simulations(Path(folder)) as every:
        for text in sys.argv[1:]:
            print(every.live(int(text)))  # noqa: T201
