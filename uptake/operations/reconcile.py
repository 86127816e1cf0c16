"""Asks the mail service's own log: what became of messages nobody knows the fate of, and what this ledger forgot.

A ledger that was restored from a backup does not know its latest sends, and would make them again. So whatever hints
at it (`guard`, or an event for a send nobody made) locks sending until everything since then was looked up here.
What the log shows is stored and folded as if the webhook had told it: there is one way for evidence to come in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from uptake import failpoints
from uptake.errors import LogIncomplete, MailerError, UptakeError
from uptake.operations.record_delivery import record_delivery
from uptake.operations.tick import KIND
from uptake.ports import ENGINE, Clock, DeliveryEvents, Forgotten, Ledger, LoggedMail, MailLog, Witness

_log = logging.getLogger(__name__)

TICK_INTERVAL = timedelta(hours=1)
SETTLE = timedelta(hours=1)  # how long the log may lag behind: sooner, what it lacks proves nothing
ASKED_AFTER = timedelta(minutes=30)  # an unknown message is first looked up then; the webhook usually is quicker
HOLD_AFTER = timedelta(hours=24)  # the webhook gives up then, too
LOG_KEEPS = timedelta(days=30)
MARGIN = timedelta(minutes=5)  # between our clock and the service's

_CHUNK = 100
_BY_HAND = "who knows the ledger to be whole opens it with `uptake reconcile --trust-ledger --by NAME --reason WHY`"


@dataclass(kw_only=True)
class ReconcileResult:
    """What the log told, in messages."""

    asked: int = 0  # unknown ones (and held ones, when asked for) that were looked up
    found: int = 0  # ... that the service had taken
    remembered: int = 0  # taken, and forgotten by this ledger
    held: int = 0  # without evidence for a day: they wait for a person now
    locked: str | None = None  # why sending stays locked
    trouble: str | None = None  # why the log could not be asked


def guard(ledger: Ledger, witness: Witness, *, now: datetime, interval: timedelta = TICK_INTERVAL) -> str | None:
    """Lock sending when this ledger may be older than the world; return why, if it was locked just now.

    Two hints: no tick for more than two intervals, and an intent that this home remembers and the ledger does not
    (or a memory that is damaged).
    Call it before a tick begins, which is a heartbeat itself.
    """
    if ledger.releases.controls().forgotten is not None:
        return None
    since, reason = None, ""
    settled = ledger.read("last_reconciled")[0]["reconciled_at"]  # whatever was forgotten until then is settled
    last = max(filter(None, (ledger.runs.last_heartbeat(KIND), settled)), default=None)
    if last is not None and now - last > 2 * interval:
        since = last
        reason = (
            f"no tick since {last:%Y-%m-%d %H:%M} UTC, over twice UPTAKE_TICK_INTERVAL ({interval}): "
            "this may be an old copy of the ledger"
        )
    newest = witness.newest()
    if newest is not None and (settled is None or newest[1] > settled) and _lacks(ledger, *newest):
        # What the ledger knows of last: whatever came later was forgotten. A clock that ran ahead tells of no moment.
        known = ledger.read("last_known")[0]["known_at"]
        known = known if known is not None and known <= now + MARGIN else now - LOG_KEEPS
        since = known if since is None else min(since, known)
        reason = (
            f"a message was sent at {newest[1]:%Y-%m-%d %H:%M} UTC that the ledger lacks: an older copy was restored"
            if newest[0]
            else "last_intent.json is damaged, nobody knows what was sent last: this may be an old copy of the ledger"
        )
    if since is None:
        return None
    ledger.releases.control("forgotten", since.isoformat(), "stop", reason=reason, by=ENGINE, now=now)
    _log.error("sending is locked until `uptake reconcile` has run: %s", reason)
    return reason


def reconcile(
    ledger: Ledger,
    log: MailLog,
    events: DeliveryEvents,
    *,
    clock: Clock,
    settle: timedelta = SETTLE,
    include_held: bool = False,
) -> ReconcileResult:
    """Look up what is unknown, hold what has had no evidence for a day, and open the lock once all was asked.

    Nothing is ever sent again from here. A log that cannot be asked is said in the result; holding goes on.

    Args:
        ledger: Operational truth.
        log: The mail service's log.
        events: Reads what the log tells.
        clock: The time.
        settle: How long a lock has to stand before the log's silence counts.
        include_held: Look up messages that are held already, too.
    """
    result = ReconcileResult()
    record_delivery(ledger, events, clock=clock)
    forgotten = ledger.releases.controls().forgotten
    learn = _Learner(ledger, log, events, clock)
    try:
        if forgotten is not None:
            result.remembered = learn.since(forgotten.since - MARGIN)
        _look_up(ledger, log, learn, result, clock.now(), include_held=include_held)
    except MailerError as error:
        result.trouble = str(error)
        _log.error("the mail service's log could not be asked: %s", error)
    now = clock.now()
    result.held = ledger.sends.hold(before=now - HOLD_AFTER, now=now)
    if forgotten is not None:
        result.locked = _stays_locked(forgotten, ledger.releases.controls().forgotten, result, now, settle)
        if result.locked is None:
            _open(ledger, forgotten, f"the log was asked about everything since {forgotten.since:%Y-%m-%d %H:%M} UTC",
                  by=ENGINE, now=now)  # fmt: skip
    return result


def trust(ledger: Ledger, *, by: str, reason: str, now: datetime) -> bool:
    """Open the lock without asking the log, because a person knows better; tell whether there was one."""
    forgotten = ledger.releases.controls().forgotten
    if forgotten is not None:
        _open(ledger, forgotten, reason, by=by, now=now)
    return forgotten is not None


def _open(ledger: Ledger, forgotten: Forgotten, reason: str, *, by: str, now: datetime) -> None:
    ledger.releases.control("forgotten", forgotten.since.isoformat(), "resume", reason=reason, by=by, now=now)


def _lacks(ledger: Ledger, send_id: str, sending_at: datetime) -> bool:
    rows = ledger.read("send", send_id=send_id)
    return not rows or rows[0]["sending_at"] is None or rows[0]["sending_at"] < sending_at


def _stays_locked(
    asked: Forgotten, current: Forgotten | None, result: ReconcileResult, now: datetime, settle: timedelta
) -> str | None:
    if result.trouble is not None:
        return f"the mail service's log could not be asked ({result.trouble}); {_BY_HAND}"
    if asked.since < now - LOG_KEEPS:
        return f"the log keeps {LOG_KEEPS.days} days, and the ledger may have forgotten more; {_BY_HAND}"
    if current is not None and current.since < asked.since:
        return "more was forgotten than was asked for; run it again"
    if now - asked.locked_at < settle:
        opens_at = asked.locked_at + settle
        return f"the log may lag behind: run it again after {opens_at:%Y-%m-%d %H:%M} UTC"
    return None


def _look_up(
    ledger: Ledger,
    log: MailLog,
    learn: _Learner,
    result: ReconcileResult,
    now: datetime,
    *,
    include_held: bool,
) -> None:
    wanted = [
        row
        for row in ledger.read("unresolved_sends")
        if row["sending_at"] is not None
        and (include_held if row["status"] == "held" else now - row["sending_at"] >= ASKED_AFTER)
    ]
    if not wanted:
        return
    since = min(row["sending_at"] for row in wanted) - MARGIN
    is_new = learn.unknown_since(since, among="known_mails_of_stuck")
    between = cache(log.between)  # whoever was in one request is looked for in the same span
    seen: dict[str, LoggedMail] = {}
    for row in wanted:
        result.asked += 1
        try:
            mails = _to_recipient(log, between, row, now)
        except LogIncomplete as error:  # it stays without evidence, and keeps no other waiting for theirs
            _log.warning("message %s cannot be looked up: %s", row["send_id"], error)
            continue
        seen |= {mail.message_id: mail for mail in mails if is_new(mail)}
    told = learn.from_mails(list(seen.values()))
    result.found = len(told & {row["send_id"] for row in wanted})


def _to_recipient(
    log: MailLog, between: Callable[[datetime, datetime], list[LoggedMail]], send: Mapping[str, Any], now: datetime
) -> Iterable[LoggedMail]:
    """Return what was taken for the address a message was made for.

    Who has moved or was forgotten since is known by the hash alone: then everything from around that time is read. With
    the last look before it is held, and when a person asks later, it is everything since: a request may have slept on
    its way for hours, and more often than once a day that would be too much to read.
    """
    since = send["sending_at"] - MARGIN
    if send["address"] is not None:
        return log.to_address(send["address"], since)
    is_last_look = now - send["sending_at"] > HOLD_AFTER
    around = between(since, now if is_last_look else send["sending_at"] + ASKED_AFTER)
    return [mail for mail in around if mail.address_hash == send["address_hash"]]


class _Learner:
    """Stores and folds what the log knows."""

    def __init__(self, ledger: Ledger, log: MailLog, events: DeliveryEvents, clock: Clock) -> None:
        self._ledger, self._log, self._events, self._clock = ledger, log, events, clock

    def since(self, since: datetime) -> int:
        """Learn of everything taken since; return how many of our messages the ledger did not know as taken."""
        is_new = self.unknown_since(since)
        return len(self.from_mails([mail for mail in self._log.between(since, self._until()) if is_new(mail)]))

    def unknown_since(self, since: datetime, *, among: str = "known_mails") -> Callable[[LoggedMail], bool]:
        """Return what tells mails the ledger does not know of; its own ids may lack what follows the first dot."""
        known = {
            (row["message_id"].split(".")[0], row["address_hash"])
            for row in self._ledger.read(among, since=since - LOG_KEEPS)
        }
        return lambda mail: (mail.message_id.split(".")[0], mail.address_hash) not in known

    def from_mails(self, mails: Sequence[LoggedMail]) -> set[str]:
        """Store and fold what the log knows of these; return the send ids it named. Safe to be cut anywhere."""
        told: set[str] = set()
        for some in _chunks(mails, _CHUNK):
            body = self._log.evidence(some)
            found, _ = self._events.read(body, received_at=self._clock.now())
            failpoints.at("reconcile: looked up")
            if found:
                self._ledger.delivery.store(body, now=self._clock.now())
                failpoints.at("reconcile: stored")
                stuck = record_delivery(self._ledger, self._events, clock=self._clock).stuck
                if stuck:
                    raise UptakeError(f"{stuck} stored batches cannot be folded; `uptake status` names them")
                told |= {event.send_id for event in found if event.send_id is not None}
        return told

    def _until(self) -> datetime:
        return (self._clock.now() + MARGIN).astimezone(UTC)


def _chunks(mails: Sequence[LoggedMail], size: int) -> Iterator[Sequence[LoggedMail]]:
    for start in range(0, len(mails), size):
        yield mails[start : start + size]
