"""A storm of webhook posts: what comes, who receives it in a process of its own, and what must stand in the end.

The oracle knows each event by what the storm itself made it of, and keeps a small model of its own beside the product.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import psycopg
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.crash.outbox import GROUP, KEYS, NOW, address_of, fill, names
from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.ledger.schema import delivery_events, people, sends, suppressions
from uptake.adapters.sendgrid import SEND_ID_ARG
from uptake.adapters.sendgrid_events import SIGNATURE_HEADER, TIMESTAMP_HEADER
from uptake.domain.ids import address_hash

ROOT = Path(__file__).resolve().parent.parent.parent
AT_ONCE = 50  # posts under way at the same time
MOST_BYTES = 768 * 1024  # of one body, as SendGrid
EVENTS_PER_SEND = 8
OTHER_GROUP = 8  # one that no topic names
SECONDS = 3 * 86_400  # the events of a storm lie in so many seconds before now

PRIVATE = ec.generate_private_key(ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(
    PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
STAMP = str(int(NOW.timestamp()))

#: event, type, how often, what it proves of its send (the highest counts), why it stops its address.
_KINDS: tuple[tuple[str, str, int, str, str], ...] = (
    ("processed", "", 28, "accepted", ""),
    ("deferred", "", 6, "accepted", ""),
    ("delivered", "", 24, "delivered", ""),
    ("open", "", 14, "delivered", ""),
    ("click", "", 12, "delivered", ""),
    ("bounce", "bounce", 3, "bounced", "bounced"),
    ("bounce", "blocked", 3, "bounced", ""),
    ("dropped", "", 2, "dropped", "bounced"),
    ("spamreport", "", 1, "delivered", "complained"),
    ("unsubscribe", "", 2, "delivered", "unsubscribed"),
    ("group_unsubscribe", "", 2, "delivered", "unsubscribed"),
    ("group_resubscribe", "", 2, "delivered", ""),
)
_RANK = {"accepted": 1, "delivered": 2, "bounced": 3, "dropped": 4}
_WORDS = ("café", "日本語", "emoji 😀", 'quote " back \\ slash', "<b>bold</b>", "{{ contact.name }}", "x" * 40)

Suppressed = Mapping[tuple[str, str, str], tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Storm:
    """Bodies as they are posted, the same news sorted and without repeats, and what must stand in the end."""

    bodies: Sequence[bytes]
    in_order: Sequence[bytes]
    events: int  # posted, repeats included
    distinct: int
    statuses: Mapping[str, str]  # by send id, of those that were told of
    suppressed: Suppressed  # (address hash, topic, reason) -> newest stop and newest lift, as unix seconds or 0


@dataclass
class _Model:
    statuses: dict[str, str] = field(default_factory=dict)
    suppressed: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)

    def learn(self, raw: Mapping[str, object], proves: str, stops: str) -> None:
        send_id, at = raw.get(SEND_ID_ARG), int(str(raw["timestamp"]))
        if isinstance(send_id, str) and proves and _RANK[proves] > _RANK.get(self.statuses.get(send_id, ""), 0):
            self.statuses[send_id] = proves
        event, group = raw["event"], raw.get("asm_group_id")
        if event in ("group_unsubscribe", "group_resubscribe"):
            topic = {None: "", GROUP: "training", OTHER_GROUP: "group:8"}[group]  # type: ignore[index]
            if topic or stops:
                self._stop(raw, topic, "unsubscribed", at if stops else 0, 0 if stops else at)
        elif stops:
            self._stop(raw, "", stops, at, 0)

    def _stop(self, raw: Mapping[str, object], topic: str, reason: str, stopped: int, lifted: int) -> None:
        key = (address_hash(KEYS.pseudonym, str(raw["email"])), topic, reason)
        before = self.suppressed.get(key, (0, 0))
        self.suppressed[key] = (max(before[0], stopped), max(before[1], lifted))


def brew(seed: int, count: int, contacts: Mapping[str, str], *, most_bytes: int = MOST_BYTES) -> Storm:
    """Make a storm of `count` different events about these sends (contact id by send id).

    20 % are posted twice, 5 % carry no id, 1 % are of a kind nobody knows; bodies hold from one event up to
    `most_bytes`, as many short ones as long ones.
    """
    chance = random.Random(seed)
    send_ids, weights = sorted(contacts), [weight for _, _, weight, _, _ in _KINDS]
    model, known, made = _Model(), set[tuple[object, ...]](), list[tuple[int, bytes]]()
    number = 0
    while len(made) < count:
        send_id = chance.choice(send_ids)
        event, kind, _, proves, stops = chance.choices(_KINDS, weights)[0]
        raw: dict[str, object] = {
            "email": address_of(contacts[send_id]),
            "timestamp": int(NOW.timestamp()) - chance.randrange(SECONDS),
            "event": event,
            "sg_event_id": f"{seed:x}-{number}",
            "smtp-id": f"<{number}@ismtpd-555>",
            "category": chance.choice(("activate", ["activate", "b"])),
            chance.choice(("ip", "useragent", "new_key", "tls")): chance.choice(_WORDS),
        }
        number += 1
        if kind:
            raw["type"] = kind
        if event == "click":
            raw["url"] = f"https://acme.example/{chance.randrange(4)}"
        if event in ("bounce", "dropped"):
            raw["reason"] = "Bounced Address" if event == "dropped" else f"550 5.1.1 <{raw['email']}> is unknown"
        group = None
        if event.startswith("group_"):
            group = chance.choice((GROUP, OTHER_GROUP))
            if event == "group_unsubscribe" and chance.random() < 0.1:
                group = None
            else:
                raw["asm_group_id"] = group
        what = chance.random()
        if what < 0.05:
            who = str(raw["email"])
            raw["email"] = chance.choice((str.upper, str.title, str))(who)  # the same address in any writing
        else:
            who = send_id
            raw |= {SEND_ID_ARG: send_id, "sg_message_id": f"m{send_id[:20]}.f-1"}
        if what > 0.99:
            raw["event"], proves, stops = chance.choice(("account_status_change", "teleported", "Bounce")), "", ""
        identity = (who, raw["event"], kind, raw["timestamp"], raw.get("url"), group)
        if identity in known:
            continue
        known.add(identity)
        model.learn(raw, proves, stops)
        made.append((int(str(raw["timestamp"])), orjson.dumps(raw)))
    made.sort()
    in_order = [text for _, text in made]
    again = chance.sample(in_order, count // 5)
    posted = [*in_order, *(_retold(text, chance) for text in again)]
    chance.shuffle(posted)
    return Storm(
        bodies=_cut(posted, chance, most_bytes),
        in_order=[_body(in_order[start : start + 1_000]) for start in range(0, count, 1_000)],
        events=len(posted),
        distinct=count,
        statuses=model.statuses,
        suppressed=model.suppressed,
    )


def _retold(text: bytes, chance: random.Random) -> bytes:
    """The same news once more: as it was, or under another id of the service's own."""
    return text.replace(b'"sg_event_id":"', b'"sg_event_id":"again-') if chance.random() < 0.3 else text


