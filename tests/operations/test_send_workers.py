from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import httpx
import pytest

from tests.operations.planned_mails import COUNT, NOW, ScriptedMailer, World, fails, fine
from uptake.adapters.sendgrid import SEND_ID_ARG, SendGridMailer
from uptake.domain.eligibility import Reason
from uptake.errors import AcceptanceUnknown, MailerUnavailable, MessageRefused
from uptake.testing import FixedClock


class Killed(BaseException):
    """kill -9, as far as one process can play it."""


def test_a_worker_killed_after_the_intent_leaves_unknown_behind(world):
    with pytest.raises(Killed):
        world.send(ScriptedMailer(fine, fails(Killed())))
    assert world.statuses() == {"accepted": 1, "sending": 10, "planned": 14}
    other = ScriptedMailer()
    assert world.send(other, owner="w2").accepted == 14  # what may have left is not touched
    world.clock.moment = NOW + timedelta(minutes=3)
    result = world.send(other, owner="w2")
    assert (result.expired, result.requests) == (10, 0)
    assert world.statuses() == {"accepted": 15, "unknown": 10}


def test_a_worker_killed_before_the_intent_loses_nothing(world):
    mailer = ScriptedMailer()
    mailer.after_render = lambda: (_ for _ in ()).throw(Killed())
    with pytest.raises(Killed):
        world.send(mailer)
    assert world.statuses() == {"claimed": 1, "planned": COUNT - 1}
    world.clock.moment = NOW + timedelta(minutes=6)
    assert world.send(ScriptedMailer(), owner="w2").accepted == COUNT


def test_a_worker_that_slept_past_its_lease_sends_nothing_of_it(world):
    mailer = ScriptedMailer()
    awake = []

    def sleep() -> None:
        if not awake:
            awake.append(True)
            world.clock.moment = NOW + timedelta(minutes=6)
            assert world.send(ScriptedMailer(), owner="w2").accepted == COUNT

    mailer.after_render = sleep
    world.send(mailer)
    assert mailer.requests == []
    assert world.statuses() == {"accepted": COUNT}


def test_a_worker_that_slept_after_its_intent_does_not_send_late(world):
    class Sleepy(FixedClock):
        calls = 0

        def now(self) -> datetime:
            if world.statuses()["sending"]:
                self.moment = NOW + timedelta(minutes=10)
            return self.moment

    world.clock = Sleepy(NOW)
    mailer = ScriptedMailer()
    result = world.send(mailer)
    assert mailer.requests == []
    assert "halted" in result.stopped
    assert world.statuses() == {"planned": COUNT}, "it knows that nothing has left"


def test_a_worker_that_loses_every_lease_stops_after_a_dozen(world):
    mailer = ScriptedMailer()

    def sleep() -> None:
        world.clock.moment += timedelta(minutes=5)

    mailer.after_render = sleep
    result = world.send(mailer)
    assert result.stopped == "the same messages come back again and again"
    assert (result.put_back, world.clock.moment) == (13, NOW + 13 * timedelta(minutes=5))
    assert (mailer.requests, world.rows()[0]["attempt"]) == ([], 0)


def test_what_cannot_be_noted_outside_of_the_ledger_does_not_leave(world):
    class FullDisk:
        def note(self, send_id: str, intended_at: datetime) -> None:
            raise OSError(28, "No space left on device")

    mailer = ScriptedMailer()
    result = world.send(mailer, witness=FullDisk())
    assert result.stopped == "the last intent cannot be noted: No space left on device"
    assert (mailer.requests, result.put_back, world.statuses()) == ([], 1, {"planned": COUNT})


def test_a_late_refusal_does_not_withhold_what_another_worker_holds(world):
    mailer = ScriptedMailer()
    mailer.refuse = {"c000": Reason.VALUE_MISSING}

    def sleep() -> None:
        mailer.after_render = lambda: None
        world.clock.moment += timedelta(minutes=5)
        assert world.ledger.sends.claim(owner="w2", limit=1, now=world.clock.moment, lease=timedelta(minutes=5))

    mailer.after_render = sleep
    world.send(mailer)
    assert (world.rows()[0]["status"], world.rows()[0]["owner"]) == ("claimed", "w2")
    assert world.statuses()["accepted"] == COUNT - 1


