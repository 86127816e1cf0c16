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


def test_a_run_begins_with_one_and_takes_ten_times_as_many_each_time():
    assert sizes(1_000, 5) == [1, 10, 100, 1_000, 1_000]


def test_a_smaller_limit_is_never_passed():
    assert sizes(4, 3) == [1, 4, 4]
    assert sizes(100, 5) == [1, 10, 100, 100, 100]


def test_after_a_doubt_a_run_begins_anew():
    pace = Pace(1_000)
    for _ in range(5):
        pace.passed(pace.size)
    pace.doubtful()
    found = []
    for _ in range(4):
        found.append(pace.size)
        pace.passed(pace.size)
    assert found == [1, 10, 100, 1_000]


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
def test_a_request_holds_at_most_ten_times_what_was_accepted_before(answers, most):
    pace, accepted = Pace(most), 0
    for answer in answers:
        assert 1 <= pace.size <= max(1, min(most, 10 * accepted))
        if answer == "accepted":
            accepted = max(accepted, pace.size)
            pace.passed(pace.size)
        elif answer == "refused":
            pace.refused(pace.size)
        else:
            pace.doubtful()
            accepted = 0