def _cut(posted: Sequence[bytes], chance: random.Random, most_bytes: int) -> list[bytes]:
    bodies, start = [], 0
    while start < len(posted):
        most, size, end = int(math.exp(chance.uniform(math.log(400), math.log(most_bytes)))), 0, start
        while end < len(posted) and (end == start or size + len(posted[end]) + 3 < most):
            size += len(posted[end]) + 3
            end += 1
        bodies.append(_body(posted[start:end]))
        start = end
    return bodies


def _body(events: Sequence[bytes]) -> bytes:
    return b"[" + b",\r\n".join(events) + b"]\r\n"


def signed(body: bytes, stamp: str = STAMP) -> dict[str, str]:
    """The headers that make a body genuine."""
    signature = PRIVATE.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {SIGNATURE_HEADER: base64.b64encode(signature).decode(), TIMESTAMP_HEADER: stamp}


# --- the ledger it meets ----------------------------------------------------------------------------------


def prepare(url: str, count: int) -> None:
    """Make a ledger with `count` mails: most accepted, some of an unknown fate, some held."""
    ledger = open_ledger(url, KEYS)
    fill(ledger, names(count))
    kind = sends.c.send_key % 10
    status = sa.case((kind == 0, "unknown"), (kind == 1, "held"), else_="accepted")
    accepted_at = sa.case((kind > 1, sa.literal(NOW, sends.c.accepted_at.type)))
    with ledger._store.write() as connection:
        connection.execute(sa.update(sends).values(attempt=1, status=status, accepted_at=accepted_at))
    ledger.close()


