"""T16: the database goes away while workers send (a crash, a cut connection, somebody else's lock) and comes back."""

from __future__ import annotations

import json
import random
import sqlite3
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import psycopg
from starlette.responses import Response

from tests.crash.outbox import NOW, Outbox, judge, serving
from tests.crash.workers import begin
from tests.postgres import Postgres
from uptake.errors import LedgerError
from uptake.testing import FixedClock

RECOVERY = 30.0  # seconds
WORKERS = 2
_SLOW = 0.03  # seconds the mail service takes, so that there is something to interrupt


@dataclass(frozen=True, kw_only=True)
class Survived:
    """What the workers came to."""

    accepted: int
    held: int
    duplicates: int
    losses: tuple[str, ...]
    errors: tuple[str, ...]  # what workers said, each kind once
    slowest: float  # seconds from the database's return to the first run that went well


#: Does one harm and returns when it is over: (chance) -> seconds at which the database was back.
Harm = Callable[[random.Random], float]


def survive(url: str, home: Path, harms: list[Harm], *, seed: int, count: int) -> Survived:
    """Let workers send what is planned while one harm after the other is done; judge when all is quiet."""
    chance, clock = random.Random(seed), FixedClock(NOW)
    returns: list[float] = []
    with serving(home, clock, fault=_slowly) as server:
        order = {"url": url, "home": str(home), "base_url": server.url}
        running = [begin(_work, {**order, "number": number}) for number in range(WORKERS)]
        _wait_for(lambda: (home / "fakegrid" / "accepted.jsonl").exists())
        for harm in harms:
            time.sleep(chance.uniform(0.02, 0.4))
            returns.append(harm(chance))
        recovered = [_wait_for(lambda since=since: _went_well(home, since)) for since in returns]
        (home / "enough").touch()
        for process in running:
            process.join(60)
        codes = [process.exitcode for process in running]
        outbox = Outbox(url, home, server.url, clock)
        try:
            clock.moment += timedelta(minutes=6)
            outbox.drain()
            outbox.settle()
            left = Counter(outbox.statuses().values())
            verdict = judge(home, outbox.statuses())
        finally:
            outbox.close()
    said = [line for line in _lines(home) if line["what"] != "ok"]
    lost = [f"a worker ended with {code}" for code in codes if code]
    lost += [f"no clear error: {line['text']}" for line in said if not _is_clear(line)]
    lost += ["no worker recovered in time"] * sum(not one for one in recovered)
    if left["accepted"] + left["held"] != count:
        lost.append(f"{dict(left)} of {count}")
    return Survived(
        accepted=verdict.accepted, held=left["held"], duplicates=verdict.duplicates, losses=(*verdict.losses, *lost),
        errors=tuple(sorted({line["text"] for line in said})), slowest=max(map(_slowest(home), returns), default=0.0),
    )  # fmt: skip


def restart(postgres: Postgres) -> Harm:
    """Crash the server; start it again up to two seconds later."""

    def harm(chance: random.Random) -> float:
        postgres.stop()
        time.sleep(chance.uniform(0.0, 2.0))
        postgres.start()
        return time.monotonic()

    return harm


def terminate(postgres: Postgres, database: str) -> Harm:
    """Cut one connection of the ledger's, whichever."""

    def harm(_: random.Random) -> float:
        with psycopg.connect(f"{postgres.url}/postgres", autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s order by random() limit 1",
                [database],
            )
        return time.monotonic()

    return harm


def lock(path: Path, *, seconds: float) -> Harm:
    """Hold SQLite's lock, as another program would."""

    def harm(_: random.Random) -> float:
        with locked(path):
            time.sleep(seconds)
        return time.monotonic()

    return harm


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep everybody else from reading and writing."""
    other = sqlite3.connect(path, isolation_level=None, timeout=60)
    try:
        other.execute("begin exclusive")
        yield
        other.execute("rollback")
    finally:
        other.close()


async def _slowly(_phase: str, _body: bytes) -> Response | None:
    await anyio.sleep(_SLOW)
    return None


def _work(order: Mapping[str, Any]) -> None:
    """Be a worker that is started again and again, as a schedule does, until it is enough."""
    home = Path(order["home"])
    with (home / f"log-{order['number']}.jsonl").open("w", buffering=1) as log:

        def say(what: str, text: str = "") -> None:
            log.write(json.dumps({"at": time.monotonic(), "what": what, "text": text}) + "\n")

        while not (home / "enough").exists():
            try:
                outbox = Outbox(order["url"], home, order["base_url"], FixedClock(NOW))
                try:
                    while not (home / "enough").exists():
                        outbox.send(owner=f"machine-{order['number']}:1", batch_size=2)
                        say("ok")
                        time.sleep(0.05)
                finally:
                    outbox.close()
            except LedgerError as error:
                say("error", str(error))
            except Exception:
                say("trace", traceback.format_exc())
            time.sleep(0.05)


def _lines(home: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(home.glob("log-*.jsonl")):
        found += [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return found


def _is_clear(line: Mapping[str, Any]) -> bool:
    text = line["text"]
    return line["what"] == "error" and "\n" not in text and "customer.example" not in text and len(text) < 300


def _went_well(home: Path, since: float) -> bool:
    return any(line["what"] == "ok" and line["at"] > since for line in _lines(home))


def _slowest(home: Path) -> Callable[[float], float]:
    well = [line["at"] for line in _lines(home) if line["what"] == "ok"]
    return lambda since: min((at for at in well if at > since), default=since + RECOVERY) - since


def _wait_for(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + RECOVERY
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
