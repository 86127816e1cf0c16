"""T11: many processes at once: several decide the same tick, then all send, as flows do that were started twice.


Each worker counts how long every statement, begin and commit took. A wait for a lock is a part of that, so the longest
bounds it.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from tests.crash.outbox import NOW, RELEASE, Outbox, Verdict, judge, load_people, names, serving
from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.adapters.ledger import SqlLedger
from uptake.domain.playbooks import Release
from uptake.errors import UptakeError
from uptake.operations.tick import tick
from uptake.ports import Check, Plan, Snapshot
from uptake.testing import FixedClock, write_snapshot

#: Takes in whoever matches already.
EVERYBODY = Release.model_validate(
    RELEASE.model_dump() | {"playbook": RELEASE.playbook.model_dump() | {"backfill": "all"}}
)
_SETTLED = {"plan": "team", "age_days": 100, "churned": False, "is_internal": False, "count_open_tickets": 0}
TICKING = 3  # of the workers decide at the same moment; then all send
LOCK_WAIT_P99 = 1.0  # seconds
LONGEST_STALL = 30.0
_START_SECONDS = 900.0

#: Forks workers from a process that has everything imported and no threads.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.crash.preloaded", "tests.crash.workers"])


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """What many workers at once came to."""

    verdict: Verdict
    shares: tuple[int, ...]  # mails accepted by each worker
    ticks_done: int
    p99: float  # seconds of a statement, a begin or a commit
    longest: float
    losses: tuple[str, ...]


class Current:
    """The store of snapshots, as far as a tick asks it."""

    def __init__(self, home: Path, as_of: Any = NOW) -> None:
        self._snapshot = Snapshot(
            snapshot_id="s1", as_of=as_of, directory=home / "s1", manifest={"goal_hash": "g", "row_counts": {}}
        )

    def current(self) -> Snapshot:
        return self._snapshot


def settle(
    ledger: SqlLedger, home: Path, contacts: Sequence[str], *, release: Release = EVERYBODY, now: datetime = NOW
) -> None:
    """Publish a snapshot in which every account matches an approved playbook, and nobody is in yet."""
    marts = {
        "accounts_current": [{"account_id": name, **_SETTLED} for name in contacts],
        "account_features": [
            {"account_id": name, "feature_key": "boards", "is_entitled": True, "adoption_state": "never"}
            for name in contacts
        ],
        "contacts_current": [
            {"contact_id": name, "account_id": name, "role": "admin", "active_days_28": 5} for name in contacts
        ],
    }
    write_snapshot(home, as_of=now, marts=marts, snapshot_id="s1")
    load_people(ledger, contacts, now=now)
    check = Check(name="c", status="passed", severity="critical")
    ledger.gates.record(snapshot_id="s1", status="passed", checks=[check], reasons=[], as_of=now, now=now)
    version_id = ledger.releases.save_version(release, git_sha="abc", now=now)
    plan = Plan(
        plan_id="p1", playbook=release.name, version_id=version_id, release_hash=release.release_hash,
        plan_hash="h", snapshot_id="s1", planned_at=now, count_accounts=len(contacts), count_contacts=len(contacts),
        summary={"goal_hash": "g"},
    )  # fmt: skip
    ledger.releases.save_plan(plan)
    ledger.releases.approve(plan, by="Grace", now=now, expires_at=now + timedelta(days=90), tolerance=0.25)


def crowd(url: str, home: Path, *, workers: int, count: int, batch_size: int) -> Crowd:
    """Let workers begin at one moment on a playbook that matches `count` accounts; judge when all are done."""
    clock = FixedClock(NOW)
    with serving(home, clock) as server:
        outbox = Outbox(url, home, server.url, clock)
        try:
            settle(outbox.ledger, home, names(count))
            told = _all(workers, {"url": url, "home": str(home), "base_url": server.url, "batch_size": batch_size})
            statuses = outbox.statuses()
            enrolled = _count(outbox.ledger, "enrollments where arm = 'treatment'")
        finally:
            outbox.close()
    verdict = judge(home, statuses)
    losses = [*verdict.losses, *(one["error"] for one in told if one["error"])]
    losses += [f"{send_id} is {status}" for send_id, status in statuses.items() if status != "accepted"]
    if not enrolled == len(statuses) == verdict.accepted:
        losses.append(f"{enrolled} enrolled for mail, {len(statuses)} sends, {verdict.accepted} accepted")
    waits = sorted(wait for one in told for wait in one["waits"])
    return Crowd(
        verdict=verdict,
        shares=tuple(one["accepted"] for one in told),
        ticks_done=sum(one["tick"] == "done" for one in told),
        p99=waits[int(len(waits) * 0.99)],
        longest=waits[-1],
        losses=tuple(losses),
    )


def _count(ledger: SqlLedger, what: str) -> int:
    with ledger._store.read() as connection:
        return int(connection.exec_driver_sql(f"select count(*) from {what}").scalar_one())


def _all(workers: int, order: Mapping[str, Any]) -> list[dict[str, Any]]:
    start = processes.Barrier(workers)
    answers = [Path(order["home"]) / f"worker-{number}.json" for number in range(workers)]
    running = [begin(_work, {**order, "number": number, "answer": str(answers[number])}, start)
               for number in range(workers)]  # fmt: skip
    for process in running:
        process.join()
        assert process.exitcode == 0, f"a worker ended with {process.exitcode}"
    return [json.loads(answer.read_text()) for answer in answers]


def begin(work: Any, *arguments: Any) -> BaseProcess:
    """Start a worker."""
    process = processes.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def _work(order: Mapping[str, Any], start: Barrier) -> None:
    """Be one worker."""
    home, clock = Path(order["home"]), FixedClock(NOW)
    outbox = Outbox(order["url"], home, order["base_url"], clock)
    owner, journeys = f"machine-{order['number']}:1", DuckJourneys()
    snapshots: Any = Current(home)
    told: dict[str, Any] = {"accepted": 0, "error": None, "tick": None}
    with timed(outbox.ledger) as waits:
        try:
            start.wait(_START_SECONDS)
            while order["number"] < TICKING and told["tick"] != "done":  # as the next run of a schedule would
                decided = tick(journeys, snapshots, outbox.ledger, now=NOW, git_sha="abc", owner=owner)
                told["tick"] = decided.status
                time.sleep(0.05)
                if decided.reasons:
                    raise UptakeError(f"held: {decided.reasons}")
            start.wait(_START_SECONDS)
            sent = outbox.send(owner=owner, batch_size=order["batch_size"])
            told |= {"accepted": sent.accepted, "error": sent.stopped}
        except UptakeError as error:
            told["error"] = f"worker {order['number']}: {error}"
    outbox.close()
    Path(order["answer"]).write_text(json.dumps({**told, "waits": waits}))


@contextmanager
def timed(ledger: SqlLedger) -> Iterator[list[float]]:
    """Collect the seconds of every statement, and of every begin and commit, of one ledger."""
    waits: list[float] = []
    store: Any = ledger._store
    began: list[float] = []

    def before(*_: Any) -> None:
        began.append(time.monotonic())

    def after(*_: Any) -> None:
        waits.append(time.monotonic() - began.pop())

    event.listen(store._engine, "before_cursor_execute", before)  # a begin of SQLite's is a statement, too
    event.listen(store._engine, "after_cursor_execute", after)
    store.write, store.read = _committing(store.write, waits), _committing(store.read, waits)
    yield waits


def _committing(transaction: Any, waits: list[float]) -> Any:
    @contextmanager
    def timed_transaction() -> Iterator[sa.Connection]:
        began = ended = time.monotonic()
        with transaction() as connection:
            waits.append(time.monotonic() - began)  # SQLite is asked several times for the turn to write
            yield connection
            ended = time.monotonic()
        waits.append(time.monotonic() - ended)

    return timed_transaction
