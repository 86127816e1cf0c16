"""Signed tokens for the pages a recipient may open: unsubscribe and preferences.

They say which contact, topic and feature, never an address, and never expire: the law wants links to work for long.
"""

from __future__ import annotations

import hashlib
import hmac
from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from itsdangerous import BadData, URLSafeSerializer

_SALT = "uptake-recipient"
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a token says."""

    contact_id: str
    topic: str
    feature_key: str


class Tokens:
    """Signs with the newest key and reads with every key there ever was."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take the keys newest first, as `uptake.ports.Keys.tokens` holds them."""
        self._serializer = URLSafeSerializer(
            list(reversed(keys)),
            salt=_SALT,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
        self._newest = self._serializer.make_signer().derive_key()

    def sign(self, claim: Claim) -> str:
        """Return the token of a claim."""
        # The bytes that the serializer's own `dumps` makes (tested), but for its try at compressing: an id of random
        # digits hardly shrinks. It would derive the key again for each mail, and all that takes five times as long.
        payload = _encoded(orjson.dumps([claim.contact_id, claim.topic, claim.feature_key]))
        return (payload + b"." + _encoded(hmac.digest(self._newest, payload, "sha256"))).decode()

    def read(self, token: str) -> Claim | None:
        """Return what a token says; None when we did not sign it."""
        try:
            contact_id, topic, feature_key = self._serializer.loads(token)
        except (BadData, ValueError, TypeError):
            return None
        return Claim(contact_id=contact_id, topic=topic, feature_key=feature_key)


def _encoded(data: bytes) -> bytes:
    """Return what `itsdangerous.encoding.base64_encode` does, in a quarter of the calls."""
    return b2a_base64(data, newline=False).translate(_URL_SAFE, b"=")


class RecipientLinks:
    """The addresses of the recipient's pages (`uptake.ports.Links`)."""

    def __init__(self, tokens: Tokens, public_url: str) -> None:
        self._tokens = tokens
        self._base = public_url.rstrip("/")

    def unsubscribe_url(self, *, contact_id: str, topic: str, feature_key: str) -> str:
        """Return the address of the one-click unsubscribe page of one contact and topic."""
        claim = Claim(contact_id=contact_id, topic=topic, feature_key=feature_key)
        return f"{self._base}/u/{self._tokens.sign(claim)}"
