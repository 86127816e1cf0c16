"""Folds what the mail service told into the ledger: stored bodies first, one by one, in the order they came."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from uptake import collector
from uptake.errors import LedgerError
from uptake.ports import Clock, DeliveryEvents, Ledger, ReadBatch, StoredBatch

_log = logging.getLogger(__name__)

#: In one transaction, unless one body holds more (the longest hold about 2,500). Whoever stores a body waits for it.
_EVENTS_AT_ONCE = 1_000


@dataclass(kw_only=True)
class DeliveryResult:
    """What one run folded."""

    batches: int = 0
    events: int = 0  # read from the bodies, repeats included
    new_events: int = 0
    unreadable: int = 0
    stuck: int = 0  # batches that could not be folded; they stay, and others went on


def record_delivery(ledger: Ledger, events: DeliveryEvents, *, clock: Clock, limit: int = 1_000) -> DeliveryResult:
    """Fold every stored webhook body that is not folded yet.

    A body that cannot be read is marked with its count of unreadable events; one that cannot be folded stays, is
    logged by its id, and holds up nobody else's events. Raises LedgerError when the ledger itself is out of reach.
    """
    result = DeliveryResult()
    after = 0
    while batches := ledger.delivery.unfolded(limit, after=after):
        after = batches[-1].batch_id
        with collector.put_off():
            for group in _groups(_read(batch, events) for batch in batches):
                _fold(ledger, group, clock, result)
    if result.batches or result.stuck:
        _log.info(
            "folded %d webhook batches: %d events, %d new, %d unreadable; %d stuck",
            result.batches, result.events, result.new_events, result.unreadable, result.stuck,
        )  # fmt: skip
    return result


def _read(batch: StoredBatch, events: DeliveryEvents) -> ReadBatch:
    found, unreadable = events.read(batch.body, received_at=batch.received_at)
    return ReadBatch(batch=batch, events=found, unreadable=unreadable)


def _groups(read: Iterable[ReadBatch]) -> Iterator[list[ReadBatch]]:
    """Put small bodies together: a transaction each would cost more than what they tell."""
    group: list[ReadBatch] = []
    count = 0
    for one in read:
        if group and count + len(one.events) > _EVENTS_AT_ONCE:
            yield group
            group, count = [], 0
        group.append(one)
        count += len(one.events)
    if group:
        yield group


def _fold(ledger: Ledger, group: Sequence[ReadBatch], clock: Clock, result: DeliveryResult) -> None:
    """Fold a group; when one of it cannot be folded, each by itself."""
    try:
        new_events = ledger.delivery.fold_all(group, now=clock.now())
    except LedgerError:
        raise
    except Exception as error:
        if len(group) > 1:
            for one in group:
                _fold(ledger, [one], clock, result)
            return
        result.stuck += 1
        _log.error("webhook batch %d cannot be folded (%s)", group[0].batch.batch_id, type(error).__name__)
        return
    result.batches += len(group)
    result.events += sum(len(one.events) for one in group)
    result.new_events += sum(new_events)
    result.unreadable += sum(one.unreadable for one in group)
