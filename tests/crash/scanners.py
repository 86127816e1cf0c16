"""T10: whatever opens links stops nothing, whoever makes up a token stops nobody, whoever clicks twice stops once."""

from __future__ import annotations

import asyncio
import base64
import random
import string
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from tests.crash.outbox import KEYS, NOW, load_people, names
from tests.crash.visitors import call
from uptake.adapters.ledger import SqlLedger
from uptake.adapters.ledger.schema import preferences, suppressions, webhook_batches
from uptake.adapters.tokens import Claim, Tokens
from uptake.testing import FixedClock
from uptake.web_public import create_public_app

TOKENS = Tokens(KEYS.tokens)
OTHERS_TOKENS = Tokens((b"o" * 32,))
METHODS = ("GET", "GET", "HEAD", "OPTIONS")
BROWSERS = ("Mozilla/5.0", "curl/8", "Barracuda Sentinel (EE)", "", "Microsoft Office Protocol Discovery")
_ALPHABET = string.ascii_letters + string.digits + "-_"


def token_of(contact_id: str) -> str:
    return TOKENS.sign(Claim(contact_id=contact_id, topic="training", feature_key="boards"))


def _one_letter(token: str, _other: str, chance: random.Random) -> str:
    place = chance.randrange(len(token) - 1)  # not the last: two of its bits say nothing
    return token[:place] + chance.choice([one for one in _ALPHABET if one != token[place]]) + token[place + 1 :]


def _noise(_token: str, _other: str, chance: random.Random) -> str:
    return base64.urlsafe_b64encode(chance.randbytes(chance.randrange(1, 120))).decode()


def _swapped(token: str, other: str, _chance: random.Random) -> str:
    return token.rsplit(".", 1)[0] + "." + other.rsplit(".", 1)[1]


#: Tokens that we did not sign, made of two that we did.
FORGERIES: Mapping[str, Callable[[str, str, random.Random], str]] = {
    "one letter": _one_letter,
    "cut": lambda token, other, chance: token[: chance.randrange(1, len(token) - 1)],
    "longer": lambda token, other, chance: token + "".join(chance.choices(_ALPHABET, k=chance.randrange(1, 9))),
    "somebody else's signature": _swapped,
    "no signature": lambda token, other, chance: token.rsplit(".", 1)[0] + chance.choice(("", ".", ".AAAA")),
    "another key": lambda token, other, chance: OTHERS_TOKENS.sign(
        Claim(contact_id=f"c{chance.randrange(99):05}", topic="training", feature_key="boards")
    ),
    "noise": _noise,
    "upside down": lambda token, other, chance: token[::-1],
    "a contact id": lambda token, other, chance: f"c{chance.randrange(99):05}",
}


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What a run came to."""

    visits: int
    losses: tuple[str, ...]


class Visited:
    """A ledger with people, and the pages they may open."""

    def __init__(self, ledger: SqlLedger, count: int) -> None:
        self._ledger = ledger
        self._people = names(count)
        load_people(ledger, self._people, now=NOW)
        self._app = create_public_app(
            ledger, tokens=TOKENS, clock=FixedClock(NOW), webhook_keys=(), topics=("training", "news")
        )

    def rows(self) -> tuple[int, ...]:
        """How many suppressions, answers and bodies there are."""
        tables = (suppressions, preferences, webhook_batches)
        with self._ledger._store.read() as connection:
            return tuple(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables)

    async def visit(self, seed: int, *, opens: int, forged: int) -> Scanned:
        """Open links, then post to what nobody was given; each twice may be the same person, and stops once."""
        chance, losses = random.Random(seed), list[str]()
        before = self.rows()
        seen: Counter[tuple[str, int]] = Counter()
        for _ in range(opens):
            path = chance.choice((f"/u/{self._token(chance)}", f"/p/{self._token(chance)}", "/webhooks/sendgrid"))
            method, browser = chance.choice(METHODS), chance.choice(BROWSERS)
            answer = await call(self._app, method, path, headers=[("User-Agent", browser)])
            seen[f"{method} {path[:3]}", answer.status] += 1
        losses += [f"{what} answered {status}" for what, status in seen if status not in (200, 405)]
        losses += ["opening links changed something"] if self.rows() != before else []
        kinds = sorted(FORGERIES)
        for number in range(forged):
            kind = kinds[number % len(kinds)]
            token = FORGERIES[kind](self._token(chance), self._token(chance), chance)
            if TOKENS.read(token) is not None:
                continue  # both were the same person's
            body = chance.choice((b"List-Unsubscribe=One-Click", b"choice=everything", b"choice=not_needed"))
            answer = await call(self._app, "POST", chance.choice(("/u/", "/p/")) + token, body=body)
            seen[f"forged: {kind}", answer.status] += 1
        losses += [
            f"{what} answered {status}"
            for what, status in seen
            if what.startswith("forged") and status not in (400, 404)
        ]
        losses += ["forged tokens changed something"] if self.rows() != before else []
        return Scanned(visits=opens + forged, losses=tuple(losses))

    async def click_twice(self) -> Scanned:
        """Everybody posts the same twice, at once; everybody is stopped once."""
        losses = list[str]()
        stopped, answered, stored = self.rows()
        for contact_id in self._people:
            path, body = f"/u/{token_of(contact_id)}", b"List-Unsubscribe=One-Click"
            answers = await asyncio.gather(*(call(self._app, "POST", path, body=body) for _ in range(2)))
            losses += [f"a click is answered {answer.status}" for answer in answers if answer.status != 200]
            losses += ["two clicks have two answers"] if answers[0].body != answers[1].body else []
        expected = (stopped + len(self._people), answered, stored)
        losses += [f"{self.rows()} rows, not {expected}"] if self.rows() != expected else []
        return Scanned(visits=2 * len(self._people), losses=tuple(losses))

    def _token(self, chance: random.Random) -> str:
        return token_of(chance.choice(self._people))
