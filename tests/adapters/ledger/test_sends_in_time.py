from __future__ import annotations

from datetime import timedelta

import pytest

from uptake.domain.eligibility import Reason

ANN, BOB = ("ann", "a1"), ("bob", "a1")
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def row(world, send_id):
    (found,) = world.ledger.read("send", send_id=send_id)
    return found


@pytest.mark.parametrize(
    ("released_after", "looked_after", "goes"),
    [
        (None, HOUR - SECOND, True),
        (None, HOUR, False),
        (None, -MINUTE, True),  # by which the clocks of two machines may differ
        (None, -MINUTE - SECOND, False),
        (2 * HOUR, 3 * HOUR - SECOND, True),
        (2 * HOUR, 3 * HOUR, False),
        (2 * HOUR, 2 * HOUR - MINUTE, True),
        (2 * HOUR, 2 * HOUR - MINUTE - SECOND, False),
    ],
)
def test_a_decision_to_send_holds_for_an_hour_and_is_made_again_otherwise(world, released_after, looked_after, goes):
    (ann,) = world.planned(ANN)
    if released_after is not None:
        world.claim()
        world.intend([ann])
        world.ledger.sends.unknown([ann], detail="time-out", now=world.now)
        world.ledger.sends.release([ann], by="Grace", reason="checked", now=world.now + released_after)
    assert world.ledger.sends.expire(now=world.now + looked_after) == 0
    assert world.status(ann) == ("planned" if goes else "withheld")
    if not goes:
        assert world.decided() == {("why", "retry", "outside_window"): 1}
        assert ("put back" in row(world, ann)["detail"]) == (looked_after < (released_after or HOUR))


@pytest.mark.parametrize(
    ("passed", "is_free"),
    [(5 * MINUTE - SECOND, False), (5 * MINUTE, True), (-HOUR, False), (-HOUR - SECOND, True)],
)
def test_a_lease_frees_at_its_end_and_when_a_clock_was_put_back(world, passed, is_free):
    (ann,) = world.planned(ANN)
    world.claim("w1", lease=5 * MINUTE)
    world.now += passed
    world.ledger.releases.control("all", "", "pause", reason="look", by="Grace", now=world.now)
    assert world.claim("w2", lease=5 * MINUTE) == []
    assert world.status(ann) == ("planned" if is_free else "claimed")
    world.ledger.sends.withheld([ann], reason=Reason.LEFT, now=world.now, owner="w1")
    assert world.status(ann) == ("planned" if is_free else "withheld"), "who lost it has no word in it any more"


@pytest.mark.parametrize(
    ("passed", "is_doubted"),
    [(MINUTE, False), (MINUTE + SECOND, True), (MINUTE - HOUR, False), (MINUTE - HOUR - SECOND, True)],
)
def test_a_request_is_in_doubt_after_its_deadline_and_when_a_clock_was_put_back(world, passed, is_doubted):
    (ann,) = world.planned(ANN)
    world.claim()
    assert world.intend([ann]) == {}
    assert world.ledger.sends.expire(now=world.now + passed) == is_doubted
    assert world.status(ann) == ("unknown" if is_doubted else "sending")


def test_a_stage_without_a_mail_ends_when_that_was_found_out(world):
    ann, bob = world.planned(ANN, BOB)
    world.claim()
    assert world.intend([ann, bob]) == {}
    world.ledger.sends.failed([ann], detail="400", now=world.now + MINUTE)
    world.ledger.sends.sandboxed([bob], now=world.now + 2 * MINUTE)
    ends = world.ledger.enrollments.tables(now=world.now + HOUR)["stage_ends"].to_pylist()
    assert {end["ended_at"] for end in ends} == {(world.now + n * MINUTE).replace(tzinfo=None) for n in (1, 2)}
