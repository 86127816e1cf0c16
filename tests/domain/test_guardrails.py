import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.guardrails import FEW, audience_held

COUNTS = st.integers(0, 10**6)


@pytest.mark.parametrize(
    ("before", "now", "is_held"),
    [
        (100, 150, False),
        (100, 151, True),
        (100, 50, False),
        (100, 49, True),
        (4, 14, False),
        (4, 15, True),
        (0, 11, True),
    ],
)
def test_an_audience_may_change_by_a_share_and_by_a_few(before: int, now: int, is_held: bool) -> None:
    assert (audience_held(before, now, limit=0.5) is not None) is is_held


def test_the_reason_tells_both_sizes_and_what_to_do() -> None:
    told = audience_held(100, 400, limit=0.5)
    assert told is not None
    assert "rose from 100 to 400 accounts, expected a change of at most 50%" in told
    assert "fell from 400 to 100" in (audience_held(400, 100, limit=0.5) or "")


@given(COUNTS, st.floats(0, 1))
def test_without_an_audience_before_nothing_is_held(now: int, limit: float) -> None:
    assert audience_held(None, now, limit=limit) is None


@given(COUNTS, COUNTS, st.floats(0, 1))
def test_a_wider_limit_never_holds_more(before: int, now: int, limit: float) -> None:
    if audience_held(before, now, limit=limit) is None:
        assert audience_held(before, now, limit=1.0) is None
    assert audience_held(before, before + FEW, limit=limit) is None
