"""What the ledger promises about one playbook, in dicts: written from DESIGN, and nothing of the engine is in here.

A mail is known by (contact, stage), an address by itself, a worker by its name. Every method is one order to the
ledger and changes the dicts as the ledger has to change; what the ledger answers is returned.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

Key = tuple[str, str]  # contact, stage

TAKEN = {"accepted": 1, "delivered": 2, "bounced": 3, "dropped": 4}
PROVES = {
    "processed": "accepted",
    "deferred": "accepted",
    "delivered": "delivered",
    "open": "delivered",
    "click": "delivered",
    "spamreport": "delivered",
    "unsubscribe": "delivered",
    "group_unsubscribe": "delivered",
    "group_resubscribe": "delivered",
    "bounce": "bounced",
    "dropped": "dropped",
}
RETRY = {"outside_window", "paused", "gate_held"}
TOPIC = "training"
HOUR = timedelta(hours=1)
_MARGIN = timedelta(minutes=5)  # between two clocks


@dataclass
class Mail:
    """Where one message stands."""

    status: str = "planned"
    reason: str | None = None
    owner: str | None = None
    lease_until: datetime | None = None
    deadline: datetime | None = None
    attempt: int = 0
    decided_at: datetime | None = None  # by a tick, or by the person who ordered it again: whoever came last
    sending_at: datetime | None = None
    claimed_for: str | None = None  # the address its body is made for
    releases: int = 0

    def free(self, status: str) -> None:
        self.status, self.owner, self.lease_until, self.deadline = status, None, None, None


@dataclass
class Person:
    """Who may be written to, and where."""

    address: str | None
    is_erased: bool = False
    ended: str | None = None  # why the journey ended
    is_taken_out: bool = False  # by a person, with their account
    arm: str = "treatment"
    known: str = ""  # the address last loaded, which is remembered as a hash when it is forgotten

    def __post_init__(self) -> None:
        self.known = self.address or ""


@dataclass
class Model:
    """All of it."""

    people: dict[str, Person]
    mails: dict[Key, Mail] = field(default_factory=dict)  # in the order they were first planned
    #: (address, topic, reason) -> [suppressed at, lifted at]; topic '' is everything
    stops: dict[tuple[str, str, str], list[datetime | None]] = field(default_factory=dict)
    words: defaultdict[str, list[tuple[datetime, bool]]] = field(default_factory=lambda: defaultdict(list))
    orders: dict[tuple[str, str, bool], str] = field(default_factory=dict)  # scope, target, by a person -> action
    limits: list[datetime] = field(default_factory=list)  # rate limits since sending was last resumed
    forgotten: tuple[datetime, datetime] | None = None  # since when, and when that was found out
    erased: set[str] = field(default_factory=set)
    events: set[tuple[object, ...]] = field(default_factory=set)
    heard: dict[Key, list[str]] = field(default_factory=dict)
    accepted: list[tuple[Key, str, datetime]] = field(default_factory=list)  # by the mail service: to whom, when

    # --- a tick ------------------------------------------------------------------------------------------

    def plan(self, contact: str, stage: str, now: datetime) -> bool:
        """A tick decided to send; the ledger plans it for whoever is in treatment and still there."""
        person, mail = self.people[contact], self.mails.get((contact, stage))
        if person.ended is not None or person.arm != "treatment":
            return False
        if mail is None:
            self.mails[contact, stage] = Mail(decided_at=now)
            return True
        if mail.status == "withheld" and mail.reason in RETRY:
            mail.status, mail.reason, mail.decided_at = "planned", None, now
            return True
        return False

    def end(self, contact: str, reason: str) -> None:
        """A contact leaves; what no worker holds is not sent, nor what one has let go of since they left."""
        person = self.people[contact]
        if person.ended is None:
            person.ended = reason
        for (who, _), mail in self.mails.items():
            if who == contact and mail.status == "planned":
                mail.status, mail.reason = "withheld", reason

    def take_out(self, contact: str) -> None:
        """A person ends the account's enrollment: once, and also when the contact's own journey is over already."""
        if not self.people[contact].is_taken_out:
            self.people[contact].is_taken_out = True
            self.end(contact, "stopped")

    # --- sending -----------------------------------------------------------------------------------------

    def is_closed(self, now: datetime) -> bool:
        return (
            any(self.ordered(scope) for scope in ("all", "sending"))
            or self.forgotten is not None
            or self.is_limited(now)
        )

    def is_limited(self, now: datetime) -> bool:
        return bool(self.limits) and max(self.limits) > now

    def ordered(self, scope: str, target: str = "") -> str | None:
        """A person's word, else the engine's."""
        return self.orders.get((scope, target, True)) or self.orders.get((scope, target, False))

    def claim(self, owner: str, limit: int, now: datetime, lease: timedelta) -> list[Key]:
        """Take what waits longest, of one stage; leases that ran out free what they held."""
        for mail in self.mails.values():
            if mail.status == "claimed" and mail.lease_until is not None and mail.lease_until <= now:
                mail.free("planned")
        if self.is_closed(now):
            return []
        while waiting := [
            key
            for key, mail in self.mails.items()
            if mail.status == "planned"
            and self.ordered("playbook") != "pause"
            and self.ordered("account", key[0]) != "pause"
        ]:
            taken = []
            for key in [key for key in waiting if key[1] == waiting[0][1]][:limit]:
                mail, person = self.mails[key], self.people[key[0]]
                if mail.attempt == 0 and self.heard.get(key):
                    self._fold(key)
                elif person.address is None:
                    mail.status, mail.reason = "withheld", "erased" if person.is_erased else "left"
                else:
                    mail.status, mail.owner, mail.lease_until = "claimed", owner, now + lease
                    mail.claimed_for = person.address
                    taken.append(key)
            if taken:
                return taken
        return []

    def why_not(self, contact: str) -> str | None:
        """Why this contact gets nothing, now or later."""
        person = self.people[contact]
        if person.is_erased:
            return "erased"
        if person.ended is not None:
            return person.ended
        if person.address is None:
            return "left"
        if self.is_stopped(person.address):
            return "suppressed"
        if self.has_refused(person.address):
            return "unconsented"
        if "stop" in (self.ordered("playbook"), self.ordered("account", contact)) or person.arm != "treatment":
            return "stopped"
        return None

    def intend(self, keys: list[Key], owner: str, now: datetime, deadline: datetime) -> dict[Key, str]:
        """The last look: all of them are intended, or none is."""
        failures: dict[Key, str] = {}
        for key in keys:
            mail = self.mails[key]
            if mail.status != "claimed" or mail.owner != owner or mail.lease_until is None or mail.lease_until <= now:
                failures[key] = "paused"  # another's by now: left as it is
                continue
            reason = self.why_not(key[0])
            if reason is not None:
                failures[key] = reason
                mail.free("withheld")
                mail.reason = reason
            elif (
                self.is_closed(now)
                or self.ordered("playbook")
                or self.ordered("account", key[0])
                or mail.claimed_for != self.people[key[0]].address
            ):
                failures[key] = "paused"
                mail.free("planned")
        if not failures:
            for key in keys:
                mail = self.mails[key]
                mail.status, mail.attempt, mail.sending_at, mail.deadline = "sending", mail.attempt + 1, now, deadline
        return failures

    def took(self, keys: list[Key]) -> None:
        """A 202 is a fact, whoever reports it."""
        for key in keys:
            if self.mails[key].status in TAKEN:
                self.mails[key].free(self.mails[key].status)
            else:
                self.mails[key].free("accepted")

    def move(self, keys: list[Key], to: str, owner: str) -> None:
        """What a worker says of what it holds; what it holds no more is not its to speak of."""
        movable = {"sending"} if to in ("unknown", "sandboxed") else {"sending", "claimed"}
        for key in keys:
            mail = self.mails[key]
            if mail.status in movable and mail.owner == owner:
                mail.free(to)

    def expire(self, now: datetime) -> None:
        """Nobody waits for an answer any more; what was decided for an hour ago is decided again."""
        for mail in self.mails.values():
            if mail.status == "sending" and mail.deadline is not None and mail.deadline < now:
                mail.free("unknown")
            elif mail.status == "planned" and mail.decided_at is not None and mail.decided_at <= now - HOUR:
                mail.status, mail.reason = "withheld", "outside_window"

    def hold(self, now: datetime) -> None:
        """A day without evidence: a person decides."""
        for mail in self.mails.values():
            if mail.status == "unknown" and mail.sending_at is not None and mail.sending_at < now - 24 * HOUR:
                mail.status = "held"

    def release(self, key: Key, now: datetime) -> int:
        """A person orders what nobody knows about again."""
        mail = self.mails[key]
        if mail.status not in ("unknown", "held"):
            return 0
        mail.free("planned")
        mail.decided_at, mail.releases = now, mail.releases + 1
        return 1

    # --- evidence ----------------------------------------------------------------------------------------

    def hear(
        self, key: Key | None, address: str, event: str, at: datetime, now: datetime, *, kind: str = "",
        has_group: bool = True,
    ) -> None:  # fmt: skip
        """One thing the mail service tells, in whatever order and however often."""
        told = (key or address, event, kind, at, has_group and event.startswith("group_"))
        if told in self.events:
            return
        self.events.add(told)
        if key is not None:
            mail = self.mails.get(key)
            if (mail is None or mail.attempt == 0) and not self.heard.get(key):
                # Of a mail this ledger never sent: others may have been forgotten the day before.
                since = at - 24 * HOUR
                if self.forgotten is None or since + 24 * HOUR < self.forgotten[0]:
                    self.forgotten = (min(since, *(self.forgotten or (since,))[:1]), now)
            self.heard.setdefault(key, []).append(event)
            if mail is not None:
                self._fold(key)
        if event == "bounce" and kind != "blocked":
            self.suppress(address, "", "bounced", at)
        elif event == "spamreport":
            self.suppress(address, "", "complained", at)
        elif event == "unsubscribe":
            self.suppress(address, "", "unsubscribed", at)
        elif event == "group_unsubscribe":
            self.suppress(address, TOPIC if has_group else "", "unsubscribed", at)
        elif event == "group_resubscribe" and has_group:
            self.suppress(address, TOPIC, "unsubscribed", at, is_lifted=True)

    def _fold(self, key: Key) -> None:
        mail = self.mails[key]
        for event in self.heard[key]:
            proven = PROVES[event]
            if TAKEN[proven] > TAKEN.get(mail.status, 0):
                mail.status = proven

    def reconcile(self, now: datetime) -> None:
        """Ask the service's log: about what may be forgotten, and what nobody has known about for half an hour."""
        shown = []
        if self.forgotten is not None:
            shown += [mail for mail in self.accepted if mail[2] >= self.forgotten[0] - _MARGIN]
        for key, mail in self.mails.items():
            if mail.status == "unknown" and mail.sending_at is not None and now - mail.sending_at >= HOUR / 2:
                since = mail.sending_at - _MARGIN
                has_moved = (
                    self.people[key[0]].address != mail.claimed_for
                )  # then only what lies around that time is read
                until = mail.sending_at + HOUR / 2 if has_moved else now + HOUR
                shown += [one for one in self.accepted if one[1] == mail.claimed_for and since <= one[2] < until]
        was_forgotten = self.forgotten
        for key, address, at in shown:
            self.hear(key, address, "processed", at, now)
        self.hold(now)
        if was_forgotten is not None and now - was_forgotten[1] >= HOUR:
            self.forgotten = None

    # --- people ------------------------------------------------------------------------------------------

    def suppress(self, address: str, topic: str, reason: str, at: datetime, *, is_lifted: bool = False) -> None:
        times = self.stops.setdefault((address, topic, reason), [None, None])
        times[is_lifted] = max(filter(None, (times[is_lifted], at)))

    def is_stopped(self, address: str, topics: tuple[str, ...] = ("", TOPIC)) -> bool:
        return any(
            since is not None and (lifted is None or since >= lifted)
            for (who, topic, _), (since, lifted) in self.stops.items()
            if who == address and topic in topics
        )

    def has_refused(self, address: str) -> bool:
        """The newest word counts; of two from one moment, the refusal."""
        words = self.words[address]
        return bool(words) and max(words)[1]

    def forget(self, address: str, now: datetime) -> None:
        self.erased.add(address)
        self.suppress(address, "", "erased", now)
        for person in self.people.values():
            if person.address == address:
                person.address, person.is_erased = None, True

    def load(self, contact: str, address: str, now: datetime, *, refuses: bool | None) -> None:
        """The source names a person anew; who was forgotten stays so, by contact and by address."""
        person = self.people[contact]
        if person.known != address:  # what they said goes with them
            for (who, topic, reason), (since, lifted) in list(self.stops.items()):
                is_said = reason in ("unsubscribed", "complained", "imported")
                if who == person.known and is_said and since and (lifted is None or since >= lifted):
                    self.suppress(address, topic, reason, since)
        if not person.is_erased:
            person.known = address
        if address in self.erased:
            if not person.is_erased:
                person.address, person.is_erased = None, True
            return
        if not person.is_erased:
            person.address = address
        if refuses is not None:
            self.words[address].append((now, refuses))

    def order(self, scope: str, target: str, action: str, *, is_person: bool, until: datetime | None = None) -> None:
        """The newest word of a person counts; the engine adds a pause and takes nothing back."""
        if until is not None:
            self.limits.append(until)
        elif action == "resume":
            for by in (True, False):
                self.orders.pop((scope, target, by), None)
            if scope == "sending":
                self.limits.clear()
        else:
            self.orders[scope, target, is_person] = action
