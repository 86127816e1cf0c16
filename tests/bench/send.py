"""Sending, from the claim to the acceptance in the ledger, against fakegrid on the loopback that answers after 50 ms.

The floor is what nobody can do without, by hand and alone: a sandboxed Jinja template each for subject, HTML and
text, a dict for each person and orjson for the request, and the three writes of a message's life (claimed, intended,
accepted) to a copy of the same SQLite ledger, with `synchronous=FULL`, a thousand rows at once. It escapes HTML and
that is all: it reads no snapshot, cleans no value, signs no link, and asks nobody whether the message may still be
sent.

Ours is two workers as they come, so that one works while the other waits for its answer: each begins with 1, 10 and
100 people in a request, then puts 1,000 into each. What a worker needs to begin (0.15 s of opening and compiling) is
its own, too: of 20,000 recipients it would be a sixth. Their time is the CPU time of both, as
if they shared one core, and never less than what either of them takes alone with 50 ms for each of its requests. What
fakegrid costs, in a process of its own, is not ours. One worker alone is shown beside them, as it comes and with never
more than 100 in a request: fewer in doubt after one lost answer, many times the wait.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tests.bench.harness import IS_FULL_SIZE, ROUNDS, Measured, Result, Work, alternate, apart, bound
from tests.crash import outbox
from tests.crash.outbox import API_KEY, KEYS, LINKS, NOW, fill, names, serving
from uptake.adapters.ledger import open_ledger
from uptake.adapters.merge_fields_duckdb import DuckMergeFields
from uptake.adapters.sendgrid import SendGridMailer
from uptake.adapters.witness_file import WitnessFile
from uptake.domain.playbooks import StageText
from uptake.operations.send import send_due
from uptake.ports import Snapshot
from uptake.testing import FixedClock, write_snapshot

RECIPIENTS = 100_000 if IS_FULL_SIZE else 2_000
AT_ONCE = 1_000
LATENCY = 0.05  # seconds
TARGET = 2.0  # half the floor's recipients per second

_SUBJECT = "{{ feature.name }} for {{ contact.given_name }}"
_BODY = """Hi {{ contact.given_name }},

your team is on **{{ account.plan }}** with {{ account.seats }} seats{% if feature.adoption_state == 'tried' %}, and you
have tried {{ feature.name }} before{% endif %}.

- A first board takes two minutes.
- Nothing you have today goes away.

