"""What keeps simulated people from using the product: sign-ins that fail, errors, old browsers, a proxy in the way.

It has chance of its own: with friction or without, everybody uses, reads and learns the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uptake.sandbox.base import HISTORY_DAYS, CustomerBase
from uptake.sandbox.chance import Floats, Ints, stream
from uptake.sandbox.habits import account_factor, weekday_factor

#: Event names that friction leaves behind, the most frequent first.
NAMES = ("auth.sign_in_failed", "app.error", "network.request_blocked", "app.unsupported_browser")
_SHARES = (0.45, 0.35, 0.12, 0.08)
_NOW_AND_THEN = 0.004  # of a person, on a working day
_IN_TROUBLE = 0.3  # the same, while something is wrong with the whole account
_SHARE_OF_ACCOUNTS = 0.12  # that are in trouble once, for a while
_LASTING = (5, 25)  # days
_MOST = 4  # attempts a day


@dataclass(frozen=True)
class Frictions:
    """The friction of one day as columns; each row is one event."""

    person: Ints
    name: Ints  # place in `NAMES`
    turn: Ints  # 0 for the first event of a person on the day
    place: Floats  # uniform; when in the person's working day


def frictions(base: CustomerBase, day: int) -> Frictions:
    """Return who is kept from using the product on a day, and by what."""
    accounts, contacts = base.accounts, base.contacts
    rng = stream(base.seed, "trouble")
    begins = rng.integers(-HISTORY_DAYS, 60, len(accounts))
    ends = begins + rng.integers(*_LASTING, len(accounts))
    trouble = rng.choice(len(NAMES), len(accounts), p=_SHARES)
    is_hit = (rng.random(len(accounts)) < _SHARE_OF_ACCOUNTS) & (begins <= day) & (day < ends)

    rng = stream(base.seed, "friction", day)
    here = (contacts.created_day <= day) & (account_factor(base, day)[contacts.account] > 0)
    chance = np.where(is_hit[contacts.account], _IN_TROUBLE, _NOW_AND_THEN)
    chance = chance * here * weekday_factor(base, base.date_of(day).weekday())
    meets = rng.random(len(contacts)) < chance
    own = rng.choice(len(NAMES), len(contacts), p=_SHARES)
    count = rng.integers(1, _MOST + 1, len(contacts))
    place = rng.random(len(contacts))

    who = np.flatnonzero(meets)
    person = np.repeat(who, count[who])
    turn = np.arange(len(person)) - np.repeat(np.cumsum(count[who]) - count[who], count[who])
    kind = np.where(is_hit[contacts.account], trouble[contacts.account], own)
    return Frictions(person=person, name=kind[person], turn=turn, place=np.minimum(place[person] + turn * 1e-3, 1.0))
