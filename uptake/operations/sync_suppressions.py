"""Makes our suppressions and the mail service's the same: whoever is on either list is on both. Nobody is taken off.

A stop holds here from its commit on; this tells the service, for whoever else sends through it, and learns what it
knows from elsewhere. Without a memory of its own: it compares both sides whole, so it can be repeated and killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from uptake.domain.ids import address_hash
from uptake.domain.sends import SuppressionReason
from uptake.ports import Keys, Ledger, SuppressionLists

SOURCE = "mail service"
#: The service's lists that stop everything.
_OF_EVERYTHING = (
    SuppressionReason.BOUNCED,
    SuppressionReason.COMPLAINED,
    SuppressionReason.INVALID,
    SuppressionReason.UNSUBSCRIBED,
)


@dataclass(frozen=True, kw_only=True)
class Synced:
    """How many addresses were new, on either side."""

    told: int
    learned: int


def sync_suppressions(
    ledger: Ledger, keys: Keys, lists: SuppressionLists, topics: Mapping[str, int], *, now: datetime
) -> Synced:
    """Compare every list and add to each what the other has.

    Args:
        ledger: Where suppressions live.
        keys: The key ring; addresses are hashed with its pseudonym key.
        lists: The mail service's.
        topics: Topic -> unsubscribe group of the mail service.
        now: When.

    Raises:
        MailerError: And its kin; what was done before stays done.
    """
    told = learned = 0
    stopped = ledger.people.unsubscribed()
    for reason in _OF_EVERYTHING:
        there = lists.of_everything(reason)
        learned += _learn(ledger, keys, there, reason, topic=None, now=now)
        if reason is SuppressionReason.UNSUBSCRIBED:
            told += _tell(lists, stopped.get("", set()) - there, group=None)
    for topic, group in topics.items():
        there = lists.of_group(group)
        learned += _learn(ledger, keys, there, SuppressionReason.UNSUBSCRIBED, topic=topic, now=now)
        told += _tell(lists, stopped.get(topic, set()) - there, group=group)
    return Synced(told=told, learned=learned)


def tell_stops(ledger: Ledger, lists: SuppressionLists, topics: Mapping[str, int], *, since: datetime) -> int:
    """Tell the mail service of whoever unsubscribed here since; return of how many. May be repeated.

    For the minutes after an unsubscribe; whatever this misses, `sync_suppressions` finds at night.

    Raises:
        MailerError: And its kin; what was told before stays told.
    """
    stopped = ledger.people.unsubscribed(since=since)
    told = _tell(lists, stopped.get("", set()), group=None)
    return told + sum(_tell(lists, stopped.get(topic, set()), group=group) for topic, group in topics.items())


def _learn(
    ledger: Ledger, keys: Keys, addresses: set[str], reason: SuppressionReason, *, topic: str | None, now: datetime
) -> int:
    """Suppress those that are not; a time that is known already stays."""
    hashes = {address_hash(keys.pseudonym, address) for address in addresses}
    new = sorted(hashes - ledger.people.suppressed(reason=reason, topic=topic))
    if new:
        ledger.people.suppress_all(new, reason=reason, topic=topic, source=SOURCE, now=now)
    return len(new)


def _tell(lists: SuppressionLists, addresses: set[str], *, group: int | None) -> int:
    if addresses:
        lists.add(sorted(addresses), group=group)
    return len(addresses)