def contacts_of(ledger: SqlLedger) -> dict[str, str]:
    """Return the contact of each send."""
    with ledger._store.read() as connection:
        return dict(connection.execute(sa.select(sends.c.send_id, sends.c.contact_id)).all())


@contextmanager
def postgres_ledger(server: str, count: int) -> Iterator[str]:
    """A prepared ledger on PostgreSQL, copied from a template that is made once per server and size."""
    template, name = f"storm_{count}", f"storm_{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        if admin.execute("select 1 from pg_database where datname = %s", [template]).fetchone() is None:
            admin.execute(f"create database {template}")
            prepare(f"{server}/{template}", count)
        admin.execute(f"create database {name} template {template}")
        try:
            yield f"{server}/{name}"
        finally:
            admin.execute(f"drop database {name} with (force)")


def digest(ledger: SqlLedger) -> str:
    """Return a hash over what the storm has made of sends, events, suppressions and people.

    When something was recorded and in which body it came depend on the order, and say nothing about the world.
    """
    tables = {
        sends: ("send_id", "status", "message_id", "accepted_at", "delivered_at"),
        delivery_events: (
            "event_key", "send_id", "sg_message_id", "address_hash", "event", "kind", "reason", "topic_group",
            "occurred_at",
        ),
        suppressions: ("address_hash", "topic", "reason", "source", "topic_group", "suppressed_at", "lifted_at"),
        people: ("contact_id", "address_hash", "address", "erased_at"),
    }  # fmt: skip
    found = hashlib.sha256()
    with ledger._store.read() as connection:
        for table, columns in tables.items():
            query = sa.select(*(table.c[name] for name in columns))
            for line in sorted(repr(tuple(row)) for row in connection.execute(query)):
                found.update(line.encode())
    return found.hexdigest()


def differences(ledger: SqlLedger, storm: Storm) -> list[str]:
    """Compare the ledger with the storm's own small model: each event once, each status, each suppression."""
    with ledger._store.read() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(delivery_events))
        statuses = dict(connection.execute(sa.select(sends.c.send_id, sends.c.status)).all())
        row = suppressions.c
        query = sa.select(row.address_hash, row.topic, row.reason, row.suppressed_at, row.lifted_at)
        suppressed = {
            (address, topic, reason): tuple(0 if at is None else int(at.timestamp()) for at in times)
            for address, topic, reason, *times in connection.execute(query)
        }
    found = [] if count == storm.distinct else [f"{count} events are stored of {storm.distinct}"]
    found += [
        f"a send is {statuses.get(send_id)}, not {status}"
        for send_id, status in storm.statuses.items()
        if statuses.get(send_id) != status
    ]
    found += [
        f"a suppression is {suppressed.get(key)}, not {storm.suppressed.get(key)}: {key[1:]}"
        for key in sorted({*suppressed, *storm.suppressed})
        if suppressed.get(key) != storm.suppressed.get(key)
    ]
    return found
