"""The outbox under any order of workers, answers, events, stops and time."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from uptake.adapters.ledger import open_ledger
from uptake.domain.eligibility import Reason
from uptake.domain.sends import TAKEN, DeliveryEvent, DeliveryEventType, SendStatus, SuppressionReason, fold
from uptake.ports import Keys

OWNERS = st.sampled_from(["w1", "w2"])
ANSWERS = st.sampled_from(["accepted", "unknown", "failed", "put_back"])
CONTACTS = [f"c{number}" for number in range(4)]
TYPES = st.sampled_from(["processed", "deferred", "delivered", "bounce", "dropped", "open"])
LEASE = timedelta(minutes=5)
KEYS = Keys(pseudonym=b"k" * 32, tokens=(b"k" * 32,))


@pytest.fixture(scope="session")
def outbox(sqlite_template, new_world, tmp_path_factory):
    """A machine over a SQLite ledger of its own in each run, with four sends planned."""
    prepared = tmp_path_factory.mktemp("outbox") / "ledger.sqlite3"
    shutil.copy(sqlite_template, prepared)
    ledger = open_ledger(f"sqlite:///{prepared}", KEYS)
    world = new_world(ledger, datetime(2026, 3, 3, 9, tzinfo=UTC))
    send_ids = world.planned(*((contact, "a1") for contact in CONTACTS))
    ledger.close()

    class Outbox(RuleBasedStateMachine):
        @initialize()
        def start(self):
            self.folder = Path(tempfile.mkdtemp(prefix="uptake-outbox-"))
            path = self.folder / "ledger.sqlite3"
            shutil.copy(prepared, path)
            self.ledger = open_ledger(f"sqlite:///{path}", KEYS)
            self.world = copy.copy(world)
            self.world.ledger = self.ledger
            self.send_ids = send_ids
            self.contact_of = dict(zip(self.send_ids, CONTACTS, strict=True))
            self.batches: dict[str, list[str]] = {"w1": [], "w2": []}  # what each worker believes it has claimed
            self.flying: dict[str, list[str]] = {"w1": [], "w2": []}  # ... and has sent
            self.intents: Counter[str] = Counter()
            self.permits = Counter(self.send_ids)  # one each; certain failure or a person's order gives another
            self.suppressed: set[str] = set()
            self.paused = False
            self.events: dict[str, list[DeliveryEventType]] = {send_id: [] for send_id in self.send_ids}
            self.proven: set[str] = set()

        def teardown(self):
            if hasattr(self, "ledger"):
                self.ledger.close()
                shutil.rmtree(self.folder)

        @rule(owner=OWNERS, limit=st.integers(1, 4))
        def claim(self, owner, limit):
            claimed = self.world.claim(owner, limit, LEASE)
            assert not (self.paused and claimed)
            self.batches[owner] = [one.send_id for one in claimed]

        @precondition(lambda self: any(self.batches.values()))
        @rule(owner=OWNERS)
        def intend(self, owner):
            batch = self.batches[owner]
            failures = self.world.intend(batch, owner)
            if failures or not batch:
                self.batches[owner] = [send_id for send_id in batch if send_id not in failures]
                return
            assert not self.paused, "an intent was committed after a pause"
            for send_id in batch:
                assert self.contact_of[send_id] not in self.suppressed, "an intent was committed after a suppression"
                assert send_id not in self.proven, "a message that arrived was sent again"
                self.intents[send_id] += 1
            self.batches[owner], self.flying[owner] = [], batch

        @precondition(lambda self: any(self.flying.values()))
        @rule(owner=OWNERS, answer=ANSWERS)
        def answer(self, owner, answer):
            batch, sends, now = self.flying[owner], self.ledger.sends, self.world.now
            before = {send_id: self.world.status(send_id) for send_id in batch}
            if answer == "accepted":
                sends.accepted(batch, message_id="m", now=now)
                self.proven.update(batch)
                for send_id in batch:
                    self.events[send_id].append(DeliveryEventType.PROCESSED)
            elif answer == "put_back":
                sends.put_back(batch, now=now, owner=owner)
                moved = [one for one in batch if before[one] == "sending" and self.world.status(one) == "planned"]
                assert not set(moved) & set(self.flying["w2" if owner == "w1" else "w1"]), (
                    "put back under another's feet"
                )
                self.permits.update(moved)
            else:
                getattr(sends, answer)(batch, detail="x", now=now, owner=owner)
            self.flying[owner] = []

        @rule(minutes=st.integers(1, 10))
        def wait(self, minutes):
            self.world.now += timedelta(minutes=minutes)

        @rule()
        def expire(self):
            self.ledger.sends.expire(now=self.world.now)

        @rule(
            owner=OWNERS,
            before=st.sampled_from(["nothing", "suppress", "pause", "wait", "other"]),
            after=st.sampled_from(["nothing", "event", "other", "release"]),
            answer=ANSWERS,
        )
        def send(self, owner, before, after, answer):
            """A worker's whole round, with the one thing in between that it is there to survive."""
            other = "w2" if owner == "w1" else "w1"
            self.claim(owner, 2)
            batch = list(self.batches[owner])
            if before == "suppress" and batch:
                self.suppress(self.contact_of[batch[0]])
            elif before == "pause" and not self.paused:
                self.pause_or_resume()
            elif before != "nothing":
                self.wait(6)
                if before == "other":
                    self.claim(other, 2)
            self.intend(owner)
            if after == "event" and batch:
                self.event(self.send_ids.index(batch[0]), ["delivered"])
            elif after != "nothing":
                self.wait(6)
                if after == "release":
                    self.expire()
                    for send_id in batch:
                        self.release(self.send_ids.index(send_id))
                self.claim(other, 2)
                self.intend(other)
            self.answer(owner, answer)

        @precondition(lambda self: any(self.intents.values()))
        @rule(send=st.integers(0, 3))
        def release(self, send):
            send_id = self.send_ids[send]
            stuck = self.world.status(send_id) in ("unknown", "held")
            count = self.ledger.sends.release([send_id], by="Grace", reason="r", now=self.world.now)
            assert count == int(stuck)
            self.permits[send_id] += count

        @precondition(lambda self: any(self.intents.values()))
        @rule(send=st.integers(0, 3), kinds=st.lists(TYPES, min_size=1, max_size=3))
        def event(self, send, kinds):
            send_id = self.send_ids[send]
            if not self.intents[send_id]:
                return  # would rightly lock all sending
            found = [
                DeliveryEvent(
                    event_key=f"{send_id}:{kind}",  # the same event again and again
                    event=DeliveryEventType(kind),
                    kind="blocked",
                    occurred_at=self.world.now,
                    send_id=send_id,
                    sg_message_id=None,
                    address="x@example.invalid",
                    url="",
                    reason="",
                    topic_group=None,
                )
                for kind in kinds
            ]
            self.ledger.delivery.store(b"[]", now=self.world.now)
            (batch,) = self.ledger.delivery.unfolded(5)
            self.ledger.delivery.fold(batch, found, unreadable=0, now=self.world.now)
            self.events[send_id] += [one.event for one in found]
            self.proven.add(send_id)

        @rule(contact=st.sampled_from(CONTACTS))
        def suppress(self, contact):
            hashed = self.ledger.people.address_hash_of(contact)
            reason = SuppressionReason.UNSUBSCRIBED
            self.ledger.people.suppress(hashed, reason=reason, topic=None, source="t", now=self.world.now)
            self.suppressed.add(contact)

        @precondition(lambda self: self.paused or any(self.batches.values()))
        @rule()
        def pause_or_resume(self):
            action = "resume" if self.paused else "pause"
            self.ledger.releases.control("all", "", action, reason="r", by="Grace", now=self.world.now)
            self.paused = not self.paused

        @precondition(lambda self: any(self.batches.values()))
        @rule(owner=OWNERS)
        def withhold(self, owner):
            sends = self.ledger.sends
            sends.withheld(self.batches[owner], reason=Reason.VALUE_MISSING, now=self.world.now, owner=owner)
            self.batches[owner] = []

        @invariant()
        def nothing_is_sent_twice_unasked_and_facts_stand(self):
            with self.ledger._store.read() as connection:
                rows = connection.exec_driver_sql("select send_id, status, attempt from sends").all()
            for send_id, status, attempt in rows:
                assert attempt == self.intents[send_id] <= self.permits[send_id]
                if send_id in self.proven:
                    assert status in TAKEN
                    assert status == fold(SendStatus.UNKNOWN, self.events[send_id])

    return Outbox


def test_nothing_is_sent_twice_or_after_a_stop(outbox):
    quick = settings(
        max_examples=40,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],  # shrinking would take minutes
    )
    run_state_machine_as_test(outbox, settings=quick)
