import pytest
from statsmodels.stats.power import NormalIndPower

from uptake.domain.detectable import detectable_lift


@pytest.mark.parametrize(("treated", "held_out"), [(90, 10), (500, 500), (9_000, 1_000)])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_the_detectable_lift_is_that_of_a_library(treated: int, held_out: int, rate: float) -> None:
    # statsmodels counts the effect in standard deviations of one account's outcome.
    effect = NormalIndPower().solve_power(nobs1=held_out, ratio=treated / held_out, alpha=0.05, power=0.8)
    found = detectable_lift(treated, held_out, rate=rate)
    assert found == pytest.approx(effect * (rate * (1 - rate)) ** 0.5, rel=1e-3)


def test_without_one_of_the_arms_nothing_is_detectable() -> None:
    assert detectable_lift(0, 10) is None
    assert detectable_lift(10, 0) is None
