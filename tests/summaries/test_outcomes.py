"""Outcomes and lifts as text."""

from __future__ import annotations

from typing import Any

from tests.summaries.hostile import HOSTILE, check_is_data
from uptake.domain.arms import Arm
from uptake.domain.lift import ArmLift, ArmMean, Lift, SampleRatio, Verdict
from uptake.domain.outcomes import PlaybookOutcome
from uptake.summaries.outcomes import lift_summary, outcome_summary

LIFT = Lift(
    arms=(
        ArmLift(
            arm="treatment",
            n=30,
            mean=0.5,
            lift_abs=0.2,
            lift_rel=0.66,
            ci_lower=-0.01,
            ci_upper=0.4,
            se=0.1,
            pvalue=0.06,
        ),
    ),
    control=ArmMean(arm=HOSTILE, n=20, mean=0.3),
    srm=SampleRatio(pvalue=0.5),
    warnings=(HOSTILE,),
)


def outcome(**changes: Any) -> PlaybookOutcome:
    none: dict[Arm, int] = {}
    values: dict[str, Any] = {
        "playbook": HOSTILE, "count_enrolled": none, "count_closed": none, "count_reached": none, "lift": None,
        "verdict": Verdict.TOO_EARLY, "breadth_before": None, "breadth_after": None,
    }  # fmt: skip
    return PlaybookOutcome(**{**values, **changes})


def test_outcomes_show_points_and_their_interval_and_a_dash_before_there_is_any() -> None:
    text = outcome_summary([outcome(), outcome(playbook="b", lift=LIFT, verdict=Verdict.HELPS)], report="value.html")
    check_is_data(text)
    assert "| too early to say | – | – |" in text
    assert "| helps | +20.0 points | -1.0 to +40.0 |" in text
    assert "`value.html`" in text
    assert "No playbook has taken anybody in yet." in outcome_summary([])


def test_a_lift_names_its_arms_as_text_and_raises_the_alarm() -> None:
    check_is_data(lift_summary(LIFT))
    alarm = Lift(arms=LIFT.arms, control=LIFT.control, srm=SampleRatio(pvalue=1e-6))
    assert "ALARM" in lift_summary(alarm)
