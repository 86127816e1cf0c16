"""Both sides' lists are one afterwards, on fakegrid: the real adapter, over a socket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operations.conftest import KEYS, NOW
from uptake.adapters.sendgrid_suppressions import SendGridSuppressions
from uptake.domain.ids import address_hash
from uptake.domain.sends import SuppressionReason
from uptake.operations.sync_suppressions import Synced, sync_suppressions, tell_stops
from uptake.sandbox.fakegrid import create_fakegrid
from uptake.sandbox.serving import Serving
from uptake.testing import FixedClock

TOPICS = {"training": 7, "news": 8}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SendGridSuppressions]:
    """Fakegrid on a socket of its own."""
    app = create_fakegrid(tmp_path / "service", clock=FixedClock(NOW), api_key="SG.x", groups=frozenset({7, 8}))
    with Serving(app) as serving:
        lists = SendGridSuppressions(serving.url, "SG.x")
        yield lists
        lists.close()


def stop(town, address, *, topic="training", reason=SuppressionReason.UNSUBSCRIBED, now=NOW):
    hashed = address_hash(KEYS.pseudonym, address)
    town.ledger.people.suppress(hashed, reason=reason, topic=topic, source="page", now=now)


def sync(town, service, now=NOW) -> Synced:
    return sync_suppressions(town.ledger, KEYS, service, TOPICS, now=now)


def addresses(town) -> list[str]:
    return sorted(row["address"] for row in town.contacts.values())


def test_the_service_learns_who_left_a_topic_or_everything_and_of_nobody_else(town, service):
    first, second, third, *_ = addresses(town)
    stop(town, first)
    stop(town, second, topic=None)
    stop(town, third, topic=None, reason=SuppressionReason.IMPORTED)
    assert sync(town, service) == Synced(told=2, learned=0)
    assert service.of_group(7) == {first}
    assert service.of_group(8) == set()
    assert service.of_everything(SuppressionReason.UNSUBSCRIBED) == {second}
    assert sync(town, service) == Synced(told=0, learned=0)


def test_whoever_left_there_gets_nothing_here(town, service):
    town.approve()
    town.tick()
    planned = {one for (one,) in town.rows("select contact_id from sends")}
    left = next(row for row in town.contacts.values() if row["contact_id"] in planned)
    service.add([left["address"].upper(), "nobody-we-know@x.example"], group=7)
    assert sync(town, service) == Synced(told=0, learned=2)
    town.send()
    assert town.rows("select status from sends where contact_id = ?", left["contact_id"]) == [("withheld",)]
    assert sync(town, service, NOW + timedelta(days=1)) == Synced(told=0, learned=0)


def test_who_is_forgotten_is_not_told_of(town, service):
    address = addresses(town)[0]
    stop(town, address)
    town.ledger.erasures.erase(address_hash(KEYS.pseudonym, address), by="Grace", now=NOW)
    assert sync(town, service) == Synced(told=0, learned=0)


def test_between_nights_the_service_hears_of_who_left_since_and_may_hear_it_twice(town, service):
    first, second, third, fourth, *_ = addresses(town)
    stop(town, first, now=NOW - timedelta(hours=2))
    stop(town, second)
    stop(town, third, topic=None, now=NOW + timedelta(minutes=1))
    stop(town, fourth, reason=SuppressionReason.IMPORTED)
    for _ in range(2):
        assert tell_stops(town.ledger, service, TOPICS, since=NOW) == 2
    assert service.of_group(7) == {second}
    assert service.of_everything(SuppressionReason.UNSUBSCRIBED) == {third}


class Lists:
    """A service in memory."""

    def __init__(self, groups: dict[int | None, set[str]]) -> None:
        self.groups = groups

    def of_everything(self, reason: SuppressionReason) -> set[str]:
        return set(self.groups[None]) if reason is SuppressionReason.UNSUBSCRIBED else set()

    def of_group(self, group: int) -> set[str]:
        return set(self.groups[group])

    def add(self, addresses, *, group):
        self.groups[group] |= set(addresses)


class People:
    """Suppressions in memory, of people we all know."""

    def __init__(self, here: dict[str, set[str]]) -> None:
        self.here = here
        self.hashes = {topic: {address_hash(KEYS.pseudonym, one) for one in found} for topic, found in here.items()}

    def unsubscribed(self):
        return {topic: set(found) for topic, found in self.here.items()}

    def suppressed(self, *, reason, topic):
        return set(self.hashes[topic or ""]) if reason is SuppressionReason.UNSUBSCRIBED else set()

    def suppress_all(self, found, *, reason, source, now, topic=None):
        self.hashes[topic or ""] |= set(found)


NAMES = st.sets(st.sampled_from([f"{letter}@x.example" for letter in "abcdef"]))


@given(st.fixed_dictionaries({"": NAMES, "training": NAMES, "news": NAMES}), st.tuples(NAMES, NAMES, NAMES))
def test_both_sides_end_as_the_union(here, there):
    lists = Lists(dict(zip((None, 7, 8), map(set, there), strict=True)))
    people = People({topic: set(found) for topic, found in here.items()})
    ledger = type("Ledger", (), {"people": people})()
    before = {topic: here[topic] | set(lists.groups[TOPICS.get(topic)]) for topic in here}
    sync_suppressions(ledger, KEYS, lists, TOPICS, now=NOW)
    for topic, union in before.items():
        assert lists.groups[TOPICS.get(topic)] == union
        assert people.hashes[topic] == {address_hash(KEYS.pseudonym, one) for one in union}
