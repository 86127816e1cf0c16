from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.sends import (
    ENDED,
    OPEN,
    TAKEN,
    DeliveryEventType,
    SendStatus,
    SuppressionReason,
    fold,
    proven_status,
    suppression_from,
)

EVENT_LISTS = st.lists(st.sampled_from(DeliveryEventType), max_size=6)
STATUSES = st.sampled_from(SendStatus)


def test_every_status_is_either_open_or_ended():
    assert frozenset(SendStatus) == OPEN | ENDED
    assert not OPEN & ENDED
    assert TAKEN <= ENDED


def test_nobody_is_ever_planned_again_by_an_unknown_answer():
    assert SendStatus.UNKNOWN in OPEN
    assert SendStatus.SENDING in OPEN


@given(STATUSES, EVENT_LISTS)
def test_order_and_repeats_of_events_change_nothing(status, events):
    once = fold(status, events)
    assert fold(status, events + events) == once
    assert fold(once, events) == once
    for order in list(permutations(events))[:24]:
        assert fold(status, order) == once


@given(STATUSES, EVENT_LISTS, EVENT_LISTS)
def test_events_may_come_in_two_posts(status, first, second):
    assert fold(fold(status, first), second) == fold(status, first + second)


@given(STATUSES)
def test_no_event_changes_nothing(status):
    assert fold(status, []) == status
    assert fold(status, [DeliveryEventType.OTHER]) == status


@pytest.mark.parametrize(
    "status",
    [
        SendStatus.PLANNED,
        SendStatus.CLAIMED,
        SendStatus.SENDING,
        SendStatus.UNKNOWN,
        SendStatus.HELD,
        SendStatus.FAILED,
        SendStatus.WITHHELD,
    ],
)
@pytest.mark.parametrize("event", [event for event in DeliveryEventType if proven_status(event) is not None])
def test_any_proof_beats_what_we_guessed(status, event):
    assert fold(status, [event]) in TAKEN


@given(STATUSES, EVENT_LISTS)
def test_a_taken_message_stays_taken(status, events):
    if status in TAKEN:
        assert fold(status, events) in TAKEN


def test_a_bounce_after_a_delivery_counts():
    assert fold(SendStatus.DELIVERED, [DeliveryEventType.BOUNCE]) == SendStatus.BOUNCED


def test_a_click_proves_delivery_when_the_delivered_event_was_lost():
    assert fold(SendStatus.UNKNOWN, [DeliveryEventType.CLICK]) == SendStatus.DELIVERED


@pytest.mark.parametrize(
    ("event", "kind", "reason", "suppressed"),
    [
        ("bounce", "bounce", "500 unknown recipient", SuppressionReason.BOUNCED),
        ("bounce", "", "", SuppressionReason.BOUNCED),
        ("bounce", "blocked", "500 unknown recipient", None),
        ("bounce", "bounce", "550 5.7.515 Access denied, sending domain does not meet the level", None),
        ("spamreport", "", "", SuppressionReason.COMPLAINED),
        ("unsubscribe", "", "", SuppressionReason.UNSUBSCRIBED),
        ("group_unsubscribe", "", "", None),
        ("dropped", "", "Bounced Address", SuppressionReason.BOUNCED),
        ("dropped", "", "Spam Reporting Address", SuppressionReason.COMPLAINED),
        ("dropped", "", "Unsubscribed Address", SuppressionReason.UNSUBSCRIBED),
        ("dropped", "", "Invalid", SuppressionReason.INVALID),
        ("dropped", "", "Recipient List over Package Quota", None),
        ("delivered", "", "", None),
        ("other", "account_status_change", "", None),
    ],
)
def test_only_lasting_refusals_suppress_an_address(event, kind, reason, suppressed):
    assert suppression_from(DeliveryEventType(event), kind, reason) == suppressed


@pytest.mark.parametrize(
    ("event", "proven"),
    [
        ("processed", "accepted"), ("deferred", "accepted"), ("delivered", "delivered"), ("open", "delivered"),
        ("click", "delivered"), ("spamreport", "delivered"), ("unsubscribe", "delivered"),
        ("group_unsubscribe", "delivered"), ("group_resubscribe", "delivered"), ("bounce", "bounced"),
        ("dropped", "dropped"), ("other", None),
    ],
)  # fmt: skip
def test_the_table_of_what_events_prove(event, proven):
    """Written out once more: of a table that is only used, nobody notices a wrong line."""
    assert proven_status(DeliveryEventType(event)) == proven


def test_the_table_is_whole():
    assert len(DeliveryEventType) == 12
    assert [fold(SendStatus.ACCEPTED, [DeliveryEventType(one)]) for one in ("delivered", "bounce", "dropped")] == [
        SendStatus.DELIVERED, SendStatus.BOUNCED, SendStatus.DROPPED,
    ]  # fmt: skip
    assert fold(SendStatus.DROPPED, list(DeliveryEventType)) == SendStatus.DROPPED
    assert fold(SendStatus.BOUNCED, [DeliveryEventType.DELIVERED, DeliveryEventType.OPEN]) == SendStatus.BOUNCED


@pytest.mark.parametrize(
    ("event", "kind", "reason", "stopped"),
    [
        ("bounce", "bounce", "550 5.1.1 no such user", "bounced"), ("bounce", "", "", "bounced"),
        ("bounce", "blocked", "", None), ("bounce", "bounce", "550 5.7.515 access denied", None),
        ("spamreport", "", "", "complained"), ("unsubscribe", "", "", "unsubscribed"),
        ("dropped", "", "Bounced Address", "bounced"), ("dropped", "", "Spam Reporting Address", "complained"),
        ("dropped", "", "Unsubscribed Address", "unsubscribed"), ("dropped", "", "Invalid", "invalid"),
        ("dropped", "", "Spam Content", None), ("group_unsubscribe", "", "", None), ("delivered", "", "", None),
    ],
)  # fmt: skip
def test_the_table_of_what_stops_an_address(event, kind, reason, stopped):
    assert suppression_from(DeliveryEventType(event), kind, reason) == stopped
