"""T12: a worker stops dead past its lease, another one takes over, and then the first one goes on as if nothing were.

The clock is virtual and lies in a file that both read: nobody waits for a lease.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.crash.kills import COUNT
from tests.crash.outbox import NOW, Outbox, judge, names, serving
from tests.crash.workers import Current, begin, settle
from uptake import failpoints
from uptake.adapters.clock import SandboxClock
from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.adapters.ledger.schema import sends
from uptake.domain.sends import TAKEN
from uptake.errors import UptakeError
from uptake.operations.tick import TickResult, tick

_MINUTE = timedelta(minutes=1)
_START_SECONDS = 60.0

#: Where a worker holds claimed messages, or an intent, and no transaction.
BEFORE_THE_INTENT = ("claim: committed", "rendered")
BEFORE_A_BYTE = ("intent: committed", "witness: drafted", "witness: noted")
WHILE_POSTING = ("post: half the body", "post: whole body", "post: status read", "post: answered")
#: Inside a transaction, with rows locked. On SQLite nobody else could write: only PostgreSQL goes on beside it.
IN_A_TRANSACTION = ("claim: uncommitted", "intent: checked", "intent: uncommitted", "accepted: uncommitted")
WHILE_DECIDING = "enter: committed"
BETWEEN_TRANSACTIONS = (*BEFORE_THE_INTENT, *BEFORE_A_BYTE, *WHILE_POSTING, "accepted: committed")


class SharedClock(SandboxClock):
    """A sandbox's clock with the handle that an `Outbox` turns."""

    @property
    def moment(self) -> datetime:
        return self.now()

    @moment.setter
    def moment(self, moment: datetime) -> None:
        self.move(moment)


@dataclass(frozen=True, kw_only=True)
class Woken:
    """What one zombie came to."""

    was_stopped: bool
    accepted: int
    held: int
    duplicates: int
    losses: tuple[str, ...]


def wake_at(point: str, seed: int, *, url: str, home: Path) -> Woken:
    """Stop a worker at its n-th passing of a point, let another one send all it can, wake the first, and judge."""
    chance = random.Random(f"{point}:{seed}")
    clock = SharedClock(home / "clock", start=NOW)
    with serving(home, clock) as server:
        outbox = Outbox(url, home, server.url, clock)
        order = {"url": url, "home": str(home), "base_url": server.url}
        try:
            zombie = begin(_send, {**order, "fail": f"{point}:{chance.choice((1, 1, 2))}:stop"})
            was_stopped = wait_until_stopped(zombie)
            clock.moment += chance.randint(6, 50) * _MINUTE
            sent = outbox.send(owner="successor:1", batch_size=4)
            lost = [f"the successor stopped: {sent.stopped}"] if sent.stopped else []
            before = _rows(outbox)
            wake(zombie)
            lost += _overwritten(before, _rows(outbox))
            clock.moment += 6 * _MINUTE
            outbox.send(owner="successor:1")
            outbox.settle()
            verdict = judge(home, outbox.statuses())
            left = Counter(outbox.statuses().values())
        finally:
            outbox.close()
    told = json.loads((home / "zombie.json").read_text())
    if was_stopped and point in BEFORE_THE_INTENT and told["count_after"]:
        lost.append(f"a worker that had lost its lease sent {told['count_after']} requests")
    if unfinished := left["planned"] + left["claimed"] + left["sending"] + left["unknown"]:
        lost.append(f"{unfinished} messages are left unfinished: {dict(left)}")
    if left["held"] and point not in (*BEFORE_A_BYTE, *WHILE_POSTING, *IN_A_TRANSACTION):
        lost.append(f"{left['held']} messages are held, and nothing was in doubt")
    if sum(left.values()) != COUNT:
        lost.append(f"{sum(left.values())} sends of {COUNT}")
    return Woken(
        was_stopped=was_stopped, accepted=verdict.accepted, held=left["held"], duplicates=verdict.duplicates,
        losses=(*verdict.losses, *lost),
    )  # fmt: skip


