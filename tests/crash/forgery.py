"""T8: whoever posts without SendGrid's key is refused, and whoever posts again what was genuine changes nothing."""

from __future__ import annotations

import asyncio
import base64
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.crash.outbox import KEYS, NOW
from tests.crash.storm import AT_ONCE, PRIVATE, STAMP, Storm, brew, contacts_of, digest, signed
from tests.crash.visitors import Headers, call
from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.ledger.schema import webhook_batches
from uptake.adapters.sendgrid_events import SIGNATURE_HEADER, TIMESTAMP_HEADER, SendGridEvents
from uptake.adapters.tokens import Tokens
from uptake.operations.record_delivery import record_delivery
from uptake.testing import FixedClock
from uptake.web_public import create_public_app

#: The order of P-256: (r, s) and (r, n - s) sign the same.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_CURVES = tuple(ec.generate_private_key(curve) for curve in (ec.SECP256K1(), ec.SECP384R1(), ec.SECP521R1()))
LIE = b'[{"event":"unsubscribe","email":"c00001@customer.example","timestamp":1772528400}]'

Post = tuple[Headers, bytes]


@dataclass(frozen=True, kw_only=True)
class Genuine:
    """One body that SendGrid did sign, and what an eavesdropper has of it."""

    body: bytes
    der: bytes

    @property
    def headers(self) -> list[tuple[str, str]]:
        return _headers(self.der)


def _headers(der: bytes, stamp: str = STAMP) -> list[tuple[str, str]]:
    return [(SIGNATURE_HEADER, base64.b64encode(der).decode()), (TIMESTAMP_HEADER, stamp)]


def _sign(key: ec.EllipticCurvePrivateKey, body: bytes, stamp: str = STAMP) -> bytes:
    return key.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))


def _flip(text: bytes, chance: random.Random) -> bytes:
    bit = chance.randrange(len(text) * 8)
    changed = bytearray(text)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def _numbers(der: bytes, chance: random.Random) -> bytes:
    """Another pair of numbers around a genuine one."""
    r, s = decode_dss_signature(der)
    pairs = [(0, 0), (0, s), (r, 0), (s, r), (ORDER - r, s), (r, s + ORDER), (r + ORDER, s), (r, 1), (1, 1), (r, ORDER)]
    return encode_dss_signature(*chance.choice(pairs))


def _other_stamp(chance: random.Random) -> str:
    digits = list(STAMP)
    place = chance.randrange(len(digits))
    digits[place] = chance.choice([digit for digit in "0123456789" if digit != digits[place]])
    return "".join(digits)


def _stale(chance: random.Random) -> str:
    return str(int(STAMP) + chance.choice((-1, 1)) * chance.randrange(25 * 3600 + 1, 10**8))


def _odd_stamp(stamp: str, chance: random.Random) -> str:
    return chance.choice(
        (f" {stamp}", f"{stamp} ", f"+{stamp}", f"{stamp}.0", f"0{stamp}", stamp[:-1], f"{stamp[:-1]}\u00b9",
         f"{stamp}\n", "1e9", "", "nan", f"{stamp}000")
    )  # fmt: skip


#: What is tried, by name; each answers headers and a body that nobody with the key has made so.
FORGERIES: Mapping[str, Callable[[Genuine, random.Random], Post]] = {
    "a bit of the body": lambda one, chance: (one.headers, _flip(one.body, chance)),
    "a bit of the signature": lambda one, chance: (_headers(_flip(one.der, chance)), one.body),
    "another timestamp": lambda one, chance: (_headers(one.der, _other_stamp(chance)), one.body),
    "no signature": lambda one, chance: (one.headers[1:], one.body),
    "no timestamp": lambda one, chance: (one.headers[:1], one.body),
    "no headers": lambda one, chance: ([], one.body),
    "an empty signature": lambda one, chance: ([(SIGNATURE_HEADER, ""), one.headers[1]], one.body),
    "an empty timestamp": lambda one, chance: ([one.headers[0], (TIMESTAMP_HEADER, "")], one.body),
    "two signatures": lambda one, chance: (
        chance.sample([*one.headers, _headers(_sign(OTHER_KEY, one.body))[0]], 3), one.body),
    "the signature twice": lambda one, chance: ([*one.headers, one.headers[0]], one.body),
    "two timestamps": lambda one, chance: (
        chance.sample([*one.headers, (TIMESTAMP_HEADER, _other_stamp(chance))], 3), one.body),
    "two signatures in one header": lambda one, chance: (
        [(SIGNATURE_HEADER, f"{one.headers[0][1]}, {one.headers[0][1]}"), one.headers[1]], one.body),
    "another key": lambda one, chance: (_headers(_sign(OTHER_KEY, one.body)), one.body),
    "another curve": lambda one, chance: (_headers(_sign(chance.choice(OTHER_CURVES), one.body)), one.body),
    "a truncated signature": lambda one, chance: (_headers(one.der[: chance.randrange(len(one.der))]), one.body),
    "a longer signature": lambda one, chance: (_headers(one.der + chance.randbytes(chance.randrange(1, 9))), one.body),
    "other numbers": lambda one, chance: (_headers(_numbers(one.der, chance)), one.body),
    "noise": lambda one, chance: (_headers(chance.randbytes(chance.randrange(90))), one.body),
    "no base64": lambda one, chance: (
        [(SIGNATURE_HEADER, chance.choice(("=", "\u00e9", "a b", "====", "-_-_", "A" * 5_001))), one.headers[1]],
        one.body),
    "another body": lambda one, chance: (one.headers, LIE),
    "more JSON after the array": lambda one, chance: (
        one.headers, one.body.rstrip() + chance.choice((b"", b",", b"\r\n")) + LIE),
    "another array before it": lambda one, chance: (one.headers, LIE + one.body),
    "a shorter body": lambda one, chance: (one.headers, one.body[: chance.randrange(len(one.body))]),
    "white space": lambda one, chance: (one.headers, chance.choice((b" ", b"\n", b"\xef\xbb\xbf")) + one.body),
    "a digit moved into the body": lambda one, chance: (
        _headers(one.der, STAMP[:-1]), STAMP[-1:].encode() + one.body),
    "the first byte moved into the timestamp": lambda one, chance: (
        _headers(one.der, STAMP + one.body[:1].decode()), one.body[1:]),
    "a timestamp in other writing": lambda one, chance: (_headers(one.der, _odd_stamp(STAMP, chance)), one.body),
    "genuine and too old or too new": lambda one, chance: _signed_at(one.body, _stale(chance)),
    "genuine, with an odd timestamp": lambda one, chance: _signed_at(one.body, _odd_stamp(STAMP, chance)),
}  # fmt: skip


