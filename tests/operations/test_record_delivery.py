from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.domain.ids import address_hash
from uptake.errors import LedgerError
from uptake.operations.record_delivery import record_delivery
from uptake.ports import Keys, ReadBatch, StoredBatch
from uptake.testing import FixedClock

NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
KEYS = Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,))
CLOCK = FixedClock(NOW + timedelta(minutes=1))
EVENTS = SendGridEvents(KEYS.pseudonym)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}", KEYS)
    yield ledger
    ledger.close()


def bounce(name: str, **changes: object) -> dict[str, object]:
    """An asynchronous bounce: no id, only an address."""
    return {"event": "bounce", "type": "bounce", "email": f"{name}@x.example", "timestamp": 1772528400, **changes}


def suppressed(ledger: SqlLedger) -> set[str]:
    return {row["address_hash"] for row in ledger.enrollments.tables(now=NOW)["suppressions"].to_pylist()}


def hashes(*names: str) -> set[str]:
    return {address_hash(KEYS.pseudonym, f"{name}@x.example") for name in names}


def store(ledger: SqlLedger, *raw: object) -> None:
    ledger.delivery.store(json.dumps(list(raw)).encode(), now=NOW)


def test_stored_bodies_are_folded_once(ledger):
    store(ledger, bounce("a"), bounce("b"))
    store(ledger, bounce("c"))
    first = record_delivery(ledger, EVENTS, clock=CLOCK)
    assert (first.batches, first.events, first.new_events, first.unreadable, first.stuck) == (2, 3, 3, 0, 0)
    assert suppressed(ledger) == hashes("a", "b", "c")
    second = record_delivery(ledger, EVENTS, clock=CLOCK)
    assert (second.batches, second.events) == (0, 0)


def test_a_body_that_comes_twice_adds_nothing(ledger):
    for _ in range(2):
        store(ledger, bounce("a"), bounce("b"))
    result = record_delivery(ledger, EVENTS, clock=CLOCK)
    assert (result.batches, result.events, result.new_events) == (2, 4, 2)


def test_a_temporary_refusal_suppresses_nobody(ledger):
    store(ledger, bounce("a", type="blocked"))
    assert record_delivery(ledger, EVENTS, clock=CLOCK).new_events == 1
    assert suppressed(ledger) == set()


def test_order_and_repeats_end_in_the_same_state(tmp_path):
    raw = [bounce(name, event=event) for name in "abcd" for event in ("delivered", "bounce", "spamreport", "open")]
    states = []
    for seed in range(3):
        ledger = open_ledger(f"sqlite:///{tmp_path / f'{seed}.sqlite3'}", KEYS)
        mixed = [*raw, *raw[seed : seed + 5]]
        random.Random(seed).shuffle(mixed)
        for start in range(0, len(mixed), 3 + seed):
            store(ledger, *mixed[start : start + 3 + seed])
        assert record_delivery(ledger, EVENTS, clock=CLOCK).new_events == len(raw)
        states.append(suppressed(ledger))
        ledger.close()
    assert states == [hashes(*"abcd")] * 3


def test_a_body_nobody_can_read_is_counted_and_holds_up_nobody(ledger):
    ledger.delivery.store(b"[not json", now=NOW)
    store(ledger, bounce("a"), 7, {})
    result = record_delivery(ledger, EVENTS, clock=CLOCK)
    assert (result.batches, result.new_events, result.unreadable) == (2, 1, 3)
    assert ledger.delivery.unfolded(9) == []


def test_more_bodies_than_one_page_are_all_folded(ledger):
    for number in range(7):
        store(ledger, bounce(f"n{number}"))
    assert record_delivery(ledger, EVENTS, clock=CLOCK, limit=2).new_events == 7


class _Delivery:
    """Stored bodies, some of which cannot be folded."""

    def __init__(self, count: int, broken: set[int], error: Exception) -> None:
        self.left = [StoredBatch(batch_id=n + 1, body=b"[{}]", received_at=NOW) for n in range(count)]
        self.broken = broken
        self.error = error
        self.tried: list[int] = []  # by themselves
        self.groups: list[list[int]] = []

    def unfolded(self, limit: int, *, after: int = 0) -> list[StoredBatch]:
        return [batch for batch in self.left if batch.batch_id > after][:limit]

    def fold_all(self, read: Sequence[ReadBatch], *, now: datetime) -> list[int]:
        found = [one.batch.batch_id for one in read]
        self.groups.append(found)
        self.tried += found if len(found) == 1 else []
        if self.broken & set(found):
            raise self.error
        self.left = [batch for batch in self.left if batch.batch_id not in found]
        return [0 for _ in read]


class _Ledger:
    def __init__(self, delivery: _Delivery) -> None:
        self.delivery = delivery


def test_a_body_that_cannot_be_folded_stays_and_holds_up_nobody(caplog):
    delivery = _Delivery(6, {1, 2, 5}, ValueError("eve@customer.example"))
    result = record_delivery(_Ledger(delivery), EVENTS, clock=CLOCK, limit=2)
    assert (result.batches, result.stuck, result.unreadable) == (3, 3, 3)
    assert [batch.batch_id for batch in delivery.left] == [1, 2, 5]
    assert delivery.tried == [1, 2, 5, 6]  # by themselves, each once
    assert "webhook batch 5 cannot be folded (ValueError)" in caplog.text
    assert "customer.example" not in caplog.text


def test_small_bodies_are_folded_together_and_long_ones_alone(monkeypatch):
    monkeypatch.setattr("uptake.operations.record_delivery._EVENTS_AT_ONCE", 5)
    delivery = _Delivery(0, set(), ValueError())
    counts = (9, 1, 2, 2, 1, 4, 1, 5)
    bodies = [json.dumps([bounce(f"n{number}")] * count).encode() for number, count in enumerate(counts)]
    delivery.left = [StoredBatch(batch_id=n + 1, body=body, received_at=NOW) for n, body in enumerate(bodies)]
    record_delivery(_Ledger(delivery), EVENTS, clock=CLOCK)
    assert delivery.groups == [[1], [2, 3, 4], [5, 6], [7], [8]]


def test_a_ledger_out_of_reach_is_said_and_nothing_is_skipped():
    delivery = _Delivery(3, {1}, LedgerError("locked"))
    with pytest.raises(LedgerError):
        record_delivery(_Ledger(delivery), EVENTS, clock=CLOCK)
    assert len(delivery.left) == 3


def test_only_counts_are_logged(ledger, caplog):
    caplog.set_level(logging.DEBUG)
    store(ledger, bounce("mallory", reason="550 <mallory@x.example> unknown"))
    record_delivery(ledger, EVENTS, clock=CLOCK)
    assert "1 events, 1 new" in caplog.text
    assert "mallory" not in caplog.text
