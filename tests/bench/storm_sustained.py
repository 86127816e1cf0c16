"""A storm that lasts: signed webhook posts come for five minutes at the rate that is asked for, 3,000 events a second
on SQLite and 5,000 on PostgreSQL, while one process receives and another folds. A fifth of the events comes twice.

The receiver must go on acknowledging (99 % within a second, the slowest within three), and the folder must keep up:
what is left to fold when the last post is answered may take a twentieth of the time. All of it is time on the wall,
which says little of a machine on which others work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import accumulate, count
from pathlib import Path

import psycopg

from tests.bench.harness import IS_FULL_SIZE, Result, say
from tests.bench.storm import GOALS, MEMORY, SLOWEST, Posts, _ledger
from tests.crash.outbox import KEYS
from tests.crash.posting import Posted, Receivers, post_signed
from tests.crash.storm import AT_ONCE, brew, contacts_of, postgres_ledger, prepare, signed
from tests.postgres import can_serve, server
from uptake.adapters.ledger import open_ledger

SECONDS = 300 if IS_FULL_SIZE else 10
SENDS = 20_000
_BREWED = 50_000  # different events of one brew
_LATE = 1.05  # times as long, until all is folded
_MOST = 3.0  # seconds until any post is acknowledged


def run(scratch: Path) -> list[Result]:
    """Let it last on each database."""
    home = scratch / "storm"
    home.mkdir(exist_ok=True)
    prepared = home / f"{SENDS}.sqlite3"
    if not prepared.exists():
        prepare(f"sqlite:///{prepared}", SENDS)
    with _ledger(home / "lasting.sqlite3", prepared, None) as url:
        results = _last("SQLite", url, prepared)
    if not can_serve():
        say("storm: no PostgreSQL on this machine")
        return results
    with server() as address:
        with psycopg.connect(f"{address}/postgres", autocommit=True) as admin:
            admin.execute("alter system set fsync = on")
            admin.execute("select pg_reload_conf()")
        with postgres_ledger(address, SENDS) as url:
            return results + _last("PostgreSQL", url, prepared)


def _last(name: str, url: str, prepared: Path) -> list[Result]:
    rate = GOALS[name]
    posts, told = _brewed(prepared, rate * SECONDS)
    say(f"storm: {told[-1]:,} events in {len(posts):,} posts for {name}")
    ledger, posted = open_ledger(url, KEYS), Posted(limit=0)
    with Receivers() as receivers, receivers.receive(url) as receiver, receivers.fold(url) as folder:
        poster = threading.Thread(
            target=post_signed, args=(posts, receiver.port), kwargs={"patience": 4 * SECONDS + 60, "posted": posted}
        )
        started = time.monotonic()
        poster.start()
        due = 0
        while due < len(posts):
            allowed = rate * (time.monotonic() - started)
            while due < len(posts) and told[due] <= allowed:
                due += 1
            posted.limit = due
            time.sleep(0.005)
        posted.limit = len(posts) + AT_ONCE
        poster.join()
        while ledger.delivery.unfolded(1):
            time.sleep(0.05)
        took = time.monotonic() - started
        for one in (receiver, folder):
            one.look()
    ledger.close()
    say(f"storm, {name}: {took:.0f} s, CPU {receiver.cpu:.0f} s received, {folder.cpu:.0f} s folded")
    size = f"{told[-1] / took:,.0f} events/s for {took:.0f} s"
    limits = {
        "until all is folded": (told[-1] / rate, took, _LATE, "s"),
        "until 99 % are acknowledged": (SLOWEST, posted.within(0.99), 1, "s"),
        "until the slowest is acknowledged": (_MOST, posted.within(1), 1, "s"),
        "peak memory of the larger process": (MEMORY, max(receiver.peak, folder.peak) / 1e9, 1, "GB"),
    }
    return [
        Result(
            work=f"{what}, {name}", size=size, against=f"{rate:,} events/s" if what.endswith("folded") else "the limit",
            floor=floor, ours=ours, target=target, unit=unit,
        )
        for what, (floor, ours, target, unit) in limits.items()
    ]  # fmt: skip


def _brewed(prepared: Path, events: int) -> tuple[Posts, Sequence[int]]:
    """Return signed posts with so many events at least, and how many have come with each and all before it."""
    ledger = open_ledger(f"sqlite:///{prepared}", KEYS)
    contacts = contacts_of(ledger)
    ledger.close()
    bodies: list[bytes] = []
    sizes: list[int] = []
    for seed in count(1):
        storm = brew(seed, min(_BREWED, events), contacts)
        bodies += storm.bodies
        sizes += [body.count(b'"event":') for body in storm.bodies]
        if sum(sizes) >= events:
            break
    return [(body, signed(body)) for body in bodies], list(accumulate(sizes))
