"""T4: Hypothesis gives the ledger orders, in any order; a model in dicts says what must stand there after each.

Twenty-odd rules: ticks, workers with every answer, deaths inside and after transactions, the mail service's events,
people's orders, the clock. `LedgerMachine.base` is the ledger; it is put back to its beginning for each run.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from unittest import mock

import orjson
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.crash.ledger_model import Key, Model, Person
from tests.crash.outbox import GROUP, KEYS, NOW, RELEASE, address_of
from tests.crash.small_world import STAGES, TWO_STAGES, Journey, advance, enter_all, load, plan_first
from uptake import failpoints
from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.ledger.schema import metadata
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.domain.eligibility import Reason
from uptake.domain.ids import address_hash, send_id
from uptake.domain.sends import SuppressionReason
from uptake.errors import Held
from uptake.operations.reconcile import reconcile
from uptake.operations.record_delivery import record_delivery
from uptake.ports import ENGINE, LoggedMail, Run

ARMS = {**dict.fromkeys(("c0", "c1", "c2", "c3", "c4"), "treatment"), "c5": "holdout"}
FIRST = ("c0", "c1", "c2")  # planned already when a run begins
ADDRESSES = [*(address_of(name) for name in ARMS), "spare@customer.example"]
LEASE, PATIENCE = timedelta(minutes=5), timedelta(minutes=2)
KEYS_OF = [(contact, stage) for contact in ARMS for stage in STAGES]
IDS = {
    send_id(
        KEYS.pseudonym, playbook=RELEASE.name, account_id=contact, entry_no=1, stage_key=stage, contact_id=contact
    ): (contact, stage)
    for contact, stage in KEYS_OF
}
ID_OF = {key: one for one, key in IDS.items()}
EVENTS = [
    *(("processed", ""), ("deferred", ""), ("delivered", ""), ("open", ""), ("click", ""), ("dropped", "")),
    *(("bounce", "bounce"), ("bounce", "blocked"), ("spamreport", ""), ("unsubscribe", "")),
    *(("group_unsubscribe", ""), ("group_resubscribe", "")),
]


class Died(BaseException):
    """A process is gone, in the middle of something."""


class Base:
    """A ledger that can be put back to its beginning."""

    def __init__(self, url: str) -> None:
        self.ledger: SqlLedger = open_ledger(url, KEYS)
        self._store = self.ledger._store
        if self._store.is_sqlite:
            sa.event.listen(self._store._engine, "connect", _fast)
            self.ledger.close()
        enter_all(self.ledger, TWO_STAGES, ARMS)
        plan_first(self.ledger, FIRST)
        self._tables = [table.name for table in metadata.sorted_tables]
        with self._store.write() as connection:
            for table in self._tables:
                connection.exec_driver_sql(f"create table beginning_{table} as select * from {table}")

    def reset(self) -> None:
        with self._store.write() as connection:
            if self._store.is_sqlite:
                connection.exec_driver_sql("pragma defer_foreign_keys = on")
                for table in self._tables:
                    connection.exec_driver_sql(f"delete from {table}")
                    connection.exec_driver_sql(f"insert into {table} select * from beginning_{table}")
                return
            connection.exec_driver_sql(f"truncate {', '.join(self._tables)}")
            for table in self._tables:
                connection.exec_driver_sql(
                    f"insert into {table} overriding system value select * from beginning_{table}"
                )

    def rows(self, query: str) -> Sequence[Any]:
        with self._store.read() as connection:
            return connection.exec_driver_sql(query).fetchall()


def _fast(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):
        connection.execute(f"pragma {pragma}")


class Log:
    """The mail service's log of what the model says it accepted."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def between(self, since: datetime, until: datetime) -> list[LoggedMail]:
        return [mail for mail in self._mails() if since <= mail.logged_at < until]

    def to_address(self, address: str, since: datetime) -> list[LoggedMail]:
        hashed = address_hash(KEYS.pseudonym, address)
        return [mail for mail in self._mails() if mail.address_hash == hashed and mail.logged_at >= since]

    def evidence(self, mails: Sequence[LoggedMail]) -> bytes:
        told = []
        for mail in mails:
            key, address, at = self._model.accepted[int(mail.message_id[1:])]
            told.append(event_of(key, address, "processed", at))
        return orjson.dumps(told)

    def _mails(self) -> list[LoggedMail]:
        return [
            LoggedMail(message_id=f"m{number}", address_hash=address_hash(KEYS.pseudonym, address), logged_at=at)
            for number, (_, address, at) in enumerate(self._model.accepted)
        ]


