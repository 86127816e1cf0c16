"""T4: Hypothesis gives the ledger orders, in any order; a model in dicts says what must stand there after each.

Twenty-odd rules: ticks, workers with every answer, deaths inside and after transactions, the mail service's events,
people's orders, the clock. `LedgerMachine.base` is the ledger; it is put back to its beginning for each run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar
from unittest import mock

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.crash.busy_life import live
from tests.crash.ledger_agreement import agree, agree_on_orders, agree_on_stops
from tests.crash.ledger_base import ADDRESSES, ARMS, FIRST, ID_OF, IDS, KEYS_OF, Base
from tests.crash.ledger_model import Key, Model, Person
from tests.crash.ledger_told import EVENTS, Log, event_of
from tests.crash.outbox import KEYS, NOW, RELEASE, address_of
from tests.crash.small_world import STAGES, TWO_STAGES, Journey, advance, load
from uptake import failpoints
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.domain.ids import address_hash
from uptake.domain.sends import SuppressionReason
from uptake.errors import Held
from uptake.operations.reconcile import reconcile
from uptake.operations.record_delivery import record_delivery
from uptake.ports import ENGINE, Run

LEASE, PATIENCE = timedelta(minutes=5), timedelta(minutes=2)


class Died(BaseException):
    """A process is gone, in the middle of something."""


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
        live(self, seed, count)

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
        self.model.take_out(contact)
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
        live(self, seed, 10)

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
        agree(self.ledger, self.model, what)
        if controls:
            agree_on_orders(self.ledger, self.model, what)

    def teardown(self) -> None:
        if hasattr(self, "model"):
            agree_on_stops(self.ledger, self.model)


def _hash(address: str) -> str:
    return address_hash(KEYS.pseudonym, address)
