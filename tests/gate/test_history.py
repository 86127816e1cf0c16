"""What a candidate is compared with, and when that is called a change."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gate.conftest import AS_OF
from uptake.adapters.history_checks import NOISE, history_of, never_hit, shift, volume

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1000))


def manifests(*rows: int, step: timedelta = timedelta(days=1)) -> list[dict[str, Any]]:
    """Manifests of the snapshots before, the newest first, whose mart `m` had so many rows."""
    return [
        {"snapshot_id": f"s{n}", "as_of": (AS_OF - n * step).isoformat(), "row_counts": {"m": count}}
        for n, count in enumerate(rows, 1)
    ]


def found(now: int, history: list[dict[str, Any]]) -> tuple[str, str]:
    with duckdb.connect() as warehouse:
        warehouse.execute("create schema marts")
        warehouse.execute(f"create table marts.m as select n from range({now}) as r(n)")
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
