from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from sendgrid.helpers.eventwebhook.eventwebhook_header import EventWebhookHeader

from uptake.adapters.sendgrid_events import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    SendGridEvents,
    parse,
    public_keys,
    verify,
)
from uptake.domain.sends import DeliveryEventType, suppression_from
from uptake.errors import SettingsError

KEY = b"k" * 32
NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
PRIVATE = ec.generate_private_key(ec.SECP256R1())
PUBLIC = (PRIVATE.public_key(),)
BODY = b'[{"event":"delivered","email":"eve@customer.example","timestamp":1772528400}]\r\n'
STAMP = str(int(NOW.timestamp()))


def sign(timestamp: str, body: bytes, private: ec.EllipticCurvePrivateKey = PRIVATE) -> str:
    return base64.b64encode(private.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()


def is_genuine(body: bytes = BODY, signature: str | None = None, timestamp: str = STAMP, now: datetime = NOW) -> bool:
    signature = sign(timestamp, body) if signature is None else signature
    return verify(body, signature=signature, timestamp=timestamp, keys=PUBLIC, now=now)


def read(*raw: object) -> tuple[list, int]:
    return parse(json.dumps(list(raw)).encode(), key=KEY, received_at=NOW)


def an_event(**changes: object) -> dict[str, object]:
    return {
        "event": "delivered",
        "email": "eve@customer.example",
        "timestamp": 1772528400,
        "sg_message_id": "m1",
        "uptake_send_id": "s1",
        **changes,
    }


# --- genuine or not ---------------------------------------------------------------------------------------


def test_the_ten_vectors_of_three_sdks_are_decided_rightly(shared_data):
    vectors = json.loads((shared_data / "sendgrid-webhook" / "vectors.json").read_text())
    assert len(vectors) == 10
    for vector in vectors:
        whole = {**vectors[vector["use"]], **vector} if "use" in vector else vector
        signed_at = whole["timestamp"] if whole["timestamp"].isdecimal() else "1600000000"
        decided = verify(
            whole["payload"].encode(),
            signature=whole["signature"],
            timestamp=whole["timestamp"],
            keys=public_keys(whole["public_key"]),
            now=datetime.fromtimestamp(int(signed_at), UTC) + timedelta(minutes=1),
        )
        assert decided is whole["valid"], vector["source"]


def test_the_headers_are_the_ones_that_sendgrids_sdk_names():
    assert (SIGNATURE_HEADER, TIMESTAMP_HEADER) == (EventWebhookHeader.SIGNATURE, EventWebhookHeader.TIMESTAMP)


def test_a_signed_body_is_genuine_for_25_hours():
    hours, second = timedelta(hours=25), timedelta(seconds=1)
    assert is_genuine(now=NOW + hours)
    assert is_genuine(now=NOW - hours)
    assert not is_genuine(now=NOW + hours + second)
    assert not is_genuine(now=NOW - hours - second)


def test_one_byte_more_or_less_is_another_body():
    signature = sign(STAMP, BODY)
    assert is_genuine(signature=signature)
    assert not is_genuine(BODY.rstrip(), signature)
    assert not is_genuine(BODY + b" ", signature)
    assert not is_genuine(json.dumps(json.loads(BODY)).encode(), signature)


def test_no_digit_can_move_between_timestamp_and_body():
    for body in (b"0" + BODY, b"0[]"):
        assert not is_genuine(body, timestamp=STAMP)
        assert not is_genuine(body, sign(STAMP[:-1], body), STAMP[:-1])
    assert not is_genuine(BODY[1:], sign(STAMP + "[", BODY[1:]), STAMP + "[")


@pytest.mark.parametrize(
    "timestamp", ["", "x", STAMP + "0", STAMP[:-1], " " + STAMP[1:], STAMP + "\n", "１" * 10, "-" + STAMP[1:]]
)
def test_a_timestamp_is_ten_digits(timestamp):
    assert not is_genuine(timestamp=timestamp)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text + "=causing failure",
        lambda text: text[:-4],
        lambda text: "!" + text[1:],
        lambda text: text + "\n",
        lambda text: "é" * 96,
        lambda text: base64.b64encode(b"\x30\x06\x02\x01\x00\x02\x01\x00").decode(),
        lambda text: base64.b64encode(base64.b64decode(text)[:-1]).decode(),
    ],
)
def test_a_broken_signature_is_no_signature(change):
    assert not is_genuine(signature=change(sign(STAMP, BODY)))


