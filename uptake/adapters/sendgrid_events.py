"""Reads SendGrid's event webhook: is the body genuine, and what does it say?

Everything is checked on the raw bytes. A body is never refused for one odd event: what cannot be read is counted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from uptake.adapters.sendgrid import SEND_ID_ARG
from uptake.domain.ids import keyed_hash
from uptake.domain.sends import TOPIC_EVENTS, DeliveryEvent, DeliveryEventType
from uptake.errors import SettingsError

SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"
#: SendGrid tries again for 24 hours; whether it signs anew is not documented.
REPLAY_WINDOW = timedelta(hours=25)

_TIMESTAMP = re.compile(r"[0-9]{10}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ADDRESS = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+")
_PREHASHED = ec.ECDSA(Prehashed(hashes.SHA256()))
_LATEST = 32_503_680_000  # the year 3000; beyond it a timestamp is in milliseconds or nonsense
_TYPES = {event.value: event for event in DeliveryEventType}

PublicKey = ec.EllipticCurvePublicKey


def public_keys(*encoded: str) -> tuple[PublicKey, ...]:
    """Read the public keys that SendGrid shows (base64 of DER); several while one replaces another.

    Raises SettingsError.
    """
    keys = []
    for text in encoded:
        try:
            key = load_der_public_key(base64.b64decode(text.strip(), validate=True))
        except (ValueError, TypeError) as error:
            raise SettingsError(
                "UPTAKE_WEBHOOK_PUBLIC_KEY cannot be read; expected the key that SendGrid's settings of the signed "
                "event webhook show"
            ) from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise SettingsError("UPTAKE_WEBHOOK_PUBLIC_KEY is no elliptic-curve key, as SendGrid's are")
        keys.append(key)
    return tuple(keys)


def verify(
    body: bytes,
    *,
    signature: str,
    timestamp: str,
    keys: Sequence[PublicKey],
    now: datetime,
    window: timedelta = REPLAY_WINDOW,
) -> bool:
    """Tell whether SendGrid signed these very bytes, not longer ago than `window`.

    Timestamp and body are signed without a separator between them, so a digit could move from one to the other:
    ten digits and a body that opens a JSON array or object leave it nowhere to go.
    """
    if _TIMESTAMP.fullmatch(timestamp) is None or body[:1] not in (b"[", b"{"):
        return False
    if abs(now - datetime.fromtimestamp(int(timestamp), UTC)) > window:
        return False
    try:
        decoded = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    signed = hashlib.sha256(timestamp.encode())
    signed.update(body)  # hashed here, so that a long body is not copied to put the timestamp before it
    return any(_is_signed(key, decoded, signed.digest()) for key in keys)


def _is_signed(key: PublicKey, signature: bytes, digest: bytes) -> bool:
    try:
        key.verify(signature, digest, _PREHASHED)
    except InvalidSignature:
        return False
    return True


def parse(body: bytes, *, key: bytes, received_at: datetime) -> tuple[list[DeliveryEvent], int]:
    """Return the events of one body and how many could not be read. Never raises.

    Args:
        body: As it came.
        key: The pseudonym key, for the event keys.
        received_at: Stands in for a missing timestamp.
    """
    try:
        found = _json(body)
    except (ValueError, RecursionError):
        return [], 1
    raw_events = found if isinstance(found, list) else [found]
    events = [_event(raw, key, received_at) for raw in raw_events]
    readable = [event for event in events if event is not None]
    return readable, len(events) - len(readable)


class SendGridEvents:
    """Reads stored webhook bodies (`uptake.ports.DeliveryEvents`)."""

    def __init__(self, pseudonym_key: bytes) -> None:
        self._key = pseudonym_key

    def read(self, body: bytes, *, received_at: datetime) -> tuple[list[DeliveryEvent], int]:
        """Return the events of one body and how many could not be read. Never raises."""
        return parse(body, key=self._key, received_at=received_at)


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except ValueError:
        return json.loads(body)  # slower, and reads what orjson will not, such as half a surrogate pair


def _event(raw: object, key: bytes, received_at: datetime) -> DeliveryEvent | None:
    """Return one event; None when it does not even say what happened."""
    if not isinstance(raw, dict) or not (name := _text(raw, "event")):
        return None
    occurred_at = _moment(raw.get("timestamp"))
    send_id = _text(raw, SEND_ID_ARG) or None
    message_id = _text(raw, "sg_message_id") or None
    address, kind, url = _text(raw, "email"), _text(raw, "type"), _text(raw, "url")
    # Asynchronous bounces carry neither id: then the address is all there is to know them by.
    who = send_id or f"{message_id or ''}:{keyed_hash(key, 'address', address.strip().lower())}"
    when = "" if occurred_at is None else str(int(occurred_at.timestamp()))
    event = _TYPES.get(name, DeliveryEventType.OTHER)
    group = _group(raw.get("asm_group_id"))
    # Somebody may leave two groups in one second: two events, which differ in nothing else.
    to = (str(group),) if event in TOPIC_EVENTS and group is not None else ()
    return DeliveryEvent(
        event_key=keyed_hash(key, "delivery_event", who, name, kind, when, url, *to),
        event=event,
        kind=name if event is DeliveryEventType.OTHER else kind,
        occurred_at=occurred_at or received_at,
        send_id=send_id,
        sg_message_id=message_id,
        address=address,
        url=url,
        reason=_ADDRESS.sub("[address]", (_text(raw, "reason") or _text(raw, "response"))[:500]),
        topic_group=group,
    )


def _group(value: object) -> int | None:
    """Return an unsubscribe group's id; None for what is none, so that no body can upset the database."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 11:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _text(raw: dict[str, Any], name: str) -> str:
    """Return a text field, fit for any database; empty when absent or of another type."""
    value = raw.get(name)
    if not isinstance(value, str):
        return ""
    # What prints holds nothing unstorable; to ask that is quicker than to look for it, and most texts do.
    return (value if value.isprintable() else _UNSTORABLE.sub("", value))[:2_000]


def _moment(value: object) -> datetime | None:
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < _LATEST else None
