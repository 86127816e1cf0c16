from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from tests.crash.outbox import KEYS, address_of
from tests.operations.planned_mails import NOW, World
from uptake.adapters.ledger.delivery import SqlDelivery
from uptake.adapters.sendgrid import SEND_ID_ARG
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.domain.ids import address_hash
from uptake.errors import LogIncomplete, MailerUnavailable, UptakeError
from uptake.operations.reconcile import ReconcileResult, guard, reconcile
from uptake.ports import LoggedMail

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Log:
    """What the mail service has taken, and what it was asked."""

    def __init__(self) -> None:
        self.mails: list[tuple[LoggedMail, str, str | None]] = []  # with address and send id
        self.asked: list[tuple[object, ...]] = []
        self.looked_up: list[list[str]] = []
        self.error: Exception | None = None

    def took(self, send_id: str | None, contact_id: str, at: datetime, message_id: str) -> None:
        hashed = address_hash(KEYS.pseudonym, address_of(contact_id))
        mail = LoggedMail(message_id=message_id, address_hash=hashed, logged_at=at)
        self.mails.append((mail, address_of(contact_id), send_id))

    def between(self, since: datetime, until: datetime) -> list[LoggedMail]:
        self._hear(since, until)
        return [mail for mail, _, _ in self.mails if since <= mail.logged_at < until]

    def to_address(self, address: str, since: datetime) -> list[LoggedMail]:
        self._hear(address, since)
        return [mail for mail, to, _ in self.mails if to == address and since <= mail.logged_at]

    def evidence(self, mails: Sequence[LoggedMail]) -> bytes:
        self.looked_up.append([mail.message_id for mail in mails])
        return json.dumps(
            [
                {
                    "event": "processed", "email": address, "timestamp": int(mail.logged_at.timestamp()),
                    SEND_ID_ARG: send_id, "sg_message_id": mail.message_id,
                }
                for mail, address, send_id in self.mails
                if mail in mails and send_id is not None
            ]
        ).encode()  # fmt: skip

    def _hear(self, *asked: object) -> None:
        self.asked.append(asked)
        if self.error is not None:
            raise self.error


@pytest.fixture
def log() -> Log:
    return Log()


def ask(world: World, log: Log, passed: timedelta = timedelta(), **options: bool) -> ReconcileResult:
    world.clock.moment = NOW + passed
    return reconcile(world.ledger, log, SendGridEvents(KEYS.pseudonym), clock=world.clock, **options)


def lose(world: World, count: int = 1) -> list[str]:
    """Let so many requests leave without an answer."""
    sends = world.ledger.sends
    send_ids = [one.send_id for one in sends.claim(owner="w", limit=count, now=NOW, lease=HOUR)]
    assert sends.intend(send_ids, owner="w", body_hash="b", now=NOW, deadline=NOW + MINUTE) == {}
    sends.unknown(send_ids, detail="time-out", now=NOW)
    return send_ids


def lock(world: World, since: datetime, at: datetime = NOW) -> None:
    control = world.ledger.releases.control
    control("forgotten", since.isoformat(), "stop", reason="restored", by="ledger", now=at)


# --- what nobody knows the fate of ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passed", "asked", "held"),
    [(30 * MINUTE - SECOND, 0, 0), (30 * MINUTE, 1, 0), (DAY, 1, 0), (DAY + SECOND, 1, 1)],
)
def test_what_is_unknown_is_looked_up_after_half_an_hour_and_held_after_a_day(world, log, passed, asked, held):
    lose(world)
    result = ask(world, log, passed)
    assert (result.asked, result.found, result.held, result.trouble) == (asked, 0, held, None)
    assert log.asked == [(address_of("c000"), NOW - 5 * MINUTE)] * asked
    assert world.statuses()["held"] == held


def test_what_is_held_is_looked_up_on_demand_alone(world, log):
    (send_id,) = lose(world)
    ask(world, log, 2 * DAY)
    log.took(send_id, "c000", NOW, "m1.filter-1")
    assert ask(world, log, 2 * DAY).asked == 0
    result = ask(world, log, 2 * DAY, include_held=True)
    assert (result.asked, result.found, world.statuses()["accepted"]) == (1, 1, 1)


def test_of_what_the_log_has_only_the_unheard_of_is_looked_up_and_only_ours_counts(world, log, monkeypatch):
    monkeypatch.setattr("uptake.operations.reconcile._CHUNK", 2)
    first, *others = lose(world, 5)
    world.ledger.sends.accepted([first], message_id="m0", now=NOW)
    log.took(first, "c000", NOW, "m0.filter-1")
    for number, send_id in enumerate(others[:3], start=1):
        log.took(send_id, f"c00{number}", NOW + number * SECOND, f"m{number}.filter-1")
    log.took(None, "c004", NOW, "somebody-elses")
    log.took(others[0], "c001", NOW - HOUR, "long-before")
    log.took(first, "c001", NOW, "heard-of.filter-1")
    world.ledger.delivery.store(log.evidence([log.mails[-1][0]]), now=NOW)
    log.looked_up.clear()
    result = ask(world, log, HOUR)
    assert log.looked_up == [["m1.filter-1", "m2.filter-1"], ["m3.filter-1", "somebody-elses"]]
    assert (result.asked, result.found) == (4, 3)
    assert world.statuses() == {"accepted": 4, "unknown": 1, "planned": 20}
    again = ask(world, log, HOUR)
    assert (again.asked, again.found, log.looked_up[2:]) == (1, 0, [["somebody-elses"]])