@pytest.mark.parametrize(
    "error",
    [
        MailerUnavailable("no connection after all"),
        AcceptanceUnknown("no answer after all"),
        MessageRefused("bad"),
        MessageRefused("no valid address", recipient=0),
    ],
)
def test_a_late_failure_does_not_touch_what_another_worker_holds(world, error):
    def sleep_then_fail(send_ids: tuple[str, ...]) -> str | None:
        world.clock.moment = NOW + timedelta(minutes=5)
        world.ledger.sends.expire(now=world.clock.moment)
        world.ledger.sends.release(send_ids, by="Grace", reason="log shows nothing", now=world.clock.moment)
        taken = world.ledger.sends.claim(owner="w2", limit=1, now=world.clock.moment, lease=timedelta(minutes=5))
        assert [send.send_id for send in taken] == list(send_ids)
        world.ledger.sends.intend(
            send_ids, owner="w2", body_hash="b", now=world.clock.moment, deadline=NOW + timedelta(hours=1)
        )
        raise error

    world.send(ScriptedMailer(sleep_then_fail))
    first = world.rows()[0]
    assert (first["status"], first["owner"]) == ("sending", "w2")


# --- against a service that fails in every way --------------------------------------------------------------


class FaultyService:
    """SendGrid with one fault a request: what it took is the truth."""

    def __init__(self, faults: Sequence[str], bad: frozenset[int]) -> None:
        self._faults = list(faults)
        self._bad = {f"c{number:03}@customer.example" for number in bad}
        self.accepted: Counter[str] = Counter()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        fault = self._faults.pop(0) if self._faults else "fine"
        people = json.loads(request.content)["personalizations"]
        if fault in ("connect", "pool"):
            raise {"connect": httpx.ConnectError, "pool": httpx.PoolTimeout}[fault]("x")
        if fault == "lost before":
            raise httpx.ReadTimeout("x")
        if fault.isdecimal():
            return httpx.Response(int(fault), headers={"Retry-After": "1"})
        for position, person in enumerate(people):
            if person["to"][0]["email"] in self._bad:
                named = {"message": "bad", "field": f"personalizations.{position}.to"}
                return httpx.Response(400, json={"errors": [named] if position % 2 else [{"message": "Bad Request"}]})
        for person in people:
            self.accepted[person["custom_args"][SEND_ID_ARG]] += 1
        if fault == "lost after":
            raise httpx.RemoteProtocolError("x")
        return httpx.Response(500) if fault == "500 after" else httpx.Response(202, headers={"X-Message-Id": "m"})


FAULTS = ["fine", "connect", "pool", "lost before", "lost after", "500 after", "429", "400", "401", "403", "413"]
FAULTS += ["500", "503", "302", "201"]


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_sent_twice_and_nothing_is_lost_whatever_fails(planned, tmp_path, seed):
    chance = random.Random(seed)
    faults = [*FAULTS, *["fine"] * 5]  # every kind, in another order each time
    chance.shuffle(faults)
    bad = frozenset(chance.sample(range(COUNT), seed % 4))
    world = World(planned, tmp_path)
    service = FaultyService(faults, bad)
    mailer = SendGridMailer(
        "https://api.sendgrid.com", "SG.x", transport=httpx.MockTransport(service), clock=world.clock
    )
    for round_ in range(60):
        result = world.send(mailer, owner=f"w{round_}")
        if result.stopped is None and not world.statuses()["planned"]:
            break
        world.clock.moment += timedelta(minutes=2)
        world.lock("resume")
        world.lock("resume", "playbook", "activate")
    rows = world.rows()
    world.ledger.close()
    assert max(service.accepted.values(), default=0) <= 1
    for row in rows:
        was_taken = service.accepted[row["send_id"]] == 1
        assert row["status"] in ("accepted", "unknown", "failed"), dict(row)
        if row["status"] == "accepted":
            assert was_taken
        if row["status"] == "failed":
            assert not was_taken
            assert row["detail"]
