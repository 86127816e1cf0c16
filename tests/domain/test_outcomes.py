from __future__ import annotations

from datetime import date, timedelta

import pytest

from uptake.domain.arms import Arm
from uptake.domain.lift import Verdict
from uptake.domain.outcomes import PlaybookOutcome, goal_reached_on

ENTRY = date(2026, 3, 2)
END = ENTRY + timedelta(days=14)


def after(*days: int) -> set[date]:
    return {ENTRY + timedelta(days=n) for n in days}


@pytest.mark.parametrize(
    ("used", "adopted_days", "reached"),
    [
        pytest.param(after(1, 2, 9), 3, ENTRY + timedelta(days=9), id="on the third day of use"),
        pytest.param(after(-10, -3, 4), 3, ENTRY + timedelta(days=4), id="use before entry counts to the state"),
        pytest.param(after(-3, -2, -1), 3, ENTRY, id="met at entry counts from entry, in every arm"),
        pytest.param(after(1, 2, 14), 3, END, id="the last day counts"),
        pytest.param(after(1, 2, 15), 3, None, id="a day too late"),
        pytest.param(after(-27, 1, 2), 3, None, id="the first use has left the window by then"),
        pytest.param(after(6), None, ENTRY + timedelta(days=6), id="tried at all"),
        pytest.param(after(15), None, None, id="tried too late"),
        pytest.param(set(), 3, None, id="no use"),
    ],
)
def test_the_first_day_the_goal_holds(used: set[date], adopted_days: int | None, reached: date | None) -> None:
    assert goal_reached_on(used, enrolled_on=ENTRY, window_ends_on=END, adopted_days=adopted_days) == reached


def test_a_read_is_final_when_no_window_is_open() -> None:
    def outcome(closed: int) -> PlaybookOutcome:
        return PlaybookOutcome(
            playbook="p",
            count_enrolled={Arm.TREATMENT: 3, Arm.HOLDOUT: 2},
            count_closed={Arm.TREATMENT: closed, Arm.HOLDOUT: 2},
            count_reached={},
            lift=None,
            verdict=Verdict.TOO_EARLY,
            breadth_before=None,
            breadth_after=None,
        )

    assert outcome(3).is_final
    assert not outcome(2).is_final
