"""How simulated recipients react."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from uptake.sandbox.base import CustomerBase, simulate
from uptake.sandbox.catalogue import read_catalogue
from uptake.sandbox.fakegrid import Reaction, Recipients
from uptake.sandbox.habits import reads
from uptake.sandbox.people import SimulatedPeople

GUIDE = "https://learn.example.com/guides/saved_views"


@pytest.fixture(scope="module")
def base(root: Path) -> CustomerBase:
    return simulate(7, read_catalogue(root / "dbt_project" / "seeds" / "feature_catalog.csv"))


def accepted(to: str, subject: str = "Why", **more: Any) -> dict[str, Any]:
    return {"to": to, "subject": subject, "links": [GUIDE], **more}


@pytest.fixture(scope="module")
def answers(base: CustomerBase) -> dict[str, tuple[Reaction, ...]]:
    people: Recipients = SimulatedPeople(base)
    return {to: tuple(people.reactions(accepted(to))) for to in base.contacts.address}


def kinds(reactions: Sequence[Reaction]) -> Counter[str]:
    return Counter(one.event or one.action or "" for one in reactions)


def test_the_answer_depends_on_the_mail_alone(base: CustomerBase, answers: dict[str, tuple[Reaction, ...]]) -> None:
    again = SimulatedPeople(simulate(7, base.features))
    for to in base.contacts.address[:300]:
        other_ids = accepted(to.upper(), send_id="another", message_id="another")
        assert tuple(again.reactions(other_ids)) == answers[to]


def test_every_mail_is_processed_and_then_delivered_or_bounced_once(answers: dict[str, tuple[Reaction, ...]]) -> None:
    for reactions in answers.values():
        found = kinds(reactions)
        assert found["processed"] == 1
        assert found["delivered"] + found["bounce"] == 1


def test_nothing_happens_before_delivery_and_nothing_after_three_days(answers: dict[str, tuple[Reaction, ...]]) -> None:
    for reactions in answers.values():
        at = {one.event: one.delay for one in reactions if one.event in ("processed", "delivered", "bounce")}
        arrived = at.get("delivered", at.get("bounce", timedelta.max))
        assert at["processed"] < arrived
        assert all(arrived < one.delay < timedelta(days=3) for one in reactions if one.event in ("open", "click"))
        assert all(arrived < one.delay for one in reactions if one.action or one.event == "spamreport")


def test_who_gets_no_mail_does_not_react_to_it(answers: dict[str, tuple[Reaction, ...]]) -> None:
    bounced = [kinds(reactions) for reactions in answers.values() if kinds(reactions)["bounce"]]
    assert bounced
    assert all(found == {"processed": 1, "bounce": 1} for found in bounced)


def test_shares_are_those_of_a_real_mailing(answers: dict[str, tuple[Reaction, ...]]) -> None:
    everybody = len(answers)
    found = [kinds(reactions) for reactions in answers.values()]

    def share(kind: str) -> float:
        return sum(one[kind] > 0 for one in found) / everybody

    hard = sum(one.fields.get("type") == "bounce" for reactions in answers.values() for one in reactions)
    blocked = sum(one.fields.get("type") == "blocked" for reactions in answers.values() for one in reactions)
    assert 0.005 < hard / everybody < 0.015
    assert 0.001 < blocked / everybody < 0.008
    assert 0.006 < share("one_click") < 0.015
    assert share("spamreport") < 0.002
    assert 0.35 < share("open") < 0.6
    assert 0.1 < share("click") < 0.25


def test_a_bad_address_is_bad_for_ever_and_a_block_is_not(
    base: CustomerBase, answers: dict[str, tuple[Reaction, ...]]
) -> None:
    people = SimulatedPeople(base)

    def types(reactions: Sequence[Reaction]) -> set[str]:
        return {str(one.fields.get("type")) for one in reactions if one.event == "bounce"}

    hard = [to for to, reactions in answers.items() if types(reactions) == {"bounce"}]
    blocked = [to for to, reactions in answers.items() if types(reactions) == {"blocked"}]
    assert all(types(tuple(people.reactions(accepted(to, "How")))) == {"bounce"} for to in hard)
    assert any(types(tuple(people.reactions(accepted(to, "How")))) == set() for to in blocked)


def test_who_reads_opens_and_only_machines_open_without_reading(
    base: CustomerBase, answers: dict[str, tuple[Reaction, ...]]
) -> None:
    for to, reactions in answers.items():
        by_person = [one for one in reactions if one.event == "open" and not one.fields.get("sg_machine_open")]
        assert bool(by_person) == reads(base, to, "Why")


def test_clicks_name_a_link_of_the_mail_and_a_mail_without_links_gets_none(base: CustomerBase) -> None:
    people = SimulatedPeople(base)
    for to in base.contacts.address[:500]:
        assert all(one.fields["url"] == GUIDE for one in people.reactions(accepted(to)) if one.event == "click")
        assert not kinds(tuple(people.reactions({**accepted(to), "links": []})))["click"]
