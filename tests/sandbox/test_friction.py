"""What keeps simulated people from using the product."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from uptake.sandbox.base import HISTORY_DAYS, CustomerBase, simulate
from uptake.sandbox.catalogue import read_catalogue
from uptake.sandbox.friction import NAMES, frictions
from uptake.sandbox.usage import Usage


@pytest.fixture(scope="module")
def base(root: Path) -> CustomerBase:
    features = read_catalogue(root / "dbt_project" / "seeds" / "feature_catalog.csv")
    return simulate(7, features, accounts=60, contacts=900)


def test_its_events_are_in_the_catalogue_of_friction(root: Path) -> None:
    with (root / "dbt_project" / "seeds" / "friction_catalog.csv").open(newline="") as file:
        catalogued = {row["event_pattern"] for row in csv.DictReader(file) if row["source"] == "uptake"}
    assert set(NAMES) <= catalogued


def test_the_same_day_has_the_same_friction_and_it_comes_with_the_days_own_file(
    base: CustomerBase, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        Usage(base).write_day(tmp_path / folder, base.date_of(3), ())
    name = f"events/{base.date_of(3)}.ndjson"
    first = (tmp_path / "a" / name).read_text()
    assert first == (tmp_path / "b" / name).read_text()
    lines = [json.loads(line) for line in first.splitlines() if '"event_id":"f-' in line]
    assert len(lines) == len(frictions(base, 3).person) > 0
    assert len({line["event_id"] for line in lines}) == len(lines)
    assert {line["event_name"] for line in lines} <= set(NAMES)
    assert {line["occurred_at"][:10] for line in lines} == {f"{base.date_of(3)}"}


def test_few_meet_it_now_and_then_and_some_accounts_meet_much_of_one_kind_for_a_while(base: CustomerBase) -> None:
    by_account: dict[int, Counter[int]] = {}
    people = set()
    for day in range(-HISTORY_DAYS, 0):
        met = frictions(base, day)
        people.update(met.person.tolist())
        for person, name in zip(met.person.tolist(), met.name.tolist(), strict=True):
            by_account.setdefault(int(base.contacts.account[person]), Counter())[name] += 1
    events = sorted((sum(names.values()) for names in by_account.values()), reverse=True)
    assert 0.2 < len(people) / len(base.contacts) < 0.6
    assert events[0] > 10 * np.median(events)
    worst = max(by_account.values(), key=lambda names: sum(names.values()))
    assert worst.most_common(1)[0][1] > 0.7 * sum(worst.values())


def test_nobody_is_turned_away_before_they_come_or_after_they_left(base: CustomerBase) -> None:
    gone = base.accounts.churned_day <= -30
    assert gone.any()
    for day in range(-29, 10):
        met = frictions(base, day)
        assert not gone[base.contacts.account[met.person]].any()
        assert (base.contacts.created_day[met.person] <= day).all()


def test_a_week_of_it_is_a_small_part_of_all_events(base: CustomerBase, tmp_path: Path) -> None:
    usage = Usage(base)
    written = [usage.write_day(tmp_path, base.first_day + timedelta(days=day), ()) for day in range(7)]
    friction = sum(len(frictions(base, day).person) for day in range(7))
    assert 0 < friction < 0.05 * sum(day.events for day in written)