def test_what_is_known_of_others_is_not_read_for_a_few(world, log, monkeypatch):
    first, second, unknown = lose(world, 3)
    world.ledger.sends.accepted([first, second], message_id="m0", now=NOW)
    log.took(second, "c002", NOW, "m0.filter-1")
    world.ledger.delivery.store(log.evidence([log.mails[0][0]]), now=NOW)
    log.took(unknown, "c002", NOW, "m1.filter-1")
    rows, read = {}, world.ledger.read
    monkeypatch.setattr(world.ledger, "read", lambda name, **params: rows.setdefault(name, read(name, **params)))
    assert ask(world, log, HOUR).found == 1
    known = [(row["message_id"], row["address_hash"]) for name in rows if "known_mails" in name for row in rows[name]]
    assert known == [("m0.filter-1", address_hash(KEYS.pseudonym, address_of("c002")))]


def test_who_has_moved_is_looked_for_by_hash_among_all_of_that_time(world, log):
    (send_id,) = lose(world)
    with world.ledger._store.write() as connection:
        connection.exec_driver_sql("update people set address = null, address_hash = null where contact_id = 'c000'")
    log.took(send_id, "c000", NOW + MINUTE, "m0.filter-1")
    log.took(None, "c001", NOW + MINUTE, "m1.filter-1")
    result = ask(world, log, HOUR)
    assert log.asked == [(NOW - 5 * MINUTE, NOW + 30 * MINUTE)]
    assert (log.looked_up, result.found) == ([["m0.filter-1"]], 1)


def test_who_has_moved_is_looked_for_until_now_before_and_after_it_is_held(world, log):
    first, second = lose(world, 2)
    with world.ledger._store.write() as connection:
        connection.exec_driver_sql("update people set address = null, address_hash = null")
    log.took(first, "c000", NOW + HOUR, "m0.filter-1")  # its machine had slept in the middle of the request
    assert ask(world, log, 2 * HOUR).found == 0
    result = ask(world, log, DAY + SECOND)
    assert (result.found, result.held) == (1, 1)
    log.took(second, "c001", NOW + DAY + HOUR, "m1.filter-1")
    assert ask(world, log, 2 * DAY, include_held=True).found == 1


def test_of_one_request_to_many_who_have_moved_the_time_around_is_read_once(world, log):
    lose(world, 5)
    with world.ledger._store.write() as connection:
        connection.exec_driver_sql("update people set address = null, address_hash = null")
    assert ask(world, log, HOUR).asked == 5
    assert log.asked == [(NOW - 5 * MINUTE, NOW + 30 * MINUTE)]


def test_a_moment_of_which_the_log_cannot_list_everything_keeps_no_other_message_waiting(world, log, monkeypatch):
    _, other = lose(world, 2)
    with world.ledger._store.write() as connection:
        connection.exec_driver_sql("update people set address = null where contact_id = 'c000'")
    log.took(other, "c001", NOW, "m1.filter-1")

    def too_many(since: datetime, until: datetime) -> list[LoggedMail]:
        raise LogIncomplete("1000 messages within a second")

    monkeypatch.setattr(log, "between", too_many)
    result = ask(world, log, HOUR)
    assert (result.asked, result.found, result.trouble) == (2, 1, None)
    assert ask(world, log, DAY + SECOND).held == 1, "without evidence a person decides"


def test_what_the_webhook_has_told_is_not_asked_for(world, log):
    (send_id,) = lose(world)
    log.took(send_id, "c000", NOW, "m0.filter-1")
    world.ledger.delivery.store(log.evidence([log.mails[0][0]]), now=NOW)
    assert ask(world, log, HOUR).asked == 0
    assert world.statuses()["accepted"] == 1


def test_a_log_that_cannot_be_asked_is_said_and_holding_goes_on(world, log):
    lose(world)
    log.error = MailerUnavailable("no connection")
    result = ask(world, log, DAY + SECOND)
    assert (result.trouble, result.held, result.locked) == ("no connection", 1, None)


# --- what the ledger forgot -------------------------------------------------------------------------------------------


def test_what_was_forgotten_is_remembered_from_five_minutes_before_on(world, log):
    send_ids = [row["send_id"] for row in world.rows()]
    lock(world, NOW - HOUR)
    for number, at in enumerate((-HOUR - 6 * MINUTE, -HOUR - 5 * MINUTE, HOUR)):
        log.took(send_ids[number], f"c00{number}", NOW + at, f"m{number}.filter-1")
    result = ask(world, log, HOUR)
    assert log.asked == [(NOW - HOUR - 5 * MINUTE, NOW + HOUR + 5 * MINUTE)]
    assert result.remembered == 2
    assert [row["status"] for row in world.rows()[:4]] == ["planned", "accepted", "accepted", "planned"]
    assert "more was forgotten" in result.locked, "a day before the first of them was never asked for"