def _signed_at(body: bytes, stamp: str) -> Post:
    return _headers(PRIVATE.sign(stamp.encode("latin-1") + body, ec.ECDSA(hashes.SHA256())), stamp), body


def malleated(one: Genuine) -> Post:
    """The other signature of the same: a replay, to whoever does not look at signatures only."""
    r, s = decode_dss_signature(one.der)
    return _headers(encode_dss_signature(r, ORDER - s)), one.body


@dataclass(frozen=True, kw_only=True)
class Forged:
    """What a run came to."""

    forgeries: int
    replays: int
    losses: tuple[str, ...]


class Target:
    """A ledger that knows some genuine bodies, and the app in front of it."""

    def __init__(self, path: Path, seed: int, *, events: int = 200) -> None:
        self.ledger: SqlLedger = open_ledger(f"sqlite:///{path}", KEYS)
        self.app = create_public_app(
            self.ledger, tokens=Tokens(KEYS.tokens), clock=FixedClock(NOW), webhook_keys=(PRIVATE.public_key(),)
        )
        self.storm: Storm = brew(seed, events, contacts_of(self.ledger), most_bytes=6_000)
        self.genuine = [
            Genuine(body=body, der=base64.b64decode(signed(body)[SIGNATURE_HEADER])) for body in self.storm.bodies
        ]

    def close(self) -> None:
        self.ledger.close()

    def stored(self) -> int:
        """How many bodies are stored."""
        with self.ledger._store.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(webhook_batches)) or 0

    def fold(self) -> str:
        """Fold what is stored; return the digest of the state."""
        record_delivery(self.ledger, SendGridEvents(KEYS.pseudonym), clock=FixedClock(NOW))
        return digest(self.ledger)

    async def _post(self, post: Post) -> int:
        return (await call(self.app, "POST", "/webhooks/sendgrid", headers=post[0], body=post[1])).status

    async def attack(self, seed: int, *, forgeries: int, replays: int) -> Forged:
        """Take the genuine bodies, then forgeries and replays; nothing may have changed."""
        chance, losses = random.Random(seed), list[str]()
        for one in self.genuine:
            if (status := await self._post((one.headers, one.body))) != 204:
                losses.append(f"a genuine body is answered {status}")
        state, stored = self.fold(), self.stored()
        found: Counter[tuple[str, int]] = Counter()
        names = sorted(FORGERIES)
        for number in range(forgeries):
            name = names[number % len(names)]
            found[name, await self._post(FORGERIES[name](chance.choice(self.genuine), chance))] += 1
        losses += [f"{name}: {count} answered {status}" for (name, status), count in found.items() if status != 403]
        losses += [f"{self.stored() - stored} forged bodies are stored"] if self.stored() != stored else []
        again = [chance.choice(self.genuine) for _ in range(replays)]
        posts = [malleated(one) if number % 2 else (one.headers, one.body) for number, one in enumerate(again)]
        for start in range(0, replays, AT_ONCE):
            answers = await asyncio.gather(*map(self._post, posts[start : start + AT_ONCE]))
            losses += [f"a replay is answered {status}" for status in answers if status != 204]
        losses += [] if self.fold() == state else ["replays have changed the state"]
        return Forged(forgeries=forgeries, replays=replays, losses=tuple(losses))
