"""T21: people with canaries live through everything that keeps or shows a person, and are forgotten.

Their addresses, names and what they carry in raw logs must be in no byte of the home afterwards: ledger after VACUUM,
raw files, stored webhook bodies, ledger export, reports and exports of others, the log of all of it.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from tests.operations.conftest import KEYS, NOW, Town
from uptake.adapters.personal_files import HomeFiles
from uptake.adapters.sendgrid import SEND_ID_ARG
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.domain.ids import address_hash
from uptake.operations.forget import export, forget
from uptake.operations.record_delivery import record_delivery
from uptake.operations.status import status
from uptake.summaries.status import status_summary
from uptake.testing import FixedClock

_CANARY = re.compile(rb"(?:canary|kanarienvogel)(\d+)z", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What a run came to."""

    subjects: int
    mails: int  # to those who stay
    losses: tuple[str, ...]


class _Service:
    def erase(self, _address: str) -> str:
        return "j"


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """Everything that any logger says meanwhile."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def live_and_forget(folder: Path, seed: int, *, subjects: int, others: int) -> Forgotten:
    """Mail a town, hear of its mails, forget some of its people, and look for them everywhere."""
    town = Town(folder)
    try:
        with logged() as log:
            found = _live(town, folder, seed, subjects, others)
        (folder / "debug.log").write_text(log.getvalue())
    finally:
        town.ledger.close()
    with sqlite3.connect(folder / "ledger.sqlite3") as ledger:
        ledger.execute("vacuum")
    left = _places(folder)
    losses = [f"{len(left & {*range(subjects)})} of the forgotten are still in {_where(folder, subjects)}"]
    losses = [*found.losses, *(losses if left & {*range(subjects)} else [])]
    if left != {*range(subjects, subjects + others)} and not losses:
        losses.append("those who stay are not found: nothing is proven")
    return Forgotten(subjects=subjects, mails=found.mails, losses=tuple(losses))


def _live(town: Town, folder: Path, seed: int, subjects: int, others: int) -> Forgotten:
    town.settle(subjects + others, seed=seed, contacts=1, prefix=f"s{seed}", is_plain=True)
    rows = list(town.contacts.values())
    for place, row in enumerate(rows):
        row["address"] = f"Canary{place}Z+s{seed}@Example-{seed}.invalid"
        row |= {"given_name": f"Kanarienvogel{place}Z", "full_name": f"Dr. Kanarienvogel{place}Z O'Brien"}
    gone, kept = rows[:subjects], rows[subjects:]
    _write_raw(folder, rows)
    town.publish()
    town.approve()
    town.tick()
    town.send()
    _hear(town, rows)
    files, losses = HomeFiles(folder, folder / "raw"), list[str]()
    for row in gone:
        report = forget(town.ledger, KEYS, files, _Service(), address=row["address"], by="Grace", now=NOW)
        losses += [] if report.is_complete else [f"a report is not complete: {report.found}"]
    later = NOW + timedelta(days=6)
    town.publish(later, snapshot_id="next")  # the source names them anew
    town.ledger.sends.expire(now=later)
    town.tick(later)
    mails = town.send(later)
    hashes = {address_hash(KEYS.pseudonym, row["address"]) for row in gone}
    mailed = {one for (one,) in town.rows("select address_hash from sends where accepted_at > ?", f"{later:%Y-%m-%d}")}
    losses += [f"{len(mailed & hashes)} of the forgotten are mailed again"] if mailed & hashes else []
    suppressed = {one for (one,) in town.rows("select address_hash from suppressions where lifted_at is null")}
    losses += [] if hashes <= suppressed else [f"{len(hashes - suppressed)} of the forgotten are not suppressed"]
    losses += [] if mails else ["nobody is mailed: nothing is proven"]
    _show(town, folder, kept, later)
    return Forgotten(subjects=subjects, mails=len(mails), losses=tuple(losses))


def _write_raw(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raw files as vendors write them: plain, zipped, CSV, and events that carry an address by the way."""
    raw = folder / "raw"
    raw.mkdir()
    people = [{"email": row["address"], "name": row["full_name"], "given_name": row["given_name"]} for row in rows]
    lines = "\n".join(json.dumps(one) for one in people) + "\n"
    (raw / "contacts.ndjson").write_text(lines)
    (raw / "contacts.ndjson.gz").write_bytes(gzip.compress(lines.encode()))
    (raw / "people.csv").write_text("email,name\n" + "".join(f"{row['email']},{row['name']}\n" for row in people))
    events = [
        {"event": "opened", "properties": {"url": f"/u?m={quote(row['email'])}", "to": row["email"].upper()}}
        for row in people
    ]
    (raw / "events.ndjson").write_text("".join(json.dumps(one) + "\n" for one in events))


def _hear(town: Town, rows: Sequence[Mapping[str, Any]]) -> None:
    """Events of everybody, folded; SendGrid writes the address into reasons, too."""
    sent = dict(town.rows("select contact_id, send_id from sends where accepted_at is not null"))
    events = [
        {"event": "deferred", "email": row["address"].lower(), "timestamp": int(NOW.timestamp()), "sg_message_id": "m",
         SEND_ID_ARG: sent.get(row["contact_id"], "none"), "response": f"450 <{row['address']}>: try later",
         "url": f"https://a.example/?to={quote(row['address'])}"}
        for row in rows if row["contact_id"] in sent
    ]  # fmt: skip
    for begin in range(0, len(events), 40):
        town.ledger.delivery.store(orjson.dumps(events[begin : begin + 40]), now=NOW)
    record_delivery(town.ledger, SendGridEvents(KEYS.pseudonym), clock=FixedClock(NOW))


def _show(town: Town, folder: Path, kept: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """What is written for people to read, and what dbt reads."""
    shown = folder / "shown"
    shown.mkdir()
    found = status(town.ledger, now=now, tick_interval=timedelta(hours=1))
    (shown / "status.md").write_text(status_summary(found))
    known = [export(town.ledger, KEYS, address=row["address"]) for row in kept[:3]]
    (shown / "export.json").write_text(json.dumps(known, default=str))
    for name, table in town.ledger.enrollments.tables(now=now).items():
        (shown / f"{name}.json").write_text(json.dumps(table.to_pylist(), default=str))


def _canaries(path: Path) -> set[int]:
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    return {int(place) for place in _CANARY.findall(content)}


def _places(folder: Path) -> set[int]:
    return {place for path in folder.rglob("*") if path.is_file() for place in _canaries(path)}


def _where(folder: Path, subjects: int) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and _canaries(path) & {*range(subjects)})