def event_of(
    key: Key | None, address: str, name: str, at: datetime, *, kind: str = "", has_group: bool = True
) -> dict[str, Any]:
    """Return an event as the webhook brings it."""
    event: dict[str, Any] = {"event": name, "email": address, "timestamp": int(at.timestamp())}
    if kind:
        event["type"] = kind
    if key is not None:
        event["uptake_send_id"] = ID_OF[key]
    if has_group and name.startswith("group_"):
        event["asm_group_id"] = GROUP
    return event


class LedgerMachine(RuleBasedStateMachine):
    """Orders to one ledger."""

    base: ClassVar[Base]
    counted: ClassVar[Counter[str]] = Counter()  # rules that ran, for all runs together

    @initialize(seed=st.integers(0, 2**32 - 1), count=st.sampled_from([0, 30, 60]))
    def begin(self, seed: int = 0, count: int = 0) -> None:
        """Start anew, mostly in the middle of things."""
        self.base.reset()
        self.ledger = self.base.ledger
        self.now = NOW
        self.model = Model(people={name: Person(address=address_of(name), arm=arm) for name, arm in ARMS.items()})
        for contact in FIRST:
            self.model.plan(contact, STAGES[0], NOW)
        self.hands: dict[str, list[Key]] = {}  # what each worker has claimed or intended
        self.intended: set[str] = set()  # workers between intent and answer
        self.bodies: list[list[dict[str, Any]]] = []
        self.events = SendGridEvents(KEYS.pseudonym)
        self.count_lives = 0
        self._live(seed, count)

    def _any(self, *statuses: str | None) -> bool:
        """Whether some mail stands there (None: is not planned yet): an order that finds nothing teaches nothing."""
        mails = self.model.mails
        return any((mails[key].status if key in mails else None) in statuses for key in KEYS_OF)

    # --- ticks -------------------------------------------------------------------------------------------

    @precondition(lambda self: self._any(None, "withheld"))
    @rule(contacts=st.sets(st.sampled_from(sorted(ARMS)), min_size=1), stage=st.sampled_from(STAGES))
    def tick_plans(self, contacts: set[str], stage: str) -> None:
        self._record(self._begin_run(), sorted(contacts), stage)
        for contact in sorted(contacts):
            self.model.plan(contact, stage, self.now)
        self._agree("tick_plans")

    @rule(contact=st.sampled_from(sorted(ARMS)))
    def a_tick_that_was_overtaken_writes_nothing(self, contact: str) -> None:
        late = self._begin_run()
        self._begin_run()
        try:
            self._record(late, [contact], STAGES[0])
        except Held:
            self._agree("a_tick_that_was_overtaken")
        else:
            raise AssertionError("an older fence wrote")

    @precondition(lambda self: self.count_lives > 3)
    @rule(
        contact=st.sampled_from(sorted(ARMS)), reason=st.sampled_from(["goal_reached", "exit_condition", "suppressed"])
    )
    def tick_ends(self, contact: str, reason: str) -> None:
        journey = Journey(enrollment_id=self._enrollment(contact), contact_id=contact, arm="", ending=reason)
        self._record(self._begin_run(), [], STAGES[0], endings=[journey])
        self.model.end(contact, reason)
        self._agree("tick_ends")

    @precondition(lambda self: self.count_lives > 3)
    @rule(contact=st.sampled_from(sorted(ARMS)))
    def a_person_takes_out(self, contact: str) -> None:
        self.ledger.enrollments.leave(RELEASE.name, contact, reason="asked", by="Grace", now=self.now)
        if self.model.people[contact].ended is None:
            self.model.end(contact, "stopped")
        self._agree("a_person_takes_out")

    def _begin_run(self) -> Run:
        run = self.ledger.runs.begin("tick", owner="t", now=self.now, lease=timedelta(0))
        assert run is not None
        return run

    def _record(self, run: Run, contacts: list[str], stage: str, endings: Sequence[Journey] = ()) -> None:
        wanted = [
            Journey(enrollment_id=self._enrollment(name), contact_id=name, arm="", next_stage=stage)
            for name in contacts
        ]
        self.ledger.enrollments.record(
            advance(wanted, endings, self.now), releases={1: TWO_STAGES}, snapshot_id="s1", gate_id=1, git_sha="abc",
            run=run, now=self.now,
        )  # fmt: skip

    def _enrollment(self, contact: str) -> int:
        return 1 + sorted(ARMS).index(contact)

    # --- workers -----------------------------------------------------------------------------------------

    @precondition(lambda self: self._any("planned", "claimed"))
    @rule(
        limit=st.sampled_from([1, 2, 10]), dies=st.sampled_from([None, None, "claim: uncommitted", "claim: committed"])
    )
    def claim(self, limit: int, dies: str | None) -> None:
        self.count_lives += 1
        owner = f"w{self.count_lives}"
        found = self._dying(dies, lambda: self.ledger.sends.claim(owner=owner, limit=limit, now=self.now, lease=LEASE))
        if found is None and dies == "claim: uncommitted":
            self._agree("dies claiming")  # as if nothing had been
            return
        keys = self.model.claim(owner, limit, self.now, LEASE)
        if found is not None:
            assert [IDS[one.send_id] for one in found] == keys
            assert [one.address for one in found] == [self.model.people[key[0]].address for key in keys]
            self.hands[owner] = keys
        self._agree("claim")

    @precondition(lambda self: self._any("planned", "claimed"))
    @rule(limit=st.sampled_from([1, 2, 10]), is_known=st.booleans())
    def send(self, limit: int, is_known: bool) -> None:
        """What mostly happens, at once: claimed, intended, accepted; and told, or not."""
        self.claim(limit, None)
        owner = f"w{self.count_lives}"
        if keys := self.hands.get(owner):
            ids = [ID_OF[key] for key in keys]
            failures = self.ledger.sends.intend(
                ids, owner=owner, body_hash="x", now=self.now, deadline=self.now + PATIENCE
            )
            assert failures.keys() == {
                ID_OF[key] for key in self.model.intend(keys, owner, self.now, self.now + PATIENCE)
            }
            del self.hands[owner]
            if not failures:
                self.model.accepted += [(key, self._claimed_for(key), self.now) for key in keys]
                if is_known:
                    self.ledger.sends.accepted(ids, message_id=None, now=self.now)
                    self.model.took(keys)
                else:
                    self.ledger.sends.unknown(ids, detail="no answer", now=self.now, owner=owner)
                    self.model.move(keys, "unknown", owner)
        self._agree("send")

    @precondition(lambda self: self.hands)
    @rule(
        data=st.data(),
        is_accepted=st.booleans(),
        then=st.sampled_from(["is told", "is told", "unknown", "dies", "failed", "planned", "sandboxed"]),
        dies=st.sampled_from([None, None, None, None, "intent: checked", "intent: uncommitted", "intent: committed"]),
    )
    def go_on(self, data: st.DataObject, is_accepted: bool, then: str, dies: str | None) -> None:
        """A worker that holds something does what comes next, however late that is."""
        owner = data.draw(st.sampled_from(sorted(self.hands)))
        if owner in self.intended:
            self._answer(owner, is_accepted, then)
        elif then == "planned":
            keys = self.hands.pop(owner)
            self.ledger.sends.put_back([ID_OF[key] for key in keys], now=self.now, owner=owner)
            self.model.move(keys, "planned", owner)
            self._agree("gives back")
        else:
            self._intend(owner, dies)

    def _intend(self, owner: str, dies: str | None) -> None:
        keys = self.hands.pop(owner)
        found = self._dying(
            dies,
            lambda: self.ledger.sends.intend(
                [ID_OF[key] for key in keys], owner=owner, body_hash="x", now=self.now, deadline=self.now + PATIENCE
            ),
        )
        if found is None and dies != "intent: committed":
            self._agree("dies before the intent")
            return
        failures = self.model.intend(keys, owner, self.now, self.now + PATIENCE)
        if found is not None:
            assert {IDS[one]: reason.value for one, reason in found.items()} == failures
            if left := [key for key in keys if key not in failures]:
                self.hands[owner] = left
            if not failures:
                self.intended.add(owner)
                for key in keys:  # whoever is stopped by now gets no request
                    assert self.model.why_not(key[0]) is None, key
        self._agree("intend" if found is not None else "dies after the intent")

    def _answer(self, owner: str, is_accepted: bool, then: str) -> None:
        self.intended.remove(owner)
        keys = self.hands.pop(owner)
        ids = [ID_OF[key] for key in keys]
        if then == "is told" or (is_accepted and then in ("unknown", "dies")):
            self.model.accepted += [(key, self._claimed_for(key), self.now) for key in keys]
        match then:
            case "is told":
                self.ledger.sends.accepted(ids, message_id=None, now=self.now)
                self.model.took(keys)
            case "unknown":
                self.ledger.sends.unknown(ids, detail="no answer", now=self.now, owner=owner)
            case "failed":
                self.ledger.sends.failed(ids, detail="refused", now=self.now, owner=owner)
            case "planned":
                self.ledger.sends.put_back(ids, now=self.now, owner=owner)
            case "sandboxed":
                self.ledger.sends.sandboxed(ids, now=self.now, owner=owner)
        if then not in ("is told", "dies"):
            self.model.move(keys, then, owner)
        self._agree(f"answer: {then}")

    def _claimed_for(self, key: Key) -> str:
        return self.model.mails[key].claimed_for or "gone@customer.example"

    @precondition(lambda self: self._any("planned", "sending"))
    @rule()
    def expire(self) -> None:
        self.ledger.sends.expire(now=self.now)
        self.model.expire(self.now)
        self._agree("expire")

    @rule(seconds=st.sampled_from([1, 30, 121, 301, 1_801, 3_601, 90_000]), restarts=st.booleans())
    def time_passes(self, seconds: int, restarts: bool) -> None:
        self.now += timedelta(seconds=seconds)
        if restarts:
            self.ledger.close()
        self._agree("restart" if restarts else "time_passes")

    # --- evidence ----------------------------------------------------------------------------------------

    @rule(
        key=st.sampled_from(KEYS_OF) | st.none(),
        address=st.sampled_from(ADDRESSES),
        event=st.sampled_from(EVENTS),
        ago=st.sampled_from([0, 0, 10, 4_000]),
        has_group=st.booleans(),
        dies=st.sampled_from([None, None, None, "fold: sends folded", "fold: uncommitted", "fold: committed"]),
    )
    def hear(
        self, key: Key | None, address: str, event: tuple[str, str], ago: int, has_group: bool, dies: str | None
    ) -> None:
        if key is not None and (mail := self.model.mails.get(key)) is not None:
            address = mail.claimed_for or address
        name, kind = event
        at = self.now - timedelta(seconds=ago)
        self.bodies.append([event_of(key, address, name, at, kind=kind, has_group=has_group)])
        self.ledger.delivery.store(orjson.dumps(self.bodies[-1]), now=self.now)
        self._dying(dies, self._fold)
        if dies is not None:
            self._fold()  # the next process does it
        self.model.hear(key, address, name, at, self.now, kind=kind, has_group=has_group)
        self._agree(f"hear {name} {kind}".strip(), controls=True)

    def _fold(self) -> Any:
        class Stopped:
            now = staticmethod(lambda: self.now)

        return record_delivery(self.ledger, self.events, clock=Stopped())

    @precondition(lambda self: self.bodies)
    @rule(data=st.data())
    def hear_again(self, data: st.DataObject) -> None:
        """Repeats change nothing: the model is told nothing."""
        body = data.draw(st.sampled_from(self.bodies))
        self.ledger.delivery.store(orjson.dumps([*body, *body]), now=self.now)
        self._fold()
        self._agree("hear_again", controls=True)

    @precondition(lambda self: self._any("unknown") or self.model.forgotten is not None)
    @rule()
    def reconcile(self) -> None:
        class Stopped:
            now = staticmethod(lambda: self.now)

        reconcile(self.ledger, Log(self.model), self.events, clock=Stopped())
        self.model.reconcile(self.now)
        self._agree("reconcile", controls=True)

    # --- people ------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.model.stops) < 6)
    @rule(address=st.sampled_from(ADDRESSES), topic=st.sampled_from([None, "training", "other"]))
    def unsubscribe(self, address: str, topic: str | None) -> None:
        self.ledger.people.suppress(
            _hash(address), reason=SuppressionReason.UNSUBSCRIBED, topic=topic, source="web", now=self.now
        )
        self.model.suppress(address, topic or "", "unsubscribed", self.now)
        self._agree("unsubscribe")

    @precondition(lambda self: len(self.model.stops) < 6)
    @rule(addresses=st.sets(st.sampled_from(ADDRESSES), min_size=1, max_size=2))
    def import_list(self, addresses: set[str]) -> None:
        self.ledger.people.suppress_all(
            [_hash(one) for one in sorted(addresses)], reason=SuppressionReason.IMPORTED, source="list", now=self.now
        )
        for address in addresses:
            self.model.suppress(address, "", "imported", self.now)
        self._agree("import_list")

    @precondition(lambda self: self.count_lives > 3)
    @rule(address=st.sampled_from(ADDRESSES))
    def forget(self, address: str) -> None:
        self.ledger.erasures.erase(_hash(address), by="Grace", now=self.now)
        self.model.forget(address, self.now)
        self._agree("forget")

    @rule(
        contact=st.sampled_from(sorted(ARMS)),
        address=st.sampled_from(ADDRESSES),
        refuses=st.sampled_from([None, None, True, False]),
    )
    def load(self, contact: str, address: str, refuses: bool | None) -> None:
        load(self.ledger, {contact: address}, now=self.now, refuses=refuses)
        self.model.load(contact, address, self.now, refuses=refuses)
        self._agree("load")

    @rule(
        where=st.sampled_from([("all", "*"), ("playbook", RELEASE.name), ("account", "c0"), ("sending", "")]),
        action=st.sampled_from(["pause", "resume", "resume", "stop"]),
        is_person=st.booleans(),
    )
    def order(self, where: tuple[Any, str], action: Any, is_person: bool) -> None:
        scope, target = where
        if (scope in ("all", "sending") and action == "stop") or (action == "resume" and not is_person):
            action, is_person = "pause", True
        self.ledger.releases.control(
            scope, target, action, reason="why", by="Grace" if is_person else ENGINE, now=self.now
        )
        target = {"all": "", "playbook": ""}.get(scope, target)
        self.model.order(scope, target, action, is_person=is_person)
        self._agree(f"order: {action}", controls=True)

    @precondition(lambda self: not self.model.is_closed(self.now))
    @rule(seconds=st.sampled_from([1, 90, 4_000]))
    def rate_limit(self, seconds: int) -> None:
        until = self.now + timedelta(seconds=seconds)
        self.ledger.releases.control("sending", "", "pause", reason="429", by=ENGINE, now=self.now, until=until)
        self.model.order("sending", "", "pause", is_person=False, until=until)
        self._agree("rate_limit", controls=True)

    @precondition(lambda self: self._any("unknown", "held"))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.release_it(data.draw(st.sampled_from(sorted(self.model.mails))))

    def release_it(self, key: Key) -> None:
        count = self.ledger.sends.release([ID_OF[key]], by="Grace", reason="asked them", now=self.now)
        assert count == self.model.release(key, self.now)
        self._agree("release")

    @rule(seed=st.integers(0, 2**32 - 1))
    def a_busy_while(self, seed: int) -> None:
        self._live(seed, 10)

    def _live(self, seed: int, count: int) -> None:
        """Some orders in the proportions of real life: rules drawn evenly seldom lead a mail to its end."""
        chance = random.Random(seed)
        pick, drawn = chance.choice, _Drawn(chance)
        for _ in range(count):
            match pick(_BUSY):
                case "plan":
                    self.tick_plans(contacts=set(chance.sample(sorted(ARMS), 3)), stage=pick(STAGES))
                case "claim":
                    self.claim(limit=pick([1, 2, 10]), dies=None)
                case "send":
                    self.send(limit=pick([1, 2, 10]), is_known=pick([True, False]))
                case "go on" if self.hands:
                    then = pick(["is told", "unknown", "unknown", "dies", "failed", "planned"])
                    self.go_on(data=drawn, is_accepted=pick([True, False]), then=then, dies=None)
                case "hear":
                    # Mostly what stops nobody, or soon there is nobody left to mail.
                    event, ago = pick(EVENTS[:5] if chance.random() < 0.8 else EVENTS), pick([0, 10, 4_000])
                    sent = [key for key, mail in self.model.mails.items() if mail.attempt] or [None]
                    key = pick(sent if chance.random() < 0.97 else KEYS_OF)
                    self.hear(key=key, address=pick(ADDRESSES), event=event, ago=ago, has_group=True, dies=None)
                case "time":
                    self.time_passes(seconds=pick([1, 121, 301, 1_801, 3_601, 90_000]), restarts=False)
                    self.expire()
                    self.reconcile()
                case "release" if self.model.mails:
                    self.release(data=drawn)
                case "open":
                    for where in (("all", "*"), ("playbook", RELEASE.name), ("sending", "")):
                        self.order(where=where, action="resume", is_person=True)

    # --- what must be so after each ------------------------------------------------------------------------

    def _dying(self, point: str | None, order: Any) -> Any:
        """Do it, and die at that point of it; None when that happened."""
        if point is None:
            return order()

        def at(passed: str) -> None:
            if passed == point:
                raise Died

        with mock.patch.object(failpoints, "at", at):
            try:
                return order()
            except Died:
                return None

    def _agree(self, what: str, *, controls: bool = False) -> None:
        self.counted[what] += 1
        rows = self.base.rows("select send_id, status, reason, owner, attempt from sends order by send_key")
        found = {IDS[one]: _seen(status, reason, owner, attempt) for one, status, reason, owner, attempt in rows}
        expected = {
            key: _seen(mail.status, mail.reason, mail.owner, mail.attempt) for key, mail in self.model.mails.items()
        }
        assert found == expected, what
        contacts = self.base.rows("select contact_id, status, end_reason from enrollment_contacts")
        assert {name: reason if status == "ended" else None for name, status, reason in contacts} == {
            name: person.ended for name, person in self.model.people.items()
        }, what
        people = self.base.rows("select contact_id, address, erased_at is not null from people")
        assert {name: (address, bool(erased)) for name, address, erased in people} == {
            name: (person.address, person.is_erased) for name, person in self.model.people.items()
        }, what
        for key, count in Counter(key for key, _, _ in self.model.accepted).items():
            assert count <= 1 + self.model.mails[key].releases, f"{key} was accepted {count} times"
        if controls:
            state, model = self.ledger.releases.controls(), self.model
            assert (state.everything is not None) == (model.ordered("all") is not None), what
            is_locked = model.ordered("sending") is not None or model.forgotten is not None
            assert (state.sending_locked is not None) == is_locked, what
            assert (state.forgotten is not None) == (model.forgotten is not None), what
            assert state.playbooks.get(RELEASE.name) == model.ordered("playbook"), what
            assert state.accounts.get("c0") == model.ordered("account", "c0"), what

    def teardown(self) -> None:
        """At the end the addresses that are stopped are those that the model knows."""
        if not hasattr(self, "model"):
            return
        for reason in SuppressionReason:
            for topic in ("", "training", "other"):
                found = self.ledger.people.suppressed(reason=reason, topic=topic or None)
                expected = {
                    _hash(address)
                    for (address, about, why), (since, lifted) in self.model.stops.items()
                    if (about, why) == (topic, reason.value)
                    and since is not None
                    and (lifted is None or since >= lifted)
                }
                assert found == expected, (reason, topic)


_BUSY = ["plan", "plan", "claim", "claim", "send", *["go on"] * 4, *["hear"] * 3, "time", "time", "release", "open"]


class _Drawn:
    """Draws from a list as `st.data()` does."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def draw(self, strategy: Any) -> Any:
        return self._chance.choice(list(strategy.elements))


def _hash(address: str) -> str:
    return address_hash(KEYS.pseudonym, address)


def _seen(status: str, reason: str | None, owner: str | None, attempt: int) -> tuple[object, ...]:
    """What is compared of a mail: its reason while withheld, its owner while a worker holds it."""
    return (
        status,
        Reason(reason).value if status == "withheld" and reason else None,
        owner if status in ("claimed", "sending") else None,
        attempt,
    )
