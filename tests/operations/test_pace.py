from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uptake.operations.pace import Pace


def sizes(most: int, count: int) -> list[int]:
    """The sizes of a run's requests when all of them are accepted whole."""
    pace, found = Pace(most), []
    for _ in range(count):
        found.append(pace.size)
        pace.passed(pace.size)
    return found


def test_a_run_of_a_thousand_at_once_begins_with_one_then_ten_then_a_hundred():
    assert sizes(1_000, 14) == [1, 10, *[100] * 10, 1_000, 1_000]


def test_a_smaller_limit_is_reached_at_once_and_never_passed():
    assert sizes(4, 3) == [1, 4, 4]
    assert sizes(100, 30) == [1, 10, *[100] * 28]


def test_after_a_doubt_all_trust_is_won_anew():
    pace = Pace(1_000)
    for _ in range(12):
        pace.passed(pace.size)
    assert pace.size == 1_000
    pace.doubtful()
    found = []
    for _ in range(4):
        found.append(pace.size)
        pace.passed(pace.size)
    assert found == [1, 10, 100, 100]


def test_the_refused_message_of_a_thousand_is_found_in_ten_halvings():
    pace = Pace(1_000)
    pace.refused(1_000)
    left, requests = 1_000, 0  # the one at fault is the last of them
    while left > 1:
        left -= pace.size
        pace.passed(pace.size)
        requests += 1
    assert (left, pace.size, requests) == (1, 1, 10)


@given(st.lists(st.sampled_from(("accepted", "refused", "doubtful")), max_size=200), st.integers(1, 1_000))
def test_nobody_beyond_a_hundred_is_at_stake_before_as_many_were_accepted(answers, most):
    pace, accepted = Pace(most), 0
    for answer in answers:
        assert 1 <= pace.size <= most
        assert pace.size <= max(100, accepted)
        if answer == "accepted":
            accepted += pace.size
            pace.passed(pace.size)
        elif answer == "refused":
            pace.refused(pace.size)
        else:
            pace.doubtful()
            accepted = 0
