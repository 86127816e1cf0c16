"""The life of one message to one contact, and what the mail service may tell about it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class SendStatus(StrEnum):
    """Where a send stands."""

    PLANNED = "planned"  #: decided; no worker has taken it
    CLAIMED = "claimed"  #: a worker holds it under a lease; an expired lease frees it
    SENDING = "sending"  #: intent committed, the request may have left; a lease never frees it
    ACCEPTED = "accepted"  #: the service answered 202, or an event proved it
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    DROPPED = "dropped"  #: accepted, then not delivered by the service's own suppression
    UNKNOWN = "unknown"  #: nobody knows whether it was accepted: resolved by evidence only
    HELD = "held"  #: no evidence came; waits for a person
    FAILED = "failed"  #: certainly not sent, with a reason
    WITHHELD = "withheld"  #: planned, then stopped before the intent, with a reason
    SANDBOXED = "sandboxed"  #: validated by the service in sandbox mode, sent to nobody


#: The service took the message: it counts as a touch, against caps and as a finished stage.
TAKEN = frozenset({SendStatus.ACCEPTED, SendStatus.DELIVERED, SendStatus.BOUNCED, SendStatus.DROPPED})
#: The stage is over, one way or the other; the journey moves on.
ENDED = TAKEN | {SendStatus.FAILED, SendStatus.WITHHELD, SendStatus.SANDBOXED}
#: Not decided yet whether a message left: the journey waits.
OPEN = frozenset(SendStatus) - ENDED


class DeliveryEventType(StrEnum):
    """SendGrid's event names; anything else is stored and counted as `other`."""

    PROCESSED = "processed"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCE = "bounce"  #: with type `blocked` it is temporary and suppresses nobody
    DROPPED = "dropped"
    OPEN = "open"
    CLICK = "click"
    SPAM_REPORT = "spamreport"
    UNSUBSCRIBE = "unsubscribe"
    GROUP_UNSUBSCRIBE = "group_unsubscribe"
    GROUP_RESUBSCRIBE = "group_resubscribe"
    OTHER = "other"


#: They stop, or take up again, one group of the mail service.
TOPIC_EVENTS = frozenset({DeliveryEventType.GROUP_UNSUBSCRIBE, DeliveryEventType.GROUP_RESUBSCRIBE})


class SuppressionReason(StrEnum):
    """Why an address gets nothing more."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    INVALID = "invalid"
    ERASED = "erased"
    IMPORTED = "imported"  #: on a do-not-contact list from outside


class DeliveryEvent(NamedTuple):
    """One thing the mail service says about one message; `send_id` is None on asynchronous bounces."""

    event_key: str
    event: DeliveryEventType
    kind: str  # SendGrid's `type`, e.g. `bounce` or `blocked`; "" where absent
    occurred_at: datetime
    send_id: str | None
    sg_message_id: str | None
    address: str
    url: str
    reason: str
    topic_group: int | None


# How far an event proves a message has come; a fold takes the highest, so order and repeats do not matter.
_RANK: dict[SendStatus, int] = {
    SendStatus.ACCEPTED: 1,
    SendStatus.DELIVERED: 2,
    SendStatus.BOUNCED: 3,
    SendStatus.DROPPED: 4,
}

_PROVES: dict[DeliveryEventType, SendStatus] = {
    DeliveryEventType.PROCESSED: SendStatus.ACCEPTED,
    DeliveryEventType.DEFERRED: SendStatus.ACCEPTED,
    DeliveryEventType.DELIVERED: SendStatus.DELIVERED,
    DeliveryEventType.OPEN: SendStatus.DELIVERED,
    DeliveryEventType.CLICK: SendStatus.DELIVERED,
    DeliveryEventType.SPAM_REPORT: SendStatus.DELIVERED,
    DeliveryEventType.UNSUBSCRIBE: SendStatus.DELIVERED,
    DeliveryEventType.GROUP_UNSUBSCRIBE: SendStatus.DELIVERED,
    DeliveryEventType.GROUP_RESUBSCRIBE: SendStatus.DELIVERED,
    DeliveryEventType.BOUNCE: SendStatus.BOUNCED,
    DeliveryEventType.DROPPED: SendStatus.DROPPED,
}


def proven_status(event: DeliveryEventType) -> SendStatus | None:
    """Return what an event proves about its send; None when it proves nothing."""
    return _PROVES.get(event)


def fold(status: SendStatus, events: Iterable[DeliveryEventType]) -> SendStatus:
    """Return the status of a send after these events, in whatever order and however often they came.

    An event is a fact and a status before acceptance is our guess: any proof beats `unknown`, `held` or `failed`.
    """
    best = status
    for event in events:
        proven = proven_status(event)
        if proven is not None and _RANK[proven] > _RANK.get(best, 0):
            best = proven
    return best


def suppression_from(event: DeliveryEventType, kind: str, reason: str) -> SuppressionReason | None:
    """Return why this event stops all mail to its address; None when it does not.

    `blocked` is temporary, and so is a refusal that names the sender's fault: the address is good. Topic
    unsubscribes are handled by topic, not here.
    """
    match event:
        case DeliveryEventType.BOUNCE if kind != "blocked" and not any(code in reason for code in _SENDER_FAULTS):
            return SuppressionReason.BOUNCED
        case DeliveryEventType.SPAM_REPORT:
            return SuppressionReason.COMPLAINED
        case DeliveryEventType.UNSUBSCRIBE:
            return SuppressionReason.UNSUBSCRIBED
        case DeliveryEventType.DROPPED:
            return _DROP_REASONS.get(reason)
        case _:
            return None


_SENDER_FAULTS = ("5.7.515",)  # Microsoft: the sender's domain is not authenticated
_DROP_REASONS = {
    "Bounced Address": SuppressionReason.BOUNCED,
    "Spam Reporting Address": SuppressionReason.COMPLAINED,
    "Unsubscribed Address": SuppressionReason.UNSUBSCRIBED,
    "Invalid": SuppressionReason.INVALID,
}
