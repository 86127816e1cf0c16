"""T2: two senders, one who ticks and a webhook receiver, each a process; one after the other dies at a random moment.

fakegrid listens on a socket of the parent, so the accept log outlives them all. Nothing is arranged: a kill strikes
wherever its victim is, in a transaction, half way through a request, or before it has opened the ledger.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import socket
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.crash.outbox import KEYS, NOW, RELEASE, Outbox, judge, serving
from tests.crash.small_world import advance, enter_all, journeys
from tests.crash.worker import Bouncing
from uptake.adapters.clock import SandboxClock
from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.sendgrid_events import public_keys
from uptake.adapters.tokens import Tokens
from uptake.domain.playbooks import Release
from uptake.errors import Held, UptakeError
from uptake.operations.reconcile import guard
from uptake.operations.record_delivery import record_delivery
from uptake.sandbox.fakegrid import EventPoster, FaultPlan, FaultyFront, webhook_public_key
from uptake.sandbox.fakegrid.accept_log import Tail, accepted_path
from uptake.sandbox.serving import Serving
from uptake.web_public import create_public_app

STAGES = ("why", "how", "more")
ROUNDS = 12  # in peace, that many must be enough
_LONGEST_LIFE = 1.2  # seconds between two kills
#: Forks from a process that has everything imported and no threads.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.crash.preloaded", "tests.crash.random_kills"])


def _three_stages() -> Release:
    text = json.loads(RELEASE.model_dump_json())
    text["playbook"]["stages"] |= {stage: {"email": f"{stage}.md", "after": "1h"} for stage in STAGES[1:]}
    text["texts"] |= {stage: {"subject": f"{stage} to board", "body": "Like this"} for stage in STAGES[1:]}
    return Release.model_validate(text)


THREE_STAGES = _three_stages()


@dataclass(frozen=True, kw_only=True)
class RandomKills:
    """What one run came to."""

    kills: int
    accepted: int
    held: int
    duplicates: int
    losses: tuple[str, ...]


def prepare(path: Path, count: int) -> None:
    """Make a ledger with so many people in a playbook of three stages; a tenth of them is held out."""
    ledger = open_ledger(f"sqlite:///{path}", KEYS)
    arms = {f"c{number:05}": "holdout" if number % 10 == 9 else "treatment" for number in range(count)}
    enter_all(ledger, THREE_STAGES, arms)
    ledger.close()


# --- the four ------------------------------------------------------------------------------------------------


def _clock(home: Path) -> SandboxClock:
    return SandboxClock(home / "clock", start=NOW)


def _outbox(home: Path, base_url: str) -> Outbox:
    return Outbox(f"sqlite:///{home / 'ledger.sqlite3'}", home, base_url, _clock(home))


def send(home: Path, base_url: str, _port: int) -> None:
    outbox = _outbox(home, base_url)
    while True:
        _once(lambda: outbox.send(owner=f"test:{os.getpid()}", batch_size=20))


def tick(home: Path, base_url: str, _port: int) -> None:
    outbox = _outbox(home, base_url)
    while True:
        _once(lambda: decide(outbox))


def receive(home: Path, _base_url: str, port: int) -> None:
    ledger = open_ledger(f"sqlite:///{home / 'ledger.sqlite3'}", KEYS)
    app = create_public_app(
        ledger, tokens=Tokens(KEYS.tokens), clock=_clock(home), webhook_keys=public_keys(webhook_public_key(home)),
        topics=["training"],
    )  # fmt: skip
    with Serving(app, port=port):
        while True:
            time.sleep(60)


def _once(work: Callable[[], object]) -> None:
    """What ends with an error is started again, as Prefect does."""
    logging.disable(logging.CRITICAL)
    with suppress(UptakeError):
        work()
    time.sleep(0.05)


def decide(outbox: Outbox) -> None:
    """As `Uptake.tick`: fold, guard, reconcile, decide."""
    ledger, clock = outbox.ledger, outbox.clock
    record_delivery(ledger, outbox.events, clock=clock)
    guard(ledger, outbox.witness, now=clock.now())
    if ledger.releases.controls().forgotten is not None or ledger.read("unresolved_sends"):
        outbox.reconcile()
    run = ledger.runs.begin("tick", owner=f"test:{os.getpid()}", now=clock.now(), lease=timedelta(minutes=5))
    if run is None:
        return
    with sqlite3.connect(f"file:{outbox.home / 'ledger.sqlite3'}?mode=ro", uri=True, timeout=30) as raw:
        found = journeys(raw, STAGES)
    endings = [one for one in found if one.ending is not None]
    wanted = [one for one in found if one.ending is None and one.next_stage is not None and one.arm == "treatment"]
    try:
        if endings or wanted:
            ledger.enrollments.record(
                advance(wanted, endings, clock.now()), releases={1: THREE_STAGES}, snapshot_id="s1", gate_id=1,
                git_sha="abc", run=run, now=clock.now(),
            )  # fmt: skip
    except Held:
        return
    ledger.runs.finish(run, status="done", detail="", now=clock.now())


# --- one run -------------------------------------------------------------------------------------------------

FOUR: Sequence[Callable[[Path, str, int], None]] = (send, send, tick, receive)


def kill_at_random(seed: int, *, home: Path, kills: int) -> RandomKills:
    """Kill so many times, then let everything come to rest, and judge. `home` holds a prepared ledger."""
    chance = random.Random(f"random kills:{seed}")
    clock = _clock(home)
    plan = FaultPlan(["accepted, then reset", "reset", "429, no reset", "accepted, body cut"], seed=seed, share=0.1)
    port = _free_port()
    with serving(home, clock) as grid, FaultyFront(grid.port, plan, clock) as front:
        poster = EventPoster(home, f"http://127.0.0.1:{port}/webhooks/sendgrid", Bouncing())
        lives = [_start(work, home, front.url, port) for work in FOUR]
        try:
            done = 0
            while done < kills:
                deadline = time.monotonic() + chance.uniform(0, _LONGEST_LIFE)
                while time.monotonic() < deadline:
                    poster.post_due(clock.now())
                    clock.move(clock.now() + timedelta(seconds=1))
                    time.sleep(0.05)
                victim = chance.randrange(len(FOUR))
                lives[victim].kill()
                lives[victim].join()
                lives[victim] = _start(FOUR[victim], home, front.url, port)
                # Mostly the others find what it held at once; sometimes its lease has still to run out.
                clock.move(clock.now() + timedelta(seconds=chance.choice((1, 100, 301))))
                done += 1
            for life in lives[:3]:
                life.kill()
                life.join()
            return _rest(home, front.url, poster, done)
        finally:
            for life in lives:
                life.kill()
                life.join()
            poster.close()


def _rest(home: Path, base_url: str, poster: EventPoster, kills: int) -> RandomKills:
    """Let one process finish; the receiver goes on."""
    outbox, losses = _outbox(home, base_url), []
    outbox.clock = clock = _Movable(home)
    outbox.mailer._clock = clock
    try:
        _drain(outbox, poster, losses)
        outbox.settle()
        _post_all(poster, clock)
        outbox.reconcile(include_held=True)
        _drain(outbox, poster, losses)  # what follows mails that nobody knew about until now
        outbox.settle()
        known = outbox.statuses()
        verdict = judge(home, known)
        taken = {line["send_id"] for line in Tail(accepted_path(home)).read_new()}
        listed = {row["send_id"] for row in outbox.ledger.read("stuck_sends")}
        losses += [f"{one} is held, and the log proves it" for one in taken if known.get(one) in ("held", "unknown")]
        held = {one for one, status in known.items() if status == "held"}
        losses += [f"{one} is held and not listed" for one in held - listed]
        losses += _unsaid(outbox.ledger)
    finally:
        outbox.close()
    return RandomKills(
        kills=kills,
        accepted=verdict.accepted,
        held=len(held),
        duplicates=verdict.duplicates,
        losses=(*verdict.losses, *losses),
    )


def _drain(outbox: Outbox, poster: EventPoster, losses: list[str]) -> None:
    """Decide, send and hear until nothing is to be done but to wait for evidence."""
    for _ in range(ROUNDS):
        outbox.clock.moment += timedelta(minutes=31)
        _post_all(poster, outbox.clock)
        decide(outbox)
        outbox.send(owner="rest", batch_size=100)
        outbox.resume()
        locked = outbox.ledger.releases.controls().forgotten
        waits = set(outbox.statuses().values()) & {"planned", "claimed", "sending"}
        if not waits and locked is None and not _undecided(outbox.home):
            return
    losses.append(f"it does not come to rest in {ROUNDS} rounds")


class _Movable:
    """The same clock, moved by setting it."""

    def __init__(self, home: Path) -> None:
        self._clock = _clock(home)

    def now(self) -> Any:
        return self._clock.now()

    @property
    def moment(self) -> Any:
        return self._clock.now()

    @moment.setter
    def moment(self, moment: Any) -> None:
        self._clock.move(moment)


def _post_all(poster: EventPoster, clock: _Movable) -> None:
    for _ in range(200):
        if poster.post_due(clock.now()) == 0 and not poster._events:
            return
        if poster.tries_again_at is not None:
            clock.moment = max(clock.moment, poster.tries_again_at)
        time.sleep(0.05)
    raise AssertionError("the receiver does not take the events")


def _undecided(home: Path) -> bool:
    with sqlite3.connect(f"file:{home / 'ledger.sqlite3'}?mode=ro", uri=True) as raw:
        return any(one.arm == "treatment" and one.next_stage is not None for one in journeys(raw, STAGES))


def _unsaid(ledger: SqlLedger) -> list[str]:
    """Return what is missing without a word: every contact has every stage, an end with its reason, or waits for the
    person who decides about a mail that is held.
    """
    with ledger._store.read() as connection:
        rows = connection.execute(
            sa.text(
                "select c.contact_id, c.end_reason, e.arm, count(s.send_id), "
                "sum(case when s.status = 'held' then 1 else 0 end) from enrollment_contacts as c "
                "join enrollments as e on e.enrollment_id = c.enrollment_id "
                "left join sends as s on s.enrollment_id = c.enrollment_id and s.contact_id = c.contact_id "
                "group by c.contact_id, c.end_reason, e.arm"
            )
        ).all()
    lost = []
    for contact, reason, arm, count, held in rows:
        if arm != "treatment":
            lost += [f"{contact} is held out and has mail"] if count else []
        elif count != len(STAGES) and reason in (None, "completed") and not held:
            lost.append(f"{contact} has {count} mails and ended {reason}")
    return lost


def _start(work: Callable[[Path, str, int], None], home: Path, base_url: str, port: int) -> BaseProcess:
    process = processes.Process(target=work, args=(home, base_url, port), daemon=True)
    process.start()
    return process


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