def wake_tick_at(point: str, *, url: str, home: Path) -> Woken:
    """Stop a tick while it decides, let another one decide everything, wake the first, and judge."""
    clock = SharedClock(home / "clock", start=NOW)
    outbox = Outbox(url, home, "http://127.0.0.1:1", clock)
    try:
        settle(outbox.ledger, home, names(COUNT))
        zombie = begin(_tick, {"url": url, "home": str(home), "fail": f"{point}:1:stop"})
        was_stopped = wait_until_stopped(zombie)
        clock.moment += 11 * _MINUTE
        decided = _decide(outbox, clock.now(), owner="successor:1")
        before = _rows(outbox)
        wake(zombie)
        after = _rows(outbox)
    finally:
        outbox.close()
    error = json.loads((home / "zombie.json").read_text())["error"]
    lost = [] if decided.status == "done" and before else [f"the successor: {decided}"]
    lost += [] if before == after else ["the late tick has changed sends"]
    lost += [] if "has taken over" in (error or "") else [f"the late tick was not refused: {error}"]
    return Woken(was_stopped=was_stopped, accepted=0, held=0, duplicates=0, losses=tuple(lost))


def wait_until_stopped(process: BaseProcess) -> bool:
    """Return whether it stopped; False when it ended instead."""
    deadline = time.monotonic() + _START_SECONDS
    while process.is_alive() and time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            break
        if state == "T":
            return True
        time.sleep(0.005)
    return False


def wake(process: BaseProcess) -> None:
    """Let it go on, to its end."""
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, signal.SIGCONT)
    process.join(_START_SECONDS)
    assert process.exitcode == 0, f"the worker ended with {process.exitcode}"


def _rows(outbox: Outbox) -> dict[str, dict[str, Any]]:
    columns = [sends.c[name] for name in ("send_id", "status", "attempt", "body_hash", "sending_at", "message_id")]
    with outbox.ledger._store.read() as connection:
        return {row.send_id: dict(row._mapping) for row in connection.execute(sa.select(*columns))}


def _overwritten(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say which rows that were settled the late worker has changed. A late 202 is a fact, and may be written."""
    return [
        f"{send_id} was {row['status']} and became {after[send_id]['status']}"
        for send_id, row in before.items()
        if row["status"] in TAKEN and row != after[send_id]
    ] + [
        f"{send_id} was unknown and became {after[send_id]['status']}"
        for send_id, row in before.items()
        if row["status"] == "unknown" and after[send_id]["status"] not in {"unknown", *TAKEN}
    ]


def _decide(outbox: Outbox, now: datetime, *, owner: str) -> TickResult:
    snapshots: Any = Current(outbox.home)
    return tick(DuckJourneys(), snapshots, outbox.ledger, now=now, git_sha="abc", owner=owner)


def _tick(order: Mapping[str, Any]) -> None:
    """Be the tick that stops."""
    home = Path(order["home"])
    outbox = Outbox(order["url"], home, "http://127.0.0.1:1", SharedClock(home / "clock", start=NOW))
    failpoints.arm(order["fail"])
    error = None
    try:
        _decide(outbox, NOW, owner="zombie:1")
    except UptakeError as failed:
        error = str(failed)
    (home / "zombie.json").write_text(json.dumps({"error": error}))


def _send(order: Mapping[str, Any]) -> None:
    """Be the worker that stops."""
    home = Path(order["home"])
    outbox = Outbox(order["url"], home, order["base_url"], SharedClock(home / "clock", start=NOW))
    failpoints.arm(order["fail"])
    stopped, posted = home / "clock", outbox.mailer.post
    count = Counter[str]()

    def counted(rendered: Any) -> str | None:
        count["after" if stopped.exists() else "before"] += 1  # the clock has moved: this worker was overtaken
        return posted(rendered)

    outbox.mailer.post = counted  # type: ignore[method-assign]
    error = None
    try:
        outbox.send(owner="zombie:1", batch_size=4)
    except UptakeError as failed:
        error = str(failed)
    (home / "zombie.json").write_text(json.dumps({"count_after": count["after"], "error": error}))