**[Open the guide]({{ feature.guide_url }})**
"""
# The same by hand.
_TEXT = _BODY.replace("**", "").replace("[Open the guide]({{ feature.guide_url }})", "Open: {{ feature.guide_url }}")
_HTML = (
    "<p>Hi {{ contact.given_name }},</p><p>your team is on <strong>{{ account.plan }}</strong> with "
    "{{ account.seats }} seats{% if feature.adoption_state == 'tried' %}, and you have tried {{ feature.name }} before"
    "{% endif %}.</p><ul><li>A first board takes two minutes.</li><li>Nothing you have today goes away.</li></ul>"
    '<p><strong><a href="{{ feature.guide_url }}">Open the guide</a></strong></p>'
)
_WHY = (
    "Why you get this: {{ feature.name }} is part of what your company has, and {% if feature.adoption_state == "
    "'tried' %}we see that you tried it{% else %}we see no use of it by you yet{% endif %}."
)
_RELEASE = outbox.RELEASE.model_copy(
    update={
        "texts": {"why": StageText(subject=_SUBJECT, body=_BODY)},
        "workspace": outbox.RELEASE.workspace.model_copy(update={"allowed_links": ("docs.acme.example",)}),
    }
)


def run(scratch: Path) -> list[Result]:
    """Measure a full outbox, sent by two workers and by one."""
    folder = scratch / "send"
    folder.mkdir(parents=True, exist_ok=True)
    planned = _prepare(folder)
    with _fakegrid(folder) as port:
        by_hand = bound(_by_hand, planned, folder)
        ours = bound(_by_uptake, planned, folder, port, workers=2, at_once=AT_ONCE)
        floor, own = alternate(by_hand, ours, rounds=ROUNDS, told="send", measure=_waiting)
        alone, small = (
            _waiting(bound(_by_uptake, planned, folder, port, workers=1, at_once=size)) for size in (AT_ONCE, 100)
        )
    shared: dict[str, Any] = {"size": f"{RECIPIENTS:,} recipients", "against": "render, payload and writes by hand"}
    return [
        Result(work="sending: two workers", floor=floor.cpu, ours=own.cpu, target=TARGET, **shared),
        Result(work="sending: one worker", floor=floor.cpu, ours=alone.cpu, target=None, **shared),
        Result(
            work="sending: one worker, at most 100 in a request", floor=floor.cpu, ours=small.cpu, target=None, **shared
        ),
    ]


def _waiting(work: Work) -> Measured:
    """Measure work by its own count of seconds: what its processes computed, or waited for answers."""
    found = apart(work)
    seconds = max(found.answer["cpu"], found.answer.get("slowest", 0.0))
    return Measured(answer={"accepted": found.answer["accepted"]}, cpu=seconds, wall=found.wall, peak=found.peak)


# --- what is sent --------------------------------------------------------------------------------------------------


def _prepare(folder: Path) -> Path:
    """Plan the mails, once; write the snapshot they were decided on."""
    path = folder / f"planned-{RECIPIENTS}.sqlite3"
    contacts = names(RECIPIENTS)
    if not path.exists():
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        ledger = open_ledger(f"sqlite:///{draft}", KEYS)
        with mock.patch.object(outbox, "RELEASE", _RELEASE):
            fill(ledger, contacts)
        ledger.close()
        draft.rename(path)
    marts: dict[str, list[dict[str, Any]]] = {
        "accounts_current": [{"account_id": name, "plan": "team", "arr": 1200.0, "seats": 9} for name in contacts],
        "contacts_current": [{"contact_id": name, "account_id": name, "role": "admin"} for name in contacts],
        "dim_features": [{"feature_key": "boards", "name": "Boards", "guide_url": "https://docs.acme.example/boards"}],
        "contact_features": [
            {"contact_id": name, "account_id": name, "feature_key": "boards", "adoption_state": "tried"}
            for name in contacts[::3]
        ],
    }
    write_snapshot(folder, as_of=NOW, marts=marts, snapshot_id="s1")
    return path


@contextmanager
def _fakegrid(folder: Path) -> Iterator[int]:
    """Serve fakegrid in a process of its own; yield its port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process: BaseProcess = context.Process(target=_serve, args=(folder / "service", theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
        ours.send("stop")
        process.join(timeout=30)
    finally:
        process.kill()


def _serve(home: Path, told: Connection) -> None:
    async def slow(phase: str, _body: bytes) -> None:
        if phase == "read":
            await asyncio.sleep(LATENCY)

    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    with serving(home, FixedClock(NOW), fault=slow) as server:
        told.send(server.port)
        told.recv()


# --- ours ----------------------------------------------------------------------------------------------------------


def _by_uptake(planned: Path, folder: Path, port: int, *, workers: int, at_once: int) -> dict[str, float]:
    shutil.copy(planned, folder / "ours.sqlite3")
    with ProcessPoolExecutor(max_workers=workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_one_worker, [None] * workers, timeout=600))  # each has imported all there is
        done = list(pool.map(_one_worker, [(folder, port, at_once)] * workers))
    return {
        "accepted": sum(worker["accepted"] for worker in done),
        "cpu": sum(worker["cpu"] for worker in done),
        "slowest": max(worker["cpu"] + LATENCY * worker["requests"] for worker in done),
    }


def _one_worker(task: tuple[Path, int, int] | None) -> dict[str, float]:
    """Send until nothing is planned; without a task only wait until each process has got one."""
    if task is None:
        time.sleep(1.0)
        return {}
    folder, port, at_once = task
    ledger = open_ledger(f"sqlite:///{folder / 'ours.sqlite3'}", KEYS)
    mailer = SendGridMailer(f"http://127.0.0.1:{port}", API_KEY, clock=FixedClock(NOW))
    before = time.process_time()
    sent = send_due(
        ledger, mailer, DuckMergeFields(), LINKS, _OneSnapshot(folder), clock=FixedClock(NOW),
        owner=f"bench-{os.getpid()}", batch_size=at_once, witness=WitnessFile(folder),
    )  # fmt: skip
    cpu = time.process_time() - before
    assert sent.stopped is None, sent
    mailer.close()
    ledger.close()
    return {"accepted": sent.accepted, "requests": sent.requests, "cpu": cpu}


class _OneSnapshot:
    """The store of snapshots, as far as sending asks it."""

    def __init__(self, folder: Path) -> None:
        self._snapshot = Snapshot(snapshot_id="s1", as_of=NOW, directory=folder / "s1", manifest={})

    def open(self, snapshot_id: str) -> Snapshot:
        assert snapshot_id == "s1"
        return self._snapshot


# --- the floor -----------------------------------------------------------------------------------------------------

_WRITES = (
    "update sends set status = 'claimed', owner = 'bench', lease_until_at = ?, updated_at = ? where send_key = ?",
    "update sends set status = 'sending', attempt = attempt + 1, body_hash = 'h', sending_at = ?, updated_at = ? "
    "where send_key = ?",
    "update sends set status = 'accepted', owner = null, lease_until_at = null, message_id = 'm', accepted_at = ?, "
    "updated_at = ? where send_key = ?",
)


def _by_hand(planned: Path, folder: Path) -> dict[str, float]:
    shutil.copy(planned, folder / "floor.sqlite3")
    database = sqlite3.connect(folder / "floor.sqlite3", isolation_level=None)
    database.execute("pragma synchronous = full")
    query = "select send_key, send_id, address, given_name from sends join people using (contact_id) order by send_key"
    rows = database.execute(query).fetchall()
    feature = {"name": "Boards", "guide_url": "https://docs.acme.example/boards", "adoption_state": "tried"}
    moment = NOW.isoformat(" ")
    before = time.process_time()
    escaped, plain = (ImmutableSandboxedEnvironment(autoescape=on) for on in (True, False))
    subject, text, html = (
        plain.from_string(_SUBJECT),
        plain.from_string(_TEXT + _WHY),
        escaped.from_string(_HTML + _WHY),
    )
    accepted = 0
    for start in range(0, len(rows), AT_ONCE):
        batch = rows[start : start + AT_ONCE]
        people = []
        for _, send_id, address, name in batch:
            fields = {"contact": {"given_name": name}, "feature": feature, "account": {"plan": "team", "seats": 9}}
            people.append(
                {
                    "to": [{"email": address, "name": name}],
                    "subject": subject.render(fields),
                    "substitutions": {"-html-": html.render(fields), "-text-": text.render(fields)},
                    "custom_args": {"uptake_send_id": send_id},
                    "headers": {
                        "List-Unsubscribe": f"<https://mail.acme.example/u/{send_id}>",
                        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                    },
                }
            )
        orjson.dumps({"personalizations": people, "from": {"email": "ada@acme.example"}, "content": []})
        for write in _WRITES:
            database.execute("begin immediate")
            database.executemany(write, [(moment, moment, key) for key, *_ in batch])
            database.execute("commit")
        accepted += len(batch)
    cpu = time.process_time() - before
    database.close()
    return {"accepted": accepted, "cpu": cpu}
