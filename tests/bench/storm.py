"""A storm of signed webhook posts: received by one process and folded by another at the same time, 50 posts at once,
a fifth of the events posted twice, bodies of one event up to 768 KB, as many short ones as long ones.

The floor is one process that does by hand what cannot be left out: verify each body's signature, parse its JSON and
insert the same rows of events, those already known left out, in one transaction per body, into a copy of the same
ledger. It stores no body, moves no send, stops no address, and nobody waits for its answer.

Compared are CPU seconds, PostgreSQL's own included. How many events a second that makes is read off the busier of the
two processes, because each has a core of its own, and on the wall, from the first post until all was folded.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.bench.harness import IS_FULL_SIZE, ROUNDS, Measured, Result, apart, bound, median, must_agree, say
from tests.crash.outbox import KEYS
from tests.crash.posting import Receivers, post_signed
from tests.crash.storm import EVENTS_PER_SEND, PUBLIC_KEY, Storm, brew, contacts_of, postgres_ledger, prepare, signed
from tests.postgres import can_serve, server
from uptake.adapters.ledger import open_ledger
from uptake.adapters.ledger.schema import delivery_events
from uptake.adapters.sendgrid import SEND_ID_ARG
from uptake.adapters.sendgrid_events import SIGNATURE_HEADER, TIMESTAMP_HEADER

EVENTS = 80_000 if IS_FULL_SIZE else 8_000
SENDS = EVENTS // EVENTS_PER_SEND
TARGET = 4.0
GOALS = {"SQLite": 3_000, "PostgreSQL": 5_000}  # events a second
MEMORY = 0.4  # GB, of the larger process
SLOWEST = 1.0  # seconds until 99 % of the posts are acknowledged

Posts = Sequence[tuple[bytes, Mapping[str, str]]]

_COLUMNS = (
    "event_key", "batch_id", "send_id", "sg_message_id", "address_hash", "event", "kind", "reason", "topic_group",
    "occurred_at",
)  # fmt: skip
_KNOWN = {
    "processed", "deferred", "delivered", "bounce", "dropped", "open", "click", "spamreport", "unsubscribe",
    "group_unsubscribe", "group_resubscribe",
}  # fmt: skip


_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+")


@dataclass(frozen=True, kw_only=True)
class Passed:
    """What one storm took. Seconds, and bytes."""

    busiest: float
    until_folded: float
    acknowledged: float
    peak: float


def run(scratch: Path) -> list[Result]:
    """Measure a storm on each database."""
    home = scratch / "storm"
    home.mkdir(exist_ok=True)
    prepared = home / f"{SENDS}.sqlite3"
    if not prepared.exists():
        prepare(f"sqlite:///{prepared}", SENDS)
    ledger = open_ledger(f"sqlite:///{prepared}", KEYS)
    storm = brew(1, EVENTS, contacts_of(ledger))
    ledger.close()
    posts = [(body, signed(body)) for body in storm.bodies]
    results = _compare("SQLite", storm, posts, home / "ledger.sqlite3", prepared, None)
    if not can_serve():
        say("storm: no PostgreSQL on this machine")
        return results
    with server() as address:
        with psycopg.connect(f"{address}/postgres", autocommit=True) as admin:
            admin.execute("alter system set fsync = on")
            admin.execute("select pg_reload_conf()")
        results += _compare("PostgreSQL", storm, posts, home / "unused", prepared, address)
    return results


def _compare(name: str, storm: Storm, posts: Posts, path: Path, prepared: Path, address: str | None) -> list[Result]:
    floors: list[Measured] = []
    own: list[Measured] = []
    passed: list[Passed] = []
    for turn in range(1, ROUNDS + 1):
        with _ledger(path, prepared, address) as url, _server_cpu(address) as server_cpu:
            floor = apart(bound(_by_hand, url, posts, PUBLIC_KEY))
            floors.append(_with(floor, cpu=floor.cpu + server_cpu(), answer=_answer(url)))
        with _ledger(path, prepared, address) as url, _server_cpu(address) as server_cpu:
            cpu, found = _by_uptake(url, posts)
            own.append(Measured(answer=_answer(url), cpu=cpu + server_cpu(), wall=found.until_folded, peak=found.peak))
            passed.append(found)
        say(f"storm, {name} {turn}/{ROUNDS}: floor {floors[-1].cpu:.2f} s CPU, ours {own[-1].cpu:.2f} s, {found}")
        must_agree(f"storm, {name}", floors[-1].answer, own[-1].answer)
    floor, ours, typical = median(floors), median(own), sorted(passed, key=lambda one: one.busiest)[len(passed) // 2]
    goal = GOALS[name]
    size, allowed = f"{storm.events / 1e3:g} k events, {len(posts)} posts", storm.events / goal
    return [
        Result(
            work=f"a storm, {name}", size=size, against="verify, parse and insert by hand", floor=floor.cpu,
            ours=ours.cpu, target=TARGET,
        ),
        Result(
            work=f"the busier process of it, {name}", size=f"{storm.events / typical.busiest:,.0f} events/s",
            against=f"{goal:,} events/s", floor=allowed, ours=typical.busiest, target=1,
        ),
        Result(
            work=f"on the wall, {name}", size=f"{storm.events / typical.until_folded:,.0f} events/s",
            against=f"{goal:,} events/s", floor=allowed, ours=typical.until_folded, target=1,
        ),
        Result(
            work=f"until 99 % are acknowledged, {name}", size=size, against="the limit", floor=SLOWEST,
            ours=typical.acknowledged, target=1,
        ),
        Result(
            work=f"peak memory of the larger process, {name}", size=size, against="the limit", floor=MEMORY,
            ours=max(one.peak for one in passed) / 1e9, target=1, unit="GB",
        ),
    ]  # fmt: skip


def _with(measured: Measured, *, cpu: float, answer: Any) -> Measured:
    return Measured(answer=answer, cpu=cpu, wall=measured.wall, peak=measured.peak)


@contextmanager
def _ledger(path: Path, prepared: Path, address: str | None) -> Iterator[str]:
    if address is None:
        shutil.copy(prepared, path)
        yield f"sqlite:///{path}"
        return
    with postgres_ledger(address, SENDS) as url:
        yield url


def _answer(url: str) -> tuple[int, str]:
    """How many events are known, and a hash of what is known of them."""
    ledger = open_ledger(url, KEYS)
    columns = [delivery_events.c[name] for name in _COLUMNS if name != "batch_id"]
    found = hashlib.sha256()
    with ledger._store.read() as connection:
        rows = sorted(repr(tuple(row)) for row in connection.execute(sa.select(*columns)))
    ledger.close()
    for row in rows:
        found.update(row.encode())
    return len(rows), found.hexdigest()


# --- ours -------------------------------------------------------------------------------------------------


def _by_uptake(url: str, posts: Posts) -> tuple[float, Passed]:
    """Return the CPU seconds of both processes, and what the storm took."""
    ledger = open_ledger(url, KEYS)
    with Receivers() as receivers, receivers.receive(url) as receiver, receivers.fold(url) as folder:
        for one in (receiver, folder):
            one.look()
        before = receiver.cpu, folder.cpu
        started = time.monotonic()
        posted = post_signed(posts, receiver.port, patience=600)
        while ledger.delivery.unfolded(1):
            time.sleep(0.05)
        took = time.monotonic() - started
        for one in (receiver, folder):
            one.look()
        cpu = receiver.cpu - before[0], folder.cpu - before[1]
    ledger.close()
    return sum(cpu), Passed(
        busiest=max(cpu), until_folded=took, acknowledged=posted.within(0.99), peak=max(receiver.peak, folder.peak)
    )


# --- by hand ----------------------------------------------------------------------------------------------


def _by_hand(url: str, posts: Posts, public_key: str) -> None:
    """Verify, parse and insert every body, each in its own transaction."""
    key = load_der_public_key(base64.b64decode(public_key))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    with ExitStack() as stack:
        connection: Any
        if url.startswith("sqlite"):
            connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            stack.callback(connection.close)
            connection.execute("pragma journal_mode = truncate")
            connection.execute("pragma synchronous = full")
            cursor, mark, begin = connection.cursor(), "?", "begin immediate"
        else:
            connection = stack.enter_context(psycopg.connect(url, autocommit=True))
            cursor, mark, begin = connection.cursor(), "%s", "begin"
        marks = ", ".join([mark] * len(_COLUMNS))
        insert = f"insert into delivery_events ({', '.join(_COLUMNS)}) values ({marks}) on conflict do nothing"
        cursor.execute(f"insert into webhook_batches (batch_id, body, received_at) values (1, {mark}, {mark})",
                       (b"", "2026-03-03 09:00:00.000000"))  # fmt: skip
        for body, headers in posts:
            stamp = headers[TIMESTAMP_HEADER].encode()
            key.verify(base64.b64decode(headers[SIGNATURE_HEADER]), stamp + body, ec.ECDSA(hashes.SHA256()))
            rows = [_row(raw) for raw in orjson.loads(body)]
            cursor.execute(begin)
            cursor.executemany(insert, rows)
            cursor.execute("commit")


def _hashed(*parts: str) -> str:
    return hmac.digest(KEYS.pseudonym, "\x1f".join(parts).encode(), "sha256").hex()[:32]


def _row(raw: Mapping[str, Any]) -> tuple[Any, ...]:
    name, kind, address = raw["event"], raw.get("type", ""), raw["email"]
    send_id, message_id, at = raw.get(SEND_ID_ARG), raw.get("sg_message_id"), raw["timestamp"]
    hashed = _hashed("address", address.strip().lower())
    who = send_id or f"{message_id or ''}:{hashed}"
    group = raw.get("asm_group_id")
    to = (str(group),) if group is not None and name.startswith("group_") else ()
    event_key = _hashed("delivery_event", who, name, kind, str(at), raw.get("url", ""), *to)
    is_known = name in _KNOWN
    reason = _ADDRESS.sub("[address]", raw.get("reason", ""))
    moment = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    event = name if is_known else "other"
    return event_key, 1, send_id, message_id, hashed, event, kind if is_known else name, reason, group, moment


def _cpu_of(pid: int) -> float:
    """User and system time of a process, and of its children that have ended."""
    try:
        ticks = (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(tick) for tick in ticks[11:15]) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _server_cpu(address: str | None) -> Iterator[Any]:
    """Give a function that tells how many CPU seconds PostgreSQL has used since."""
    if address is None:
        yield lambda: 0.0
        return
    with psycopg.connect(f"{address}/postgres", autocommit=True) as admin:
        (pid,) = admin.execute("select pg_backend_pid()").fetchone() or (0,)
        main = _parent(pid)

        def total() -> float:
            return _cpu_of(main) + sum(_cpu_of(child) for child in _children(main))

        before = total()
        yield lambda: total() - before


def _parent(pid: int) -> int:
    return int((Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])


def _children(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                is_child = _parent(int(folder.name)) == parent
            except OSError:
                continue
            if is_child:
                found.append(int(folder.name))
    return found
