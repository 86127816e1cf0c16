"""What a candidate is compared with, and when that is called a change."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gate.conftest import AS_OF
from uptake.adapters.history_checks import NOISE, history_of, never_hit, scale, shift, volume

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1000))


def manifests(*rows: int, step: timedelta = timedelta(days=1)) -> list[dict[str, Any]]:
    """Manifests of the snapshots before, the newest first, whose mart `m` had so many rows."""
    return [
        {"snapshot_id": f"s{n}", "as_of": (AS_OF - n * step).isoformat(), "row_counts": {"m": count}}
        for n, count in enumerate(rows, 1)
    ]


def let_pass(days_ago: int, check: str, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same manifests, a check of one of which a person let pass."""
    return [one | {"let_pass": frozenset({check} if n == days_ago else ())} for n, one in enumerate(history, 1)]


@cache
def warehouse_of_one_mart() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create schema marts")
    return connection


def found(now: int, history: list[dict[str, Any]]) -> tuple[str, str]:
    warehouse = warehouse_of_one_mart()
    warehouse.execute(f"create or replace table marts.m as select n from range({now}) as r(n)")
    return volume(warehouse, "m", history_of(history, AS_OF))


@pytest.mark.parametrize(
    ("now", "before", "status"),
    [
        (100, (), "baseline"),
        (100, (100,), "passed"),
        (69, (100,), "failed"),
        (301, (100,), "failed"),
        (0, (5,), "failed"),
        (12, (20,), "passed"),  # so few say little
        (100, (3, 100, 100), "passed"),  # yesterday was odd, today is not
        (100, (900, 100, 100), "passed"),
        (20, (3, 100, 100), "failed"),  # two odd days in a row are two odd days
    ],
)
def test_a_mart_is_compared_with_the_median_of_the_last_days(now: int, before: tuple[int, ...], status: str) -> None:
    assert found(now, manifests(*before))[0] == status


def test_a_little_less_every_day_is_seen_in_the_end() -> None:
    counts = [1000]
    for _day in range(60):
        now = round(counts[0] * 0.96)
        status, told = found(now, manifests(*counts))
        if status == "failed":
            assert "four weeks ago; expected a fall of at most 50% since" in told
            break
        counts.insert(0, now)
    else:
        pytest.fail("it fell to nothing and nobody said so")
    assert len(counts) > 15


@pytest.mark.parametrize(
    ("now", "before", "days_ago", "check", "status"),
    [
        (40, (40, 100, 100, 100), 1, "gate:rows:m", "passed"),  # yesterday's fall is the new normal at once
        (40, (40, 100, 100, 100), 1, "gate:rows:other", "failed"),  # nobody let this check pass
        (27, (40, 100, 100, 100), 1, "gate:rows:m", "failed"),  # a second fall, from the new base
        (27, (40, 40, 100, 100), 2, "gate:rows:m", "failed"),
        (121, (40, 100, 100, 100), 1, "gate:rows:m", "failed"),  # and a rise from there
        (100, (40, 100, 100, 100), 1, "gate:rows:m", "passed"),
        (69, (100, 40, 100, 100), 2, "gate:rows:m", "passed"),  # what came back since is part of the new normal
        (40, (*[40] * 2, *[100] * 30), 2, "gate:rows:m", "passed"),  # nor does what was four weeks ago count any more
        (40, (*[40] * 8, *[100] * 30), None, "gate:rows:m", "failed"),
        (15, (*[20] * 7, *[40] * 30), 36, "gate:rows:m", "failed"),  # what was four weeks ago counts from the base on
    ],
)
def test_what_a_person_let_pass_is_the_new_normal_of_that_check_alone(
    now: int, before: tuple[int, ...], days_ago: int, check: str, status: str
) -> None:
    assert found(now, let_pass(days_ago, check, manifests(*before)))[0] == status


@given(st.lists(st.integers(0, 200), min_size=1, max_size=40), st.integers(1, 40), st.integers(0, 200))
def test_an_override_of_one_check_changes_nothing_about_another(rows: list[int], days_ago: int, now: int) -> None:
    history = manifests(*rows)
    assert found(now, let_pass(days_ago, "gate:rows:other", history)) == found(now, history)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.integers(0, 39), st.integers(0, 200))
def test_from_an_override_on_nothing_before_it_counts(rows: list[int], place: int, now: int) -> None:
    place %= len(rows)
    history = manifests(*rows)
    told = found(now, let_pass(place + 1, "gate:rows:m", history))
    assert told == found(now, history[: place + 1])


