"""What simulated people are used to doing, and what a mail may teach them: the planted effect.

Nothing outside the sandbox reads this: the engine must find the effect in the usage alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from uptake.sandbox.base import HISTORY_DAYS, NEVER, CustomerBase
from uptake.sandbox.chance import Bools, Floats, Ints, stream, unit
from uptake.sandbox.files import AcceptedMail

P_BOUNCE = 0.01  # addresses that no mail reaches
P_BLOCKED = 0.004  # mails that a mail server turns away, this once
P_OPEN = 0.55  # an awake person reads a mail of ours
P_OPEN_DORMANT = 0.15
#: Of those who read it, how many take up what the first, second, third ... mail about a feature teaches.
P_LEARN = (0.20, 0.13, 0.08, 0.04)
MAX_DELAY = 3  # days until somebody tries what they have read
_DORMANT = 0.02  # visits on a working day, below which a person hardly ever comes


@dataclass(frozen=True)
class Habits:
    """Who uses what, without any mail. Arrays are (contact, feature).

    A visitor's habit fires on days of a visit; a learned habit makes its own visits, from `start` until `end`.
    """

    visit_rate: Floats  # probability of use on a day with a visit
    visit_end: Ints  # the day a visitor's habit is forgotten
    learned_rate: Floats  # probability of use on a working day, once learned
    start: Ints  # the day somebody learns it alone; `NEVER` for most
    end: Ints


def arrival(seed: int, to: str, subject: str) -> Literal["bounced", "blocked", "delivered"]:
    """Say what becomes of a mail at its address; a bad address takes no mail, ever."""
    if unit(seed, "bounces", to) < P_BOUNCE:
        return "bounced"
    return "blocked" if unit(seed, "blocked", to, subject) < P_BLOCKED else "delivered"


def reads(base: CustomerBase, to: str, subject: str) -> bool:
    """Say whether the person behind the address opens this mail: what teaches and what SendGrid reports agree."""
    numbers = base.contacts_at.get(to)
    if not numbers or arrival(base.seed, to, subject) != "delivered":
        return False
    is_awake = max(base.contacts.activity[number] for number in numbers) > _DORMANT
    return unit(base.seed, "opens", to, subject) < (P_OPEN if is_awake else P_OPEN_DORMANT)


def taught_from(base: CustomerBase, mails: Iterable[AcceptedMail]) -> Ints:
    """Return the day from which each (contact, feature) is used because a mail taught it; `NEVER` elsewhere.

    A mail changes nothing before the day after it was accepted, so a day depends on earlier mails only.
    """
    places = {feature.key: place for place, feature in enumerate(base.features)}
    first = np.full((len(base.contacts), len(places)), NEVER, dtype=np.int64)
    seen: dict[tuple[str, str], int] = {}
    for mail in sorted(mails, key=lambda mail: (mail.accepted_at, mail.to, mail.subject)):
        for key in mail.features:
            lesson = seen[mail.to, key] = seen.get((mail.to, key), 0) + 1
            if key not in places or not reads(base, mail.to, mail.subject):
                continue
            chance = P_LEARN[min(lesson, len(P_LEARN)) - 1]
            if unit(base.seed, "learns", mail.to, mail.subject, key) < chance:
                wait = 1 + int(unit(base.seed, "tries", mail.to, mail.subject, key) * (MAX_DELAY + 1))
                for number in base.contacts_at[mail.to]:
                    here = first[number, places[key]]
                    first[number, places[key]] = min(here, base.day_of(mail.day) + wait)
    return first


def popularity(base: CustomerBase) -> Floats:
    """Return how widely each feature is known, 0-1: a power law over ranks.

    The catalogue leads from the first steps to the last; the seed shuffles neighbours.
    """
    count = len(base.features)
    order = np.argsort(np.arange(count) + stream(base.seed, "popularity").normal(0.0, 2.0, count), kind="stable")
    known = np.empty(count)
    known[order] = np.arange(1, count + 1) ** -1.05
    return known


def habits(base: CustomerBase) -> Habits:
    """Return the habits of a customer base. Vectorised; about 50 ms for 6,000 people and 40 features."""
    contacts, account = base.contacts, base.contacts.account
    known = popularity(base)
    shape = (len(contacts), len(known))
    rng = stream(base.seed, "habits")
    # An account knows a feature or does not; within it one champion at least uses it, and some colleagues.
    maturity = base.accounts.maturity[:, None]
    knows = rng.random((len(base.accounts), len(known))) < np.minimum(0.97, 0.95 * maturity * known)
    champion = _one_of_each_account(rng, base, len(known))
    share = 0.12 + 0.70 * known
    has = knows[account] & (champion | (rng.random(shape) < share))
    rate = np.where(champion, rng.uniform(0.35, 0.9, shape), rng.beta(1.4, 2.6, shape))
    rate = np.minimum(rate + 0.5 * known, 0.95)  # what everybody knows is also what a working day begins with
    lasting = rng.exponential(90.0 + 900.0 * known, shape)
    # The others may find it by themselves, some day; whoever visits often is the likelier one.
    pace = 0.0080 * np.sqrt(np.clip(base.accounts.maturity, 0.3, 3.0))[:, None] * (0.6 + 1.2 * known)
    weight = contacts.activity / np.bincount(account, contacts.activity)[account]
    hazard = np.where(knows[account], 0.0, pace[account] * weight[:, None])
    with np.errstate(divide="ignore"):
        start = -HISTORY_DAYS + rng.exponential(1.0, shape) / hazard
    start = np.minimum(start, NEVER)
    return Habits(
        visit_rate=np.where(has, rate, 0.0).astype(np.float32),
        visit_end=(-HISTORY_DAYS + lasting).astype(np.int64),
        learned_rate=rng.uniform(0.42, 0.85, shape).astype(np.float32),
        start=start.astype(np.int64),
        end=np.minimum(start + 12 + rng.exponential(14.0, shape), NEVER).astype(np.int64),
    )


def _one_of_each_account(rng: np.random.Generator, base: CustomerBase, features: int) -> Bools:
    """Choose one contact of each account for each feature; active ones are chosen more often."""
    contacts = base.contacts
    score = rng.random((len(contacts), features)) ** (1.0 / np.maximum(contacts.activity, 1e-3))[:, None]
    best = np.zeros((len(base.accounts), features))
    np.maximum.at(best, contacts.account, score)
    return np.asarray(score == best[contacts.account])


def weekday_factor(base: CustomerBase, weekday: int) -> Floats:
    """Return how far each person works on a weekday (0 = Monday): few on weekends, some part-time."""
    if weekday >= 5:
        return np.full(len(base.contacts), 0.12)
    off = stream(base.seed, "part-time").integers(0, 25, len(base.contacts))  # one in five has one day off
    return np.where(off == weekday, 0.1, 1.0)


def account_factor(base: CustomerBase, day: int) -> Floats:
    """Return each account's activity on a day: growth or decline, and the fading before churn."""
    accounts = base.accounts
    trend = np.clip(1.0 + accounts.growth * (day + HISTORY_DAYS / 2) / 90.0, 0.2, 2.0)
    fading = np.clip((accounts.churned_day - day) / 45.0, 0.0, 1.0)
    return np.where(day >= accounts.created_day, trend * fading, 0.0)
