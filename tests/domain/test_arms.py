"""Arms: the same for everybody who asks, and in the shares that were asked for."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.arms import Arm, arm_of, draw

ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
shares = st.floats(0, 1)


@pytest.mark.parametrize(
    ("salt", "account_id", "expected"),
    [
        ("feature-breadth", "acc-0001", 0.21042825614113247),
        ("feature-breadth", "acc-0002", 0.912371605543869),
        ("global-control", "acc-0001", 0.7089015965122483),
    ],
)
def test_a_draw_is_what_sha256sum_says(salt: str, account_id: str, expected: float) -> None:
    assert draw(salt, account_id) == expected


@given(ids, ids)
def test_a_draw_lies_between_nought_and_one(salt: str, account_id: str) -> None:
    assert 0 <= draw(salt, account_id) < 1


def test_a_draw_is_the_same_in_sql() -> None:
    accounts = [f"acc-{number}" for number in range(200)] + ["Ünïcode", "😀", ""]
    query = "select ('0x' || substr(sha256('salt:' || a), 1, 15))::bigint / 16::double ^ 15 from unnest(?) t(a)"
    with duckdb.connect() as database:
        drawn = [row[0] for row in database.execute(query, [accounts]).fetchall()]
    assert drawn == [draw("salt", account) for account in accounts]


@given(ids, shares, shares, shares)
def test_a_larger_holdout_never_releases_an_account(
    account_id: str, holdout: float, more: float, control: float
) -> None:
    small, large = sorted((holdout, more))
    if arm_of(account_id, salt="p", holdout=small, global_control=control) is Arm.HOLDOUT:
        assert arm_of(account_id, salt="p", holdout=large, global_control=control) is Arm.HOLDOUT


def test_each_larger_holdout_holds_whom_the_smaller_one_held() -> None:
    accounts = [f"acc-{number}" for number in range(300)]
    held: set[str] = set()
    for percent in range(0, 101, 5):
        arms = {a: arm_of(a, salt="p", holdout=percent / 100, global_control=0.1) for a in accounts}
        now = {account for account, arm in arms.items() if arm is Arm.HOLDOUT}
        assert held <= now
        held = now
    assert len(held) == len(accounts) - sum(arm is Arm.GLOBAL_CONTROL for arm in arms.values())


@given(ids, ids, ids, shares)
def test_global_control_is_one_set_for_all_playbooks(account_id: str, one: str, other: str, control: float) -> None:
    arms = {
        arm_of(account_id, salt=salt, holdout=0.5, global_control=control) is Arm.GLOBAL_CONTROL
        for salt in (one, other)
    }
    assert len(arms) == 1


def test_the_shares_are_those_asked_for() -> None:
    arms = [arm_of(f"acc-{number}", salt="p", holdout=0.4, global_control=0.1) for number in range(20_000)]
    assert arms.count(Arm.GLOBAL_CONTROL) / len(arms) == pytest.approx(0.1, abs=0.01)
    assert arms.count(Arm.HOLDOUT) / len(arms) == pytest.approx(0.9 * 0.4, abs=0.015)


def test_two_playbooks_draw_independently() -> None:
    both = sum(draw("one", f"a{n}") < 0.5 and draw("two", f"a{n}") < 0.5 for n in range(20_000))
    assert both / 20_000 == pytest.approx(0.25, abs=0.015)
