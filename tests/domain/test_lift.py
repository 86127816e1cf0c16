from __future__ import annotations

import math
import random

import pytest

from uptake.domain.lift import ArmLift, ArmMean, Lift, SampleRatio, Verdict, always_valid_halfwidth, verdict


def lift(
    *, lift_abs: float, se: float = 0.03, n: int = 200, control: int = 150, pvalue: float = 0.5, srm: float = 0.6
) -> Lift:
    arm = ArmLift(
        arm="treatment",
        n=n,
        mean=0.2 + lift_abs,
        lift_abs=lift_abs,
        lift_rel=lift_abs / 0.2,
        ci_lower=lift_abs - 1.96 * se,
        ci_upper=lift_abs + 1.96 * se,
        se=se,
        pvalue=pvalue,
    )
    return Lift(arms=(arm,), control=ArmMean(arm="holdout", n=control, mean=0.2), srm=SampleRatio(pvalue=srm))


@pytest.mark.parametrize(
    ("result", "final", "expected"),
    [
        pytest.param(lift(lift_abs=0.30, pvalue=1e-9), True, Verdict.HELPS, id="sure at the final read"),
        pytest.param(lift(lift_abs=-0.30, pvalue=1e-9), True, Verdict.HARMS, id="harm is said aloud"),
        pytest.param(lift(lift_abs=0.03), True, Verdict.NOT_YET_PROVED, id="the interval holds zero"),
        pytest.param(lift(lift_abs=0.07, pvalue=0.045), True, Verdict.NOT_YET_PROVED, id="0.045 is not 0.04"),
        pytest.param(
            lift(lift_abs=0.07, pvalue=0.02), False, Verdict.TOO_EARLY, id="a plain interval is no proof early"
        ),
        pytest.param(lift(lift_abs=0.30, pvalue=1e-9), False, Verdict.HELPS, id="sure though we look daily"),
        pytest.param(
            lift(lift_abs=0.30, pvalue=1e-9, control=9), True, Verdict.TOO_EARLY, id="nine accounts are no arm"
        ),
        pytest.param(lift(lift_abs=0.30, pvalue=1e-9, srm=0.0005), True, Verdict.INVALID, id="arms out of balance"),
    ],
)
def test_only_what_is_sure_is_said(result: Lift, final: bool, expected: Verdict) -> None:
    assert verdict(result, planned=400, final=final) is expected


def test_without_a_treated_arm_it_is_too_early() -> None:
    nothing = Lift(arms=(), control=ArmMean(arm="holdout", n=100, mean=0.2), srm=SampleRatio(pvalue=1.0))
    assert verdict(nothing, planned=100, final=True) is Verdict.TOO_EARLY


def test_the_sequence_is_wider_than_a_plain_interval_and_tightest_near_its_optimum() -> None:
    plain = 1.96 * 0.1
    widths = {n: always_valid_halfwidth(0.1, n, n_opt=300) for n in (20, 300, 5_000)}
    assert all(width > plain for width in widths.values())
    assert widths[300] == min(widths.values())


def test_looking_every_day_at_nothing_rarely_says_something() -> None:
    # 300 null playbooks of 400 accounts, looked at after every 20: a plain interval would cry wolf in about a quarter.
    draw = random.Random(7)
    alarms = 0
    for _ in range(300):
        outcomes = [draw.gauss(0, 1) for _ in range(400)]
        for n in range(20, 401, 20):
            difference = sum(outcomes[0:n:2]) / (n / 2) - sum(outcomes[1:n:2]) / (n / 2)
            if abs(difference) > always_valid_halfwidth(math.sqrt(4 / n), n, n_opt=200):
                alarms += 1
                break
    assert alarms / 300 <= 0.03
