from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.features import AdoptionState, FeatureUse, adoption_state, is_adopted

TODAY = date(2026, 3, 31)


def days(*ago: int) -> set[date]:
    return {TODAY - timedelta(days=n) for n in ago}


@pytest.mark.parametrize(
    ("used", "state"),
    [
        pytest.param(set(), AdoptionState.NEVER, id="no use"),
        pytest.param(days(-1, -2, -3), AdoptionState.NEVER, id="only future use"),
        pytest.param(days(0, 5), AdoptionState.TRIED, id="two days"),
        pytest.param(days(0, 5, 27), AdoptionState.ADOPTED, id="three days, the first on the window's edge"),
        pytest.param(days(5, 6, 28), AdoptionState.LAPSED, id="adopted until yesterday"),
        pytest.param(days(40, 41, 42), AdoptionState.LAPSED, id="adopted long ago"),
        pytest.param(days(0, 30, 60, 90), AdoptionState.TRIED, id="often, but never three in a window"),
    ],
)
def test_the_state_of_a_feature(used: set[date], state: AdoptionState) -> None:
    assert adoption_state(used, TODAY, adopted_days=3) is state


@given(st.sets(st.integers(0, 120), max_size=12), st.integers(1, 5))
def test_lapsed_means_adopted_on_some_earlier_day(ago: set[int], adopted_days: int) -> None:
    used = days(*ago)
    ever = any(is_adopted(used, TODAY - timedelta(days=n), adopted_days=adopted_days) for n in range(121))
    state = adoption_state(used, TODAY, adopted_days=adopted_days)
    assert (state in (AdoptionState.ADOPTED, AdoptionState.LAPSED)) == ever


def test_a_feature_nobody_pays_for_has_no_share() -> None:
    def use(entitled: int) -> FeatureUse:
        return FeatureUse(
            feature_key="alerts",
            name="Alerts",
            count_accounts_entitled=entitled,
            count_accounts_adopted=1,
            count_accounts_tried=0,
            count_accounts_lapsed=0,
        )

    assert use(0).adopted_share == 0
    assert use(4).adopted_share == 0.25