@pytest.mark.parametrize(
    ("now", "days_ago", "check", "status"),
    [
        (10.0, None, "", "failed"),
        (10.0, 1, "gate:scale:arr", "passed"),
        (10.0, 1, "gate:scale:seats", "failed"),
        (1.0, 1, "gate:scale:arr", "failed"),
        (31.0, 1, "gate:scale:arr", "failed"),
    ],
)
def test_a_unit_that_was_let_pass_is_the_new_one(now: float, days_ago: int | None, check: str, status: str) -> None:
    history = [
        {"snapshot_id": f"s{n}", "as_of": (AS_OF - timedelta(days=n)).isoformat(), "profile": {"scales": {"arr": arr}},
         "let_pass": {check} if n == days_ago else ()}
        for n, arr in enumerate((10.0, 1.0, 1.0, 1.0), 1)
    ]  # fmt: skip
    with duckdb.connect() as warehouse:
        warehouse.execute("create schema marts")
        warehouse.execute(f"create table marts.accounts_current as select {now} as arr, 0 as seats")
        usage = "select 0.0 as sum_quantity, 1 as count_events"
        warehouse.execute(f"create table marts.fct_account_feature_daily as {usage}")
        assert scale(warehouse, history_of(history, AS_OF), "arr")[0] == status


def test_many_refreshes_of_one_day_are_one_day() -> None:
    today = manifests(*[10] * 20, step=timedelta(minutes=10))
    assert found(100, [*today, *manifests(100, 100, 100)])[0] == "passed"


def test_a_candidate_older_than_all_is_compared_with_the_nearest() -> None:
    later = [
        {"snapshot_id": "s", "as_of": (AS_OF + timedelta(days=n)).isoformat(), "row_counts": {"m": 50 * n}}
        for n in (2, 4)
    ]
    assert found(100, later)[0] == "passed"
    assert found(30, later)[0] == "failed"


@pytest.mark.parametrize(("days", "holds"), [(1, False), (27, False), (28, True)])
def test_a_feature_nobody_hit_is_a_warning_in_its_first_weeks_and_holds_later(days: int, holds: bool) -> None:
    known = [{"as_of": (AS_OF - timedelta(days=days)).isoformat(), "profile": {"hit": {"sso": False, "api": True}}}]
    with duckdb.connect() as warehouse:
        warehouse.execute("create schema marts")
        warehouse.execute("create table marts.fct_account_feature_daily as select 'api' as feature_key")
        features = "(values ('api'), ('sso'), ('new')) as t(feature_key)"
        warehouse.execute(f"create table marts.dim_features as from {features}")
        (status, told), does_hold = never_hit(warehouse, history_of(known, AS_OF))
    assert (status, does_hold) == ("failed", holds)
    assert ("sso, catalogued for 28 days" in told) is holds
    assert "new" not in told if holds else "new, sso" in told


@pytest.mark.parametrize(
    ("hit_since", "lost", "holds"),
    [
        ((), "sso", False),  # nobody used it when the check was let pass, and nobody has since
        ((), "sso, api", True),  # another one was not let pass
        ((True,), "sso", True),  # somebody used it, and now nobody ever did: that is another loss
    ],
)
def test_a_feature_that_was_let_pass_holds_no_more_until_it_is_used(
    hit_since: tuple[bool, ...], lost: str, holds: bool
) -> None:
    hits = [*({"sso": hit, "api": True} for hit in hit_since), *[{"sso": False, "api": True}] * 40]
    history = [
        {"as_of": (AS_OF - timedelta(days=n)).isoformat(), "profile": {"hit": hit}} for n, hit in enumerate(hits, 1)
    ]
    with duckdb.connect() as warehouse:
        warehouse.execute("create schema marts")
        used = "where feature_key not in (" + ", ".join(f"'{key}'" for key in lost.split(", ")) + ")"
        features = "(values ('api'), ('sso'), ('crm')) as t(feature_key)"
        warehouse.execute(f"create table marts.dim_features as from {features}")
        warehouse.execute(f"create table marts.fct_account_feature_daily as from marts.dim_features {used}")
        assert never_hit(warehouse, history_of(history, AS_OF))[1] is True  # nobody let it pass yet
        known = history_of(let_pass(1 + len(hit_since), "gate:catalogue", history), AS_OF)
        (status, told), does_hold = never_hit(warehouse, known)
    assert (status, does_hold) == ("failed", holds)
    assert ("let pass by a person" in told) is not holds


@given(COUNTS, COUNTS)
def test_a_shift_is_a_distance(then: dict[str, int], now: dict[str, int]) -> None:
    share, rows = shift(then, now)
    assert 0 <= share <= 1 + 1e-9
    assert shift(now, then)[0] == pytest.approx(share)
    assert shift(then, then)[0] == 0
    assert rows <= max(sum(then.values()), sum(now.values()))


def test_a_shift_says_how_many_are_elsewhere() -> None:
    assert shift({"a": 50, "b": 50}, {"a": 80, "b": 20}) == (pytest.approx(0.3), 30)
    assert NOISE < 30
