"""What must hold in a simulated world: checked at each request, and at the end on accept log and ledger."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from tests.crash.outbox import KEYS, NOW, RELEASE
from tests.crash.small_world import ARMS, dump
from uptake.adapters.ledger.delivery import SqlDelivery
from uptake.adapters.ledger.sends import SqlSends
from uptake.domain.ids import address_hash
from uptake.domain.sends import TAKEN, DeliveryEvent
from uptake.ports import ReadBatch

if TYPE_CHECKING:
    from tests.crash.simulation import World


@contextmanager
def watches(world: World) -> Iterator[None]:
    """Note with which transaction each intent was committed, and each stop that the mail service told of."""
    intend: Callable[..., Mapping[str, Any]] = SqlSends.intend
    fold: Callable[..., list[int]] = SqlDelivery.fold_all

    def intending(sends: SqlSends, send_ids: list[str], **options: Any) -> Mapping[str, Any]:
        failures = intend(sends, send_ids, **options)
        if not failures:
            world.intents.update(dict.fromkeys(send_ids, world.commit_of(world.scheduler.current)))
        return failures

    def folding(delivery: SqlDelivery, read: list[ReadBatch], **options: Any) -> list[int]:
        new = fold(delivery, read, **options)
        for event in (event for one in read for event in one.events):
            if _stops(event):
                hashed = address_hash(KEYS.pseudonym, event.address)
                world.stopped("address", hashed, event.event, world.scheduler.current)
        return new

    with mock.patch.object(SqlSends, "intend", intending), mock.patch.object(SqlDelivery, "fold_all", folding):
        yield


def request_came(world: World, body: bytes, lines: list[dict[str, Any]]) -> None:
    """A whole request is at the service: who is in it may be written to, and the ledger knows."""
    hashed = hashlib.sha256(body).hexdigest()
    for line in lines:
        send_id, commit = line["send_id"], world.intents.get(line["send_id"], 0)
        row = world.raw.execute(
            "select contact_id, status, attempt, body_hash, arm, address_hash from sends where send_id = ?",
            [send_id],
        ).fetchone()
        if row is None or not commit:
            world.losses.append(f"{send_id} left without an intent")
            continue
        contact_id, status, attempt, body_hash, arm, intended_for = row
        reached = address_hash(KEYS.pseudonym, line["to"])
        if not world.released[send_id]:  # what a person sends again may overtake what a halted worker still holds
            if attempt < 1 or status in ("planned", "claimed", "withheld"):
                world.losses.append(f"{send_id} left while it was {status}, attempt {attempt}")
            if (body_hash, intended_for) != (hashed, reached):
                world.losses.append(f"{send_id}: another body or address than was intended")
        if arm != "treatment" or ARMS[contact_id] != "treatment":
            world.losses.append(f"{send_id} left for somebody in {arm}")
        broken = world.stops.at(
            commit,
            ("address", reached),
            ("contact", contact_id),
            ("account", contact_id),
            ("all", "*"),
            ("playbook", RELEASE.name),
            ("sending", ""),
        )
        world.losses += [f"{send_id} left after: {what}" for what in broken]


def judge(world: World) -> None:
    log = Counter(line["send_id"] for line in world.service.accepted.all)
    rows = world.raw.execute("select send_id, status, reason, detail, contact_id from sends").fetchall()
    known = {row[0] for row in rows}
    lost = [f"{send_id} was accepted and is not in the ledger" for send_id in set(log) - known]
    listed = {row["send_id"] for row in world.ledger.read("stuck_sends")}
    for send_id, status, reason, detail, contact_id in rows:
        if status in TAKEN and not log[send_id]:
            lost.append(f"{send_id} is {status} and was never accepted")
        elif log[send_id] and status not in TAKEN:
            lost.append(f"{send_id} was accepted and is {status}")
        elif status in ("planned", "claimed", "sending", "unknown"):
            lost.append(f"{send_id} is left {status}")
        elif status == "held" and send_id not in listed:
            lost.append(f"{send_id} is held and not listed")
        elif (status == "withheld" and not reason) or (status == "failed" and not detail):
            lost.append(f"{send_id} is {status} without a reason")
        if ARMS[contact_id] != "treatment":
            lost.append(f"{send_id} was planned for {ARMS[contact_id]}")
    fences = [fence for (fence,) in world.raw.execute("select fence from runs order by run_id")]
    if fences != sorted(set(fences)):
        lost.append(f"fences went {fences}")
    arms = dict(world.raw.execute("select account_id, arm from assignments").fetchall())
    if arms != ARMS:
        lost.append(f"arms became {arms}")
    keys = set()
    for (body,) in world.raw.execute("select body from webhook_batches"):
        keys |= {event.event_key for event in world.events.read(body, received_at=NOW)[0]}
    stored = {key for (key,) in world.raw.execute("select event_key from delivery_events")}
    is_whole = not any(stop.what == "erased" for stops in world.stops.known.values() for stop in stops)
    if is_whole and keys != stored:  # the bodies of the forgotten are rewritten
        lost.append(f"{len(keys)} events were acknowledged, {len(stored)} are stored")
    for pragma, expected in (("quick_check", [("ok",)]), ("foreign_key_check", [])):
        if (found := world.raw.execute(f"pragma {pragma}").fetchall()) != expected:
            lost.append(f"{pragma}: {found}")
    if b"@customer" in dump(world.raw, without=("people", "webhook_batches")):
        lost.append("an address stands outside of people")
    world.losses += lost


def _stops(event: DeliveryEvent) -> bool:
    """Whether the mail service says that this address gets nothing more of this topic."""
    match event.event.value:
        case "bounce":
            return event.kind != "blocked"
        case "dropped":
            return event.reason == "Bounced Address"
        case name:
            return name in ("spamreport", "unsubscribe", "group_unsubscribe")
