"""Folds what the mail service told into the ledger: stored bodies first, one by one, in the order they came."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from uptake.errors import LedgerError
from uptake.ports import Clock, DeliveryEvents, Ledger

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class DeliveryResult:
    """What one run folded."""

    batches: int = 0
    events: int = 0  # read from the bodies, repeats included
    new_events: int = 0
    unreadable: int = 0
    stuck: int = 0  # batches that could not be folded; they stay, and others went on


def record_delivery(ledger: Ledger, events: DeliveryEvents, *, clock: Clock, limit: int = 100) -> DeliveryResult:
    """Fold every stored webhook body that is not folded yet.

    A body that cannot be read is marked with its count of unreadable events; one that cannot be folded stays, is
    logged by its id, and holds up nobody else's events. Raises LedgerError when the ledger itself is out of reach.
    """
    result = DeliveryResult()
    stuck: set[int] = set()
    while True:
        batches = [batch for batch in ledger.delivery.unfolded(limit + len(stuck)) if batch.batch_id not in stuck]
        if not batches:
            break
        for batch in batches:
            found, unreadable = events.read(batch.body, received_at=batch.received_at)
            try:
                new_events = ledger.delivery.fold(batch, found, unreadable=unreadable, now=clock.now())
            except LedgerError:
                raise
            except Exception as error:
                stuck.add(batch.batch_id)
                _log.error("webhook batch %d cannot be folded (%s)", batch.batch_id, type(error).__name__)
                continue
            result.batches += 1
            result.events += len(found)
            result.new_events += new_events
            result.unreadable += unreadable
    result.stuck = len(stuck)
    if result.batches or stuck:
        _log.info(
            "folded %d webhook batches: %d events, %d new, %d unreadable; %d stuck",
            result.batches, result.events, result.new_events, result.unreadable, result.stuck,
        )  # fmt: skip
    return result
