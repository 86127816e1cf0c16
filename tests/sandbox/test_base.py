"""The simulated customer base."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from uptake.errors import SettingsError
from uptake.sandbox.base import CustomerBase, simulate
from uptake.sandbox.catalogue import PLANS, Feature, read_catalogue

MONDAY = date(2026, 3, 2)


@pytest.fixture(scope="module")
def features(root: Path) -> tuple[Feature, ...]:
    return read_catalogue(root / "dbt_project" / "seeds" / "feature_catalog.csv")


@pytest.fixture(scope="module")
def base(features: tuple[Feature, ...]) -> CustomerBase:
    return simulate(7, features)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_default_size_is_that_of_the_demo(base: CustomerBase) -> None:
    assert (len(base.accounts), len(base.contacts), len(base.features)) == (400, 6_000, 40)
    assert base.first_day.weekday() == 0


def test_the_same_seed_gives_the_same_files_and_another_seed_other_ones(
    features: tuple[Feature, ...], tmp_path: Path
) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(seed, features, accounts=20, contacts=100).write(tmp_path / folder, on=MONDAY)
    for name in ("accounts", "contacts", "subscriptions", "tickets"):
        a, b, c = ((tmp_path / folder / f"{name}.ndjson").read_bytes() for folder in "abc")
        assert a == b
        assert a != c


def test_every_field_of_the_contract_is_written_and_no_other(base: CustomerBase, tmp_path: Path) -> None:
    base.write(tmp_path, on=MONDAY)
    expected = {
        "accounts": "account_id plan created_at arr currency seats region time_zone locale csm renewal_on churned_on"
        " is_internal",
        "contacts": "account_id user_id address given_name full_name role time_zone locale created_at consent_basis"
        " consent_at",
        "subscriptions": "subscription_id account_id plan seats arr started_on ended_on",
        "tickets": "ticket_id account_id user_id opened_at closed_at severity cause is_escalation",
    }
    for name, fields in expected.items():
        assert set().union(*rows(tmp_path / f"{name}.ndjson")) == set(fields.split())


def test_every_account_has_an_admin_and_two_people(base: CustomerBase, tmp_path: Path) -> None:
    base.write(tmp_path, on=MONDAY)
    people = rows(tmp_path / "contacts.ndjson")
    accounts = {row["account_id"] for row in rows(tmp_path / "accounts.ndjson")}
    assert {row["account_id"] for row in people if row["role"] == "admin"} == accounts
    assert np.bincount(base.contacts.account).min() >= 2
    assert {row["role"] for row in people} == {"admin", "manager", "analyst", "member"}


def test_nobody_can_have_these_addresses(base: CustomerBase) -> None:
    assert all(at.endswith(".example.invalid") and at.isascii() for at in base.contacts.address)


def test_a_few_people_work_for_two_customers_and_nobody_else_shares_an_address(base: CustomerBase) -> None:
    shared = Counter(base.contacts.address)
    assert 1 <= sum(count > 1 for count in shared.values()) <= 10
    assert max(shared.values()) <= 3


def test_zones_exist_and_half_of_the_files_leave_them_out(base: CustomerBase, tmp_path: Path) -> None:
    base.write(tmp_path, on=MONDAY)
    for zone in set(base.contact_zones):
        ZoneInfo(zone)
    told = [row.get("time_zone") for row in rows(tmp_path / "contacts.ndjson")]
    assert 0.3 < sum(zone is None for zone in told) / len(told) < 0.7


def test_the_tables_do_not_know_the_future(base: CustomerBase, tmp_path: Path) -> None:
    later = MONDAY + timedelta(days=44)
    base.write(tmp_path / "now", on=MONDAY)
    base.write(tmp_path / "later", on=later)
    now = {name: rows(tmp_path / "now" / f"{name}.ndjson") for name in ("accounts", "contacts", "tickets")}
    then = {name: rows(tmp_path / "later" / f"{name}.ndjson") for name in ("accounts", "contacts", "tickets")}
    limit = MONDAY.isoformat()
    assert all(row.get("churned_on", "") <= limit for row in now["accounts"])
    assert all(row["created_at"][:10] <= limit for row in now["contacts"])
    assert all(row["opened_at"][:10] < limit and row.get("closed_at", "") < limit for row in now["tickets"])
    churned = [sum("churned_on" in row for row in tables["accounts"]) for tables in (now, then)]
    assert 10 <= churned[0] < churned[1]
    assert len(now["contacts"]) < len(then["contacts"])
    assert any("closed_at" not in row for row in now["tickets"])


def test_subscriptions_of_an_account_never_overlap_and_end_with_its_plan(base: CustomerBase, tmp_path: Path) -> None:
    for on in (MONDAY, MONDAY + timedelta(days=44)):
        base.write(tmp_path, on=on)
        plans = {row["account_id"]: row["plan"] for row in rows(tmp_path / "accounts.ndjson")}
        by_account: dict[str, list[dict[str, Any]]] = {}
        for row in rows(tmp_path / "subscriptions.ndjson"):
            by_account.setdefault(row["account_id"], []).append(row)
        assert by_account.keys() == plans.keys()
        assert any(len(several) == 2 for several in by_account.values())
        for account_id, several in by_account.items():
            for earlier, next_one in pairwise(several):
                assert earlier["ended_on"] == next_one["started_on"]
            assert several[-1]["plan"] == plans[account_id]


def test_plans_are_entitled_to_what_the_catalogue_says(base: CustomerBase) -> None:
    for place, plan in enumerate(PLANS):
        sold = {feature.key for feature in base.features if plan in feature.plans}
        assert sold == {
            feature.key for feature, is_in in zip(base.features, base.entitled[place], strict=True) if is_in
        }
    assert base.entitled.sum(axis=1).tolist() == sorted(base.entitled.sum(axis=1).tolist())


def test_a_catalogue_without_the_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.csv"
    path.write_text("source,feature_key,event_patterns,plans_entitled,adopted_days\n")
    with pytest.raises(SettingsError, match="no row of source 'uptake'"):
        read_catalogue(path)
    path.write_text("source,feature_key,event_patterns,plans_entitled,adopted_days\nuptake,x,x.*,gold,3\n")
    with pytest.raises(SettingsError, match="gold"):
        read_catalogue(path)
    with pytest.raises(SettingsError, match="no feature catalogue"):
        read_catalogue(tmp_path / "absent.csv")


def test_too_few_people_for_the_accounts_is_an_error(features: tuple[Feature, ...]) -> None:
    with pytest.raises(ValueError, match="two for each"):
        simulate(1, features, accounts=10, contacts=19)
