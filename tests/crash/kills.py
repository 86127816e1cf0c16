"""T1: a worker is killed with -9 at a named point, another one finishes; counted on fakegrid's accept log."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from starlette.responses import Response

from tests.crash.outbox import KEYS, NOW, Outbox, Verdict, fill, judge, load_people, names, serving
from tests.crash.worker import live
from uptake.adapters.ledger import open_ledger
from uptake.failpoints import POINTS
from uptake.sandbox.fakegrid import FaultPlan, FaultyFront
from uptake.sandbox.fakegrid.accept_log import Tail, accepted_path
from uptake.testing import FixedClock

ROOT = Path(__file__).resolve().parent.parent.parent
#: Where the service kills the worker: the request is read and nothing happened, or it is accepted and nobody knows.
SERVICE_POINTS = {"service: read": "read", "service: accepted": "accepted"}
ALL_POINTS = (*POINTS, *SERVICE_POINTS)
COUNT = 10  # mails in a world
ROUNDS = 3  # after a kill, that many lives must be enough

#: One request is accepted and its answer lost, so that there is something to reconcile.
PLAN = FaultPlan([None, "accepted, then reset"])


@dataclass(frozen=True, kw_only=True)
class Killed:
    """What one world came to."""

    was_killed: bool
    accepted: int
    held: int  # the intent was committed and no byte left: nobody can know that but the accept log
    duplicates: int
    losses: tuple[str, ...]


class Zygote:
    """A process that has imported everything and forks the others: one order in JSON a line, numbers as the answer."""

    def __init__(self, module: str = "tests.crash.worker") -> None:
        self._module = module

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def start(self, **order: object) -> int:
        """Let a worker begin; return its pid."""
        (pid,) = self.ask(**order)
        return pid

    def end(self) -> int:
        """Wait for it; return its exit code, or minus the signal it died of."""
        (code,) = self._answer()
        return code

    def ask(self, **order: object) -> list[int]:
        """Give an order and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> list[int]:
        assert self._process.stdout is not None
        return [int(word) for word in self._process.stdout.readline().split()]


def prepare(url: str) -> None:
    """Fill an empty ledger: people, a gate, an approval, and half of the sends planned."""
    ledger = open_ledger(url, KEYS)
    fill(ledger, names(COUNT))
    load_people(ledger, names(COUNT + 2), now=NOW)
    ledger.close()


@contextmanager
def database(server: str, home: Path) -> Iterator[str]:
    """A prepared ledger on PostgreSQL, copied from a template that is made once per server."""
    template, name = "kills_template", f"kills_{os.getpid()}_{abs(hash(str(home)))}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        if admin.execute("select 1 from pg_database where datname = %s", [template]).fetchone() is None:
            admin.execute(f"create database {template}")
            prepare(f"{server}/{template}")
        admin.execute(f"create database {name} template {template}")
        try:
            yield f"{server}/{name}"
        finally:
            admin.execute(f"drop database {name} with (force)")


def kill_at(point: str, seed: int, *, zygote: Zygote, url: str, home: Path) -> Killed:
    """Kill one worker at its n-th passing of a point, let others finish, and judge."""
    number = random.Random(f"{point}:{seed}").choice((1, 1, 2, 3))
    clock = FixedClock(NOW)
    victim: list[int] = []
    seen: Counter[str] = Counter()

    async def strike(phase: str, _body: bytes) -> Response | None:
        seen[phase] += 1
        if victim and phase == SERVICE_POINTS.get(point) and seen[phase] == number:
            os.kill(victim[0], signal.SIGKILL)
        return None

    contacts = names(COUNT + 2)  # two of them are entered by the worker itself
    with serving(home, clock, fault=strike) as server, FaultyFront(server.port, PLAN, clock) as front:
        fail = "none:1:kill" if point in SERVICE_POINTS else f"{point}:{number}:kill"
        order = {"url": url, "home": str(home), "base_url": front.url, "contacts": contacts, "leaves": contacts[0]}
        victim.append(zygote.start(**order, fail=fail))
        code = zygote.end()
        assert code in (0, -signal.SIGKILL), f"the worker ended with {code}"
        outbox = Outbox(url, home, front.url, clock)
        try:
            verdict = _finish(outbox, contacts)
            held = Counter(outbox.statuses().values())["held"]
        finally:
            outbox.close()
    return Killed(
        was_killed=code == -signal.SIGKILL,
        accepted=verdict.accepted,
        held=held,
        duplicates=verdict.duplicates,
        losses=verdict.losses,
    )


def _finish(outbox: Outbox, contacts: list[str]) -> Verdict:
    """Live on until nothing is half way."""
    for _ in range(ROUNDS):
        outbox.clock.moment += timedelta(minutes=6)
        live(outbox, contacts, leaves=contacts[0])
        outbox._decide_again()
        left = Counter(outbox.statuses().values())
        if not left["planned"] + left["claimed"] + left["sending"] + left["withheld"]:
            break
    outbox.settle()
    verdict = judge(outbox.home, outbox.statuses())
    known = outbox.statuses()
    unfinished = {key: status for key, status in known.items() if status in ("planned", "claimed", "unknown")}
    extra = [f"{send_id} is still {status} after {ROUNDS} rounds" for send_id, status in unfinished.items()]
    taken = {line["send_id"] for line in Tail(accepted_path(outbox.home)).read_new()}
    extra += [f"{one} is held, and the log proves it" for one in taken if known.get(one) == "held"]
    if len(known) != len(contacts):
        extra.append(f"{len(known)} sends for {len(contacts)} contacts")
    return Verdict(accepted=verdict.accepted, duplicates=verdict.duplicates, losses=(*verdict.losses, *extra))
