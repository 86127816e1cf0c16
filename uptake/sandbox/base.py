"""The simulated customer base: who has bought what, the same one for the same seed on every machine.

It knows accounts, people, contracts and tickets; what people do is the business of `uptake.sandbox.usage`.
Days are integers counted from `first_day`, the first day of the demo; history lies before it, below zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from uptake.sandbox.catalogue import PLANS, Feature
from uptake.sandbox.chance import Bools, Floats, Ints, stream
from uptake.sandbox.files import write_ndjson
from uptake.sandbox.names import REGIONS, address

FIRST_DAY = date(2026, 3, 2)  # a Monday
HISTORY_DAYS = 120
NEVER = 10_000  # a day that does not come

_PLAN_SHARES = (0.38, 0.34, 0.19, 0.09)
_PEOPLE_WEIGHTS = (5.0, 12.0, 24.0, 52.0)  # typical contacts of an account, by plan
_ARR_MEDIANS = (2_400.0, 12_000.0, 48_000.0, 180_000.0)
_ROLES = ("admin", "manager", "analyst", "member")
_ROLE_SHARES = (0.10, 0.18, 0.30, 0.42)
_CAUSES = ("login", "permissions", "export", "slow", "billing", "how_to", "bug")
_CSMS = 12


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """Accounts as columns; one place in each array is one account."""

    region: Ints  # place in `names.REGIONS`
    zone: Ints  # place in the region's zones
    plan: Ints  # place in `PLANS`, since `upgraded_day`
    plan_before: Ints
    upgraded_day: Ints
    created_day: Ints
    churned_day: Ints  # `NEVER` for those who stay
    arr: Floats
    seats: Ints
    csm: Ints
    internal: Bools
    maturity: Floats  # how much of the product it knows, around 1
    growth: Floats  # relative change of its activity in 90 days

    def __len__(self) -> int:
        return len(self.plan)


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """People as columns; one place in each array is one person in one account."""

    account: Ints  # place in `Accounts`
    role: Ints
    created_day: Ints
    own_zone: Ints  # place in the region's zones; -1: the account's, and the file does not say
    activity: Floats  # probability of a visit on a working day
    hour: Floats  # centre of the working day, local time
    given: tuple[str, ...]
    family: tuple[str, ...]
    address: tuple[str, ...]
    consent: Ints  # 0: nothing said, 1: consented, 2: refused

    def __len__(self) -> int:
        return len(self.account)


@dataclass(frozen=True, kw_only=True)
class Tickets:
    """Support tickets as columns."""

    account: Ints
    contact: Ints
    opened_day: Ints
    closed_day: Ints
    severity: Ints
    cause: Ints
    is_escalation: Bools


@dataclass(frozen=True)
class CustomerBase:
    """The whole customer base of one seed."""

    seed: int
    first_day: date
    features: tuple[Feature, ...]
    accounts: Accounts
    contacts: Contacts
    tickets: Tickets

    @cached_property
    def account_ids(self) -> tuple[str, ...]:
        """Ids like `acct-0042`."""
        return tuple(f"acct-{number:04d}" for number in range(len(self.accounts)))

    @cached_property
    def user_ids(self) -> tuple[str, ...]:
        """Ids like `user-00042`."""
        return tuple(f"user-{number:05d}" for number in range(len(self.contacts)))

    @cached_property
    def contacts_at(self) -> dict[str, list[int]]:
        """The contacts behind each address; consultants have one address in two accounts."""
        found: dict[str, list[int]] = {}
        for number, at in enumerate(self.contacts.address):
            found.setdefault(at, []).append(number)
        return found

    @cached_property
    def entitled(self) -> Bools:
        """Which plan has paid for which feature: (plan, feature)."""
        return np.array([[plan in feature.plans for feature in self.features] for plan in PLANS])

    @cached_property
    def contact_zones(self) -> tuple[str, ...]:
        """The IANA zone each person works in."""
        contacts, accounts = self.contacts, self.accounts
        zones = np.where(contacts.own_zone >= 0, contacts.own_zone, accounts.zone[contacts.account])
        regions = accounts.region[contacts.account]
        return tuple(REGIONS[region].zones[zone] for region, zone in zip(regions.tolist(), zones.tolist(), strict=True))

    def day_of(self, moment: date) -> int:
        """Return a date as a day number."""
        return (moment - self.first_day).days

    def date_of(self, day: int) -> date:
        """Return a day number as a date."""
        return self.first_day + timedelta(days=int(day))

    def plan_on(self, day: int) -> Ints:
        """Return each account's plan on a day."""
        return np.where(self.accounts.upgraded_day <= day, self.accounts.plan, self.accounts.plan_before)

    def write(self, raw: Path, *, on: date) -> None:
        """Write the four tables as the vendor's systems would show them on the morning of a day.

        What has not happened yet is not in them: later contacts, churn, upgrades and tickets.
        """
        day = self.day_of(on)
        write_ndjson(raw / "accounts.ndjson", self._account_rows(day))
        write_ndjson(raw / "contacts.ndjson", self._contact_rows(day))
        write_ndjson(raw / "subscriptions.ndjson", self._subscription_rows(day))
        write_ndjson(raw / "tickets.ndjson", self._ticket_rows(day))

    def _account_rows(self, day: int) -> Iterator[dict[str, Any]]:
        accounts, plans = self.accounts, self.plan_on(day)
        for number, account_id in enumerate(self.account_ids):
            region = REGIONS[accounts.region[number]]
            created = int(accounts.created_day[number])
            years = max((day - created) // 365 + 1, 1)
            yield {
                "account_id": account_id,
                "plan": PLANS[plans[number]],
                "created_at": self._moment(created, 8, number),
                "arr": self._arr(number, day),
                "currency": region.currency,
                "seats": int(accounts.seats[number]),
                "region": region.name,
                "time_zone": region.zones[accounts.zone[number]],
                "locale": region.locale,
                "csm": f"csm-{accounts.csm[number]:02d}",
                "renewal_on": self.date_of(created + 365 * years),
                "churned_on": self._past(int(accounts.churned_day[number]), day),
                "is_internal": bool(accounts.internal[number]),
            }

    def _contact_rows(self, day: int) -> Iterator[dict[str, Any]]:
        accounts, contacts = self.accounts, self.contacts
        for number, user_id in enumerate(self.user_ids):
            if contacts.created_day[number] > day:
                continue
            account = int(contacts.account[number])
            region, own = REGIONS[accounts.region[account]], int(contacts.own_zone[number])
            created = self._moment(int(contacts.created_day[number]), 9, number)
            consent = int(contacts.consent[number])
            given, family = contacts.given[number], contacts.family[number]
            is_named = number % 50 != 49  # some systems know people by their family name only
            yield {
                "account_id": self.account_ids[account],
                "user_id": user_id,
                "address": contacts.address[number],
                "given_name": given if is_named else None,
                "full_name": f"{given} {family}" if is_named else family,
                "role": _ROLES[contacts.role[number]],
                "time_zone": region.zones[own] if own >= 0 else None,
                "locale": region.locale,
                "created_at": created,
                "consent_basis": (None, "explicit", "none")[consent],
                "consent_at": created if consent == 1 else None,
            }

    def _subscription_rows(self, day: int) -> Iterator[dict[str, Any]]:
        accounts = self.accounts
        for number, account_id in enumerate(self.account_ids):
            created, upgraded = int(accounts.created_day[number]), int(accounts.upgraded_day[number])
            ended = self._past(int(accounts.churned_day[number]), day)
            seats = int(accounts.seats[number])
            was_upgraded = created < upgraded <= day
            if upgraded > created:
                yield {
                    "subscription_id": f"sub-{number:04d}-1",
                    "account_id": account_id,
                    "plan": PLANS[accounts.plan_before[number]],
                    "seats": max(seats // 2, 1) if was_upgraded else seats,
                    "arr": self._arr(number, upgraded - 1),
                    "started_on": self.date_of(created),
                    "ended_on": self.date_of(upgraded) if was_upgraded else ended,
                }
            if upgraded <= day:
                yield {
                    "subscription_id": f"sub-{number:04d}-2" if upgraded > created else f"sub-{number:04d}-1",
                    "account_id": account_id,
                    "plan": PLANS[accounts.plan[number]],
                    "seats": seats,
                    "arr": self._arr(number, day),
                    "started_on": self.date_of(max(created, upgraded)),
                    "ended_on": ended,
                }

    def _ticket_rows(self, day: int) -> Iterator[dict[str, Any]]:
        tickets = self.tickets
        for number in np.flatnonzero(tickets.opened_day < day).tolist():
            closed = int(tickets.closed_day[number])
            yield {
                "ticket_id": f"tick-{number:05d}",
                "account_id": self.account_ids[tickets.account[number]],
                "user_id": self.user_ids[tickets.contact[number]],
                "opened_at": self._moment(int(tickets.opened_day[number]), 10, number),
                "closed_at": self._moment(closed, 15, number) if closed < day else None,
                "severity": ("low", "normal", "high", "urgent")[tickets.severity[number]],
                "cause": _CAUSES[tickets.cause[number]],
                "is_escalation": bool(tickets.is_escalation[number]),
            }

    def _arr(self, account: int, day: int) -> float:
        """Before its upgrade an account paid what its seats cost on the smaller plan."""
        arr = float(self.accounts.arr[account])
        if self.accounts.upgraded_day[account] > day:
            arr *= 0.55
        return round(arr, -1)

    def _past(self, event_day: int, day: int) -> date | None:
        return self.date_of(event_day) if event_day <= day else None

    def _moment(self, day: int, hour: int, number: int) -> datetime:
        minute = number * 7 % 300  # spread over five hours, so that not everybody was created at once
        return datetime.combine(self.date_of(day), datetime.min.time(), UTC) + timedelta(hours=hour, minutes=minute)


def simulate(
    seed: int,
    features: Sequence[Feature],
    *,
    accounts: int = 400,
    contacts: int = 6_000,
    first_day: date = FIRST_DAY,
) -> CustomerBase:
    """Return the customer base of a seed.

    Args:
        seed: Decides everything.
        features: The catalogue of source `uptake`, in its own order.
        accounts: How many.
        contacts: How many in all; every account has two at least.
        first_day: Day 0.
    """
    if contacts < 2 * accounts:
        raise ValueError(f"{contacts} contacts for {accounts} accounts; expected two for each at least")
    companies = _accounts(stream(seed, "accounts"), accounts)
    sizes = _sizes(stream(seed, "sizes"), companies, contacts)
    people = _contacts(stream(seed, "contacts"), companies, sizes)
    seats = np.ceil(sizes * stream(seed, "seats").uniform(1.0, 1.8, accounts)).astype(np.int64)
    companies.seats[:] = seats
    tickets = _tickets(stream(seed, "tickets"), companies, people)
    return CustomerBase(seed, first_day, tuple(features), companies, people, tickets)


def _accounts(rng: np.random.Generator, count: int) -> Accounts:
    region = rng.choice(len(REGIONS), count, p=[region.share for region in REGIONS])
    plan = rng.choice(len(PLANS), count, p=_PLAN_SHARES)
    age = 45 + rng.gamma(2.0, 260.0, count)
    created = -np.where(rng.random(count) < 0.02, rng.integers(0, 14, count), age).astype(np.int64)
    upgraded = np.where(
        (plan > 0) & (rng.random(count) < 0.25), (created * rng.uniform(-0.03, 0.8, count)).astype(np.int64), created
    )
    churned = np.full(count, NEVER)
    fate = rng.random(count)
    gone, going = fate < 0.06, (fate >= 0.06) & (fate < 0.07)
    churned[gone] = np.maximum(-rng.integers(1, 110, gone.sum()), created[gone] + 20)
    churned[going] = rng.integers(5, 45, going.sum())
    internal = np.zeros(count, dtype=np.bool_)
    internal[: max(count // 130, 1)] = True
    return Accounts(
        region=region,
        zone=rng.integers(0, [len(REGIONS[place].zones) for place in region]),
        plan=plan,
        plan_before=np.where(upgraded > created, plan - 1, plan),
        upgraded_day=upgraded,
        created_day=created,
        churned_day=churned,
        arr=np.array(_ARR_MEDIANS)[plan] * rng.lognormal(0.0, 0.5, count),
        seats=np.zeros(count, dtype=np.int64),
        csm=rng.integers(1, _CSMS + 1, count),
        internal=internal,
        maturity=rng.lognormal(0.0, 0.45, count),
        growth=np.clip(rng.normal(0.02, 0.18, count), -0.5, 0.5),
    )


def _sizes(rng: np.random.Generator, accounts: Accounts, contacts: int) -> Ints:
    """Share out the contacts by plan, with a long tail; everybody gets two."""
    weights = np.array(_PEOPLE_WEIGHTS)[accounts.plan] * rng.lognormal(0.0, 0.45, len(accounts))
    return 2 + rng.multinomial(contacts - 2 * len(accounts), weights / weights.sum())


def _contacts(rng: np.random.Generator, accounts: Accounts, sizes: Ints) -> Contacts:
    account = np.repeat(np.arange(len(accounts)), sizes)
    count = len(account)
    role = rng.choice(len(_ROLES), count, p=_ROLE_SHARES)
    first_of_account = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    role[first_of_account] = 0  # somebody is the admin
    created = accounts.created_day[account]
    joined_later = rng.random(count) < 0.5
    joined_later[first_of_account] = False
    until = np.minimum(45, accounts.churned_day[account])
    created = np.where(joined_later, created + ((until - created) * rng.random(count)).astype(np.int64), created)
    zones = np.array([len(region.zones) for region in REGIONS])[accounts.region[account]]
    told = rng.random(count)  # most people work where the account is, and half of the files say so
    own = np.where(told < 0.08, rng.integers(0, zones), np.where(told < 0.5, accounts.zone[account], -1))
    dormant = rng.random(count) < 0.25
    dormant[first_of_account] = False
    given, family, addresses = _people(rng, accounts, account)
    return Contacts(
        account=account,
        role=role,
        created_day=created,
        own_zone=own,
        activity=np.where(dormant, 0.01, rng.beta(1.8, 2.2, count)),
        hour=rng.normal(13.0, 1.2, count),
        given=given,
        family=family,
        address=addresses,
        consent=rng.choice(3, count, p=(0.68, 0.305, 0.015)),
    )


def _people(
    rng: np.random.Generator, accounts: Accounts, account: Ints
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return given names, family names and addresses."""
    draws = rng.random((len(account), 2))
    given, family, addresses = [], [], []
    for number, place in enumerate(account.tolist()):
        region = REGIONS[accounts.region[place]]
        given.append(region.given[int(draws[number, 0] * len(region.given))])
        family.append(region.family[int(draws[number, 1] * len(region.family))])
        addresses.append(address(given[-1], family[-1], number, f"acct-{place:04d}"))
    for consultant in range(len(account) // 750):  # one person, known to two customers
        here, there = rng.integers(0, len(account), 2).tolist()
        given[there], family[there] = given[here], family[here]
        addresses[here] = addresses[there] = address(given[here], family[here], consultant, "consultants")
    return tuple(given), tuple(family), tuple(addresses)


def _tickets(rng: np.random.Generator, accounts: Accounts, contacts: Contacts) -> Tickets:
    days = HISTORY_DAYS + 45
    count = int(rng.poisson(1.3 * len(accounts)))
    contact = rng.integers(0, len(contacts), count)
    account = contacts.account[contact]
    opened = rng.integers(0, days, count) - HISTORY_DAYS
    severity = rng.choice(4, count, p=(0.35, 0.45, 0.15, 0.05))
    lasting = np.ceil(rng.lognormal(1.0, 0.9, count)).astype(np.int64)
    keep = (opened >= contacts.created_day[contact]) & (opened < accounts.churned_day[account])
    return Tickets(
        account=account[keep],
        contact=contact[keep],
        opened_day=opened[keep],
        closed_day=(opened + lasting)[keep],
        severity=severity[keep],
        cause=rng.integers(0, len(_CAUSES), count)[keep],
        is_escalation=((severity == 3) & (rng.random(count) < 0.4))[keep],
    )