@pytest.mark.parametrize(
    ("since", "passed", "why"),
    [
        (timedelta(), HOUR, None),
        (timedelta(), HOUR - SECOND, "run it again after 2026-03-03 10:00 UTC"),
        (HOUR - 30 * DAY, HOUR, None),
        (HOUR - 30 * DAY - SECOND, HOUR, "the log keeps 30 days"),
    ],
)
def test_a_lock_opens_once_the_log_must_have_everything(world, log, since, passed, why):
    lock(world, NOW + since)
    locked = ask(world, log, passed).locked
    assert locked is None if why is None else why in locked
    assert (world.ledger.releases.controls().forgotten is None) == (why is None)


def test_what_turns_out_forgotten_while_the_log_is_asked_keeps_the_lock(world, log):
    lock(world, NOW - HOUR, NOW - DAY)
    known = log.between
    log.between = lambda *span: (lock(world, NOW - 2 * HOUR), known(*span))[1]
    assert "more was forgotten" in ask(world, log, 2 * HOUR).locked
    log.between = known
    assert ask(world, log, 2 * HOUR).locked is None
    assert log.asked[-1][0] == NOW - 2 * HOUR - 5 * MINUTE


def test_evidence_that_cannot_be_folded_opens_no_lock(world, log, monkeypatch):
    lock(world, NOW - HOUR)
    log.took(world.rows()[0]["send_id"], "c000", NOW, "m0.filter-1")
    monkeypatch.setattr(SqlDelivery, "fold_all", lambda *args, **options: 1 / 0)
    with pytest.raises(UptakeError, match="1 stored batches cannot be folded"):
        ask(world, log, HOUR)
    assert world.ledger.releases.controls().forgotten is not None


# --- hints that a ledger was restored ---------------------------------------------------------------------------------


class Witness:
    """Remembers one intent."""

    def __init__(self, send_id: str | None = None, sending_at: datetime = NOW) -> None:
        self._newest = None if send_id is None else (send_id, sending_at)

    def newest(self) -> tuple[str, datetime] | None:
        return self._newest


def since(world: World, witness: Witness, now: datetime) -> datetime | None:
    """Return from when on the ledger is said to have forgotten."""
    is_locked = guard(world.ledger, witness, now=now) is not None
    forgotten = world.ledger.releases.controls().forgotten
    assert is_locked == (forgotten is not None)
    return forgotten and forgotten.since


@pytest.mark.parametrize(("passed", "expected"), [(2 * HOUR, None), (2 * HOUR + SECOND, NOW)])
def test_no_tick_for_more_than_two_intervals_is_a_hint(world, passed, expected):
    assert since(world, Witness(), NOW + passed) == expected


def test_what_was_settled_is_no_hint_again(world):
    world.clock.moment = NOW + HOUR
    world.lock("resume", "forgotten", "x")
    assert since(world, Witness("f" * 32, NOW + HOUR), NOW + 3 * HOUR) is None
    assert since(world, Witness("f" * 32, NOW + HOUR + SECOND), NOW + 2 * HOUR) == NOW, "sent after that, and unknown"


@pytest.mark.parametrize(
    ("place", "noted_at", "expected"),
    [
        (0, NOW, None),  # it left, and the ledger knows
        (0, NOW + SECOND, NOW),  # it left again, says the witness
        (1, NOW, NOW),  # only planned here
        (None, NOW, NOW),  # unheard of
    ],
)
def test_an_intent_that_the_ledger_lacks_is_a_hint(world, place, noted_at, expected):
    lose(world)
    send_id = "f" * 32 if place is None else world.rows()[place]["send_id"]
    assert since(world, Witness(send_id, noted_at), NOW + MINUTE) == expected


def test_what_is_known_of_the_future_tells_nothing_of_when_it_began(world):
    with world.ledger._store.write() as connection:
        connection.exec_driver_sql("update runs set heartbeat_at = '2026-03-04 09:00:00.000000'")
    assert since(world, Witness("f" * 32), NOW + 5 * MINUTE) == NOW + 5 * MINUTE - 30 * DAY


def test_both_hints_count_from_the_earlier_one_and_a_lock_that_stands_is_left_alone(world):
    with world.ledger._store.write() as connection:
        connection.exec_driver_sql("update sends set sending_at = '2026-03-03 10:00:00.000000' where send_key = 1")
    later = NOW + 4 * HOUR
    assert since(world, Witness("f" * 32, later), later) == NOW
    assert guard(world.ledger, Witness("e" * 32, later), now=later) is None


def test_a_ledger_that_knows_of_nothing_may_have_forgotten_all_that_the_log_keeps(world):
    with world.ledger._store.write() as connection:
        connection.exec_driver_sql("update runs set kind = 'refresh'")
    assert since(world, Witness(), NOW + 30 * DAY) is None
    assert since(world, Witness("f" * 32), NOW) == NOW - 30 * DAY