@given(st.integers(0, 8 * len(BODY) - 1))
def test_every_bit_of_the_body_counts(bit):
    changed = bytearray(BODY)
    changed[bit // 8] ^= 1 << bit % 8
    assert not is_genuine(bytes(changed), sign(STAMP, BODY))


@given(st.binary(max_size=80))
def test_noise_is_never_a_signature(noise):
    assert not is_genuine(signature=base64.b64encode(noise).decode())


def test_another_key_or_no_key_believes_nothing():
    other = ec.generate_private_key(ec.SECP256R1())
    assert not is_genuine(signature=sign(STAMP, BODY, other))
    assert not verify(BODY, signature=sign(STAMP, BODY), timestamp=STAMP, keys=(), now=NOW)


def test_a_key_is_read_as_sendgrid_shows_it():
    shown = base64.b64encode(PUBLIC[0].public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    keys = public_keys(f" {shown}\n", shown)
    assert len(keys) == 2
    assert verify(BODY, signature=sign(STAMP, BODY), timestamp=STAMP, keys=keys[:1], now=NOW)


@pytest.mark.parametrize(("given", "kept"), [(0, 0), ("7", 7), (2**31 - 1, 2**31 - 1), (2**31, None), (-1, None),
                                            ("9" * 10, None), ("1" * 11, None), ("1" * 5_000, None), (True, None),
                                            ("x", None)])  # fmt: skip
def test_a_group_is_a_number_that_any_database_takes(given, kept):
    (event,), _ = read(an_event(event="group_unsubscribe", asm_group_id=given))
    assert event.topic_group == kept


def test_two_keys_are_believed_while_one_replaces_the_other():
    other = ec.generate_private_key(ec.SECP256R1())
    keys = (other.public_key(), *PUBLIC)
    assert verify(BODY, signature=sign(STAMP, BODY), timestamp=STAMP, keys=keys, now=NOW)


def test_a_signature_can_be_rewritten_and_so_says_nothing_about_repeats():
    r, s = decode_dss_signature(base64.b64decode(sign(STAMP, BODY)))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = base64.b64encode(encode_dss_signature(r, order - s)).decode()
    assert is_genuine(signature=twin)  # which is why events are told apart by their keys alone


EDWARDS = ed25519.Ed25519PrivateKey.generate().public_key()


@pytest.mark.parametrize(
    "key",
    ["", "no key", base64.b64encode(EDWARDS.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()],
    ids=["empty", "no base64", "another curve"],
)
def test_an_unusable_public_key_is_said_in_one_line(key):
    with pytest.raises(SettingsError, match="UPTAKE_WEBHOOK_PUBLIC_KEY"):
        public_keys(key)


# --- what it says -----------------------------------------------------------------------------------------


def test_sendgrids_own_samples_are_all_read(shared_data):
    body = (shared_data / "sendgrid-webhook" / "events_all_types_official.json").read_bytes()
    events, unreadable = parse(body, key=KEY, received_at=NOW)
    assert unreadable == 0
    assert {event.event for event in events} == set(DeliveryEventType) - {DeliveryEventType.OTHER}
    assert len({event.event_key for event in events}) == 12  # bounce and blocked share an sg_event_id
    bounce, blocked = (event for event in events if event.event is DeliveryEventType.BOUNCE)
    assert suppression_from(bounce.event, bounce.kind, bounce.reason) is not None
    assert suppression_from(blocked.event, blocked.kind, blocked.reason) is None
    assert {event.topic_group for event in events} == {None, 10}
    assert {event.url for event in events} == {"", "http://www.sendgrid.com/"}


@pytest.mark.parametrize("category", ["cats", ["cats", "dogs"], None, 7])
def test_a_category_is_a_string_or_a_list_and_changes_nothing(category):
    (event,), unreadable = read(an_event(category=category))
    assert (event.event, event.send_id, event.sg_message_id, unreadable) == (DeliveryEventType.DELIVERED, "s1", "m1", 0)
    assert event.occurred_at == datetime(2026, 3, 3, 9, tzinfo=UTC)


def test_an_asynchronous_bounce_has_no_id_and_still_an_address():
    bounce = {"event": "bounce", "type": "bounce", "email": "Eve@customer.example", "timestamp": 1772528400}
    (first, second, other), unreadable = read(
        bounce, {**bounce, "sg_message_id": ""}, {**bounce, "email": "al@x.example"}
    )
    assert unreadable == 0
    assert first.send_id is None
    assert first.sg_message_id is None
    assert first.address == "Eve@customer.example"
    assert first.event_key == second.event_key
    assert first.event_key != other.event_key


def test_the_same_news_has_the_same_key_and_other_news_another():
    (base, *others), _ = read(
        an_event(),
        an_event(event="open"),
        an_event(type="x"),
        an_event(timestamp=1772528401),
        an_event(url="https://docs.acme.example/"),
        an_event(uptake_send_id="s2"),
    )
    assert len({base.event_key, *(event.event_key for event in others)}) == 6
    (again, resent), _ = read(an_event(extra="new field", sg_event_id="z"), an_event(sg_message_id="m2"))
    assert again.event_key == base.event_key
    assert resent.event_key == base.event_key


def test_a_later_release_knows_the_events_that_an_earlier_one_has_stored():
    """Their keys stand in the ledger: made in another way, all that SendGrid repeats would be news."""
    bounce = {"event": "bounce", "type": "bounce", "email": " Eve@customer.example", "timestamp": 1772528400}
    events, _ = read(
        an_event(type="x", url="https://docs.acme.example/"),
        bounce,
        {**bounce, "sg_message_id": "m1", "timestamp": None},
        an_event(event="group_unsubscribe", asm_group_id=7),
    )
    assert [event.event_key for event in events] == [
        "957a9ba2915bb8976994b50fb5c0c565",
        "9164186d26fbee7a3fb8fb4c2277b899",
        "8a1a5083dc7c3cd8a5f6d50bc4071857",
        "60950f1f8c98594e1e18af57d343d3e1",
    ]


def test_two_groups_that_are_left_in_one_second_are_two_events():
    seven, eight, none = read(
        *(an_event(event="group_unsubscribe", asm_group_id=group) for group in (7, 8)),
        an_event(event="group_unsubscribe"),
    )[0]
    assert len({seven.event_key, eight.event_key, none.event_key}) == 3
    opened, clicked_on = read(*(an_event(event="open", asm_group_id=group) for group in (7, 8)))[0]
    assert opened.event_key == clicked_on.event_key, "of other events the group says nothing new"


def test_a_key_gives_no_address_away():
    bounce = {"event": "bounce", "email": "eve@customer.example", "timestamp": 1772528400}
    one = parse(json.dumps([bounce]).encode(), key=KEY, received_at=NOW)[0][0].event_key
    other = parse(json.dumps([bounce]).encode(), key=b"z" * 32, received_at=NOW)[0][0].event_key
    assert one != other


def test_new_kinds_of_event_are_kept_and_counted_as_other():
    (event,), unreadable = read(an_event(event="account_status_change", type="compliance_suspend"))
    assert (event.event, event.kind, unreadable) == (DeliveryEventType.OTHER, "account_status_change", 0)


@pytest.mark.parametrize("field", ["reason", "response"])
def test_what_a_server_says_is_kept_without_the_address(field):
    (event,), _ = read(an_event(event="bounce", **{field: "550 <eve@customer.example> unknown"}))
    assert event.reason == "550 <[address]> unknown"


@pytest.mark.parametrize("timestamp", [None, "soon", "", 0, -5, 10**30, float("inf"), [1]])
def test_an_event_without_a_usable_time_gets_the_time_it_came(timestamp):
    (event,), unreadable = parse(
        json.dumps([an_event(timestamp=timestamp)]).encode(), key=KEY, received_at=NOW + timedelta(minutes=1)
    )
    assert (event.occurred_at, unreadable) == (NOW + timedelta(minutes=1), 0)


def test_a_time_may_be_text():
    (event,), _ = read(an_event(timestamp="1772528400"))
    assert event.occurred_at == NOW


def test_one_odd_event_spoils_no_other():
    events, unreadable = read(an_event(), 7, None, [], {}, {"event": ""}, {"event": 7}, an_event(uptake_send_id="s2"))
    assert [event.send_id for event in events] == ["s1", "s2"]
    assert unreadable == 6


@pytest.mark.parametrize("body", [b"", b"[", b"\xff", b'[{"event":"open"}] [', b"[" * 100_000, b'{"event": '])
def test_a_body_that_is_no_json_is_counted(body):
    assert parse(body, key=KEY, received_at=NOW) == ([], 1)


def test_odd_text_can_be_stored_anywhere():
    (event,), unreadable = parse(
        b'[{"event":"bounce","reason":"a\\u0000b\\ud800c","email":"e@x.example"}]', key=KEY, received_at=NOW
    )
    assert (event.reason, unreadable) == ("abc", 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["event", "email", "timestamp", "type", "url", "reason", "asm_group_id", "uptake_send_id", "x"]
)


@given(st.lists(st.dictionaries(FIELDS, JSON | st.sampled_from(["bounce", "delivered"]))))
def test_whatever_comes_is_read_or_counted(raw):
    events, unreadable = SendGridEvents(KEY).read(json.dumps(raw).encode(), received_at=NOW)
    assert len(events) + unreadable == len(raw)
    assert all(event.occurred_at.tzinfo is not None for event in events)


@given(st.binary())
def test_any_bytes_are_read_or_counted(body):
    parse(body, key=KEY, received_at=NOW)
