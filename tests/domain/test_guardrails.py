import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.guardrails import FEW, HARMS, MANY_MAILS, MailCounts, audience_held, harm_found
from uptake.domain.workspace import Guardrails, RateLimit

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


LIMITS = {harm: getattr(Guardrails(), harm) for harm in HARMS}


def mails(count: int, domain: str = "big.example", **harms: int) -> MailCounts:
    return MailCounts(mailbox_domain=domain, mails=count, harms=harms)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([], []),
        ([mails(5, complaints=2)], []),  # two may be chance
        ([mails(3000, complaints=3)], []),  # 0.1 %: at the limit
        ([mails(2000, complaints=3)], ["warn 3 complaints of 2000 mails (0.15%), expected at most 0.10%"] * 2),
        ([mails(900, complaints=3)], ["stop 3 complaints of 900 mails (0.33%), expected at most 0.30%"] * 2),
        ([mails(99, bounces=8)], ["warn 8 bounces of 99 mails (8.08%), expected at most 2.00%"]),  # by chance, perhaps
        ([mails(99, bounces=9)], ["stop 9 bounces of 99 mails (9.09%), expected at most 5.00%"]),
        ([mails(10_000, bounces=535)], ["warn 535 bounces of 10000 mails (5.35%), expected at most 2.00%"] * 2),
        ([mails(10_000, bounces=536)], ["stop 536 bounces of 10000 mails (5.36%), expected at most 5.00%"] * 2),
        ([mails(60, "a.example", bounces=3), mails(940, "b.example")], []),  # one customer's server
        (
            [mails(100, "a.example", refusals=22), mails(9900, "b.example")],
            ["stop 22 refusals at a.example of 100 mails (22.00%), expected at most 15.00%"],
        ),
        ([mails(10, "", unsubscribes=3)], ["stop 3 unsubscribes of 10 mails (30.00%), expected at most 5.00%"]),
    ],
)
def test_a_rate_above_its_limit_warns_or_stops(counts: list[MailCounts], told: list[str]) -> None:
    found = harm_found(counts, LIMITS)
    said = [f"{'stop' if one.is_stop else 'warn'} {one.told.replace(' at big.example', '')}" for one in found]
    assert said == told


def test_the_worst_is_told_first() -> None:
    found = harm_found([mails(1000, complaints=3, bounces=30, unsubscribes=300)], LIMITS)
    assert [one.is_stop for one in found] == sorted((one.is_stop for one in found), reverse=True)
    assert {one.is_stop for one in found} == {True, False}


@given(st.integers(1, 10**5), st.integers(0, 10**5), st.integers(0, 10**4), st.sampled_from(HARMS))
def test_more_harm_never_stops_less(count: int, harm: int, more: int, kind: str) -> None:
    harm, more = min(harm, count), min(harm + more, count)
    stops = [one.is_stop for one in harm_found([mails(count, **{kind: harm})], LIMITS)]
    more_stops = [one.is_stop for one in harm_found([mails(count, **{kind: more})], LIMITS)]
    assert sum(stops) <= sum(more_stops)
    assert len(stops) <= len(more_stops)
    assert len(stops) in ({0, 2} if count >= MANY_MAILS else {0, 1})


def test_to_be_stopped_before_one_is_warned_is_refused() -> None:
    with pytest.raises(ValueError, match="expected to be warned first"):
        RateLimit(warn=0.2, stop=0.1)
