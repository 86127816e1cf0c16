from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.operations.planned_mails import COUNT, NOW, ScriptedMailer, fails, fine
from uptake.domain.eligibility import Reason
from uptake.errors import (
    AcceptanceUnknown,
    MailerUnavailable,
    MessageRefused,
    PlaybookError,
    SendingForbidden,
    UnexpectedAnswer,
)
from uptake.ports import MailBatch, Rendered


def test_unknown_is_never_sent_again_and_the_pace_falls_to_one(world):
    mailer = ScriptedMailer(fine, fine, fails(AcceptanceUnknown("read time-out")))
    result = world.send(mailer)
    assert mailer.sizes == [1, 10, 14]
    assert (result.accepted, result.unknown) == (11, 14)
    again = ScriptedMailer()
    assert world.send(again).requests == 0
    assert world.statuses() == {"accepted": 11, "unknown": 14}


def test_after_an_unknown_the_pace_is_slow_again(world):
    mailer = ScriptedMailer(fine, fails(AcceptanceUnknown("x")))
    world.send(mailer)
    assert mailer.sizes == [1, 10, 1, 10, 3]


class OneByOne(ScriptedMailer):
    """Renders one message of a claim at a time, as with long ones."""

    def render(self, batch: MailBatch) -> Rendered:
        return super().render(replace(batch, recipients=batch.recipients[:1]))


@pytest.mark.parametrize(
    ("answer", "put_back"), [(fine, 0), (fails(AcceptanceUnknown("x")), 9), (fails(MessageRefused("x")), 9)]
)
def test_the_rest_of_a_claim_goes_on_after_a_success_alone(world, answer, put_back):
    mailer = OneByOne(fine, answer)
    result = world.send(mailer)
    assert (result.put_back, result.stopped) == (put_back, None)
    assert mailer.sizes == [1] * COUNT


def test_five_in_a_row_without_an_answer_stop_every_worker_for_five_minutes(world):
    result = world.send(ScriptedMailer(always=fails(AcceptanceUnknown("x"))))
    assert (result.requests, result.unknown) == (5, 5)
    assert "5 requests in a row" in result.stopped
    assert world.statuses() == {"unknown": 5, "planned": COUNT - 5}
    assert "paused until 2026-03-03 09:05:00" in world.send(ScriptedMailer(), owner="w2").stopped
    world.clock.moment = NOW + timedelta(minutes=5)
    assert world.send(ScriptedMailer(), owner="w2").accepted == COUNT - 5


@pytest.mark.parametrize(
    ("error", "in_a_row"), [(AcceptanceUnknown("x"), 4), (MessageRefused("content is required"), 2)]
)
def test_a_success_ends_the_row_of_what_went_wrong(world, error, in_a_row):
    mailer = ScriptedMailer(*[fails(error)] * in_a_row, fine, *[fails(error)] * in_a_row)
    result = world.send(mailer, batch_size=1)
    assert (result.accepted, result.unknown + result.failed, result.stopped) == (
        COUNT - 2 * in_a_row,
        2 * in_a_row,
        None,
    )
    assert world.ledger.releases.controls().playbooks == {}


def test_an_answer_sendgrid_does_not_give_stops_the_run_at_once(world):
    result = world.send(ScriptedMailer(always=fails(UnexpectedAnswer("302"))))
    assert (result.requests, result.unknown, result.stopped) == (1, 1, "302")


def test_an_unreachable_service_gets_everything_back(world):
    result = world.send(ScriptedMailer(fine, fails(MailerUnavailable("no connection"))))
    assert (result.requests, result.accepted, result.stopped) == (2, 1, "no connection")
    assert world.statuses() == {"accepted": 1, "planned": COUNT - 1}
    assert world.send(ScriptedMailer()).accepted == COUNT - 1  # nothing stands in the way of the next run


def test_a_rate_limit_pauses_every_worker_until_its_reset(world):
    result = world.send(ScriptedMailer(fine, fails(MailerUnavailable("429", retry_after=90))))
    assert (result.requests, result.put_back) == (2, 10)
    other = ScriptedMailer()
    assert "paused until 2026-03-03 09:01:30" in world.send(other, owner="w2").stopped
    assert other.requests == []
    world.clock.moment = NOW + timedelta(seconds=90)
    assert world.send(ScriptedMailer(), owner="w2").accepted == COUNT - 1


def test_a_limit_that_is_used_up_pauses_every_worker_before_anything_is_refused(world):
    mailer = ScriptedMailer()
    mailer.seconds_to_wait = 90.0
    result = world.send(mailer)
    assert (result.requests, result.accepted) == (1, 1)
    assert "before its limit is reset" in result.stopped
    assert world.statuses() == {"accepted": 1, "planned": COUNT - 1}
    other = ScriptedMailer()
    assert "paused until 2026-03-03 09:01:30" in world.send(other, owner="w2").stopped
    world.clock.moment = NOW + timedelta(seconds=90)
    assert world.send(ScriptedMailer(), owner="w2").accepted == COUNT - 1


def test_a_refused_key_locks_sending_until_a_person_resumes(world):
    result = world.send(ScriptedMailer(fine, fails(SendingForbidden("401: Maximum credits exceeded"))))
    assert "Maximum credits exceeded" in result.stopped
    assert world.statuses() == {"accepted": 1, "planned": COUNT - 1}
    world.clock.moment = NOW + timedelta(minutes=50)
    blocked = ScriptedMailer()
    assert "sending is locked" in world.send(blocked).stopped
    assert blocked.requests == []
    world.lock("resume")
    assert world.send(ScriptedMailer()).accepted == COUNT - 1


def test_what_was_decided_an_hour_ago_is_not_sent_but_decided_again(world):
    # Its window may have closed and its caps filled since: five hours later it can be the middle of the night.
    world.send(ScriptedMailer(fine, fails(SendingForbidden("401: Maximum credits exceeded"))))
    world.clock.moment = NOW + timedelta(hours=5)
    world.lock("resume")
    mailer = ScriptedMailer()
    assert world.send(mailer).accepted == 0
    assert mailer.requests == []
    assert world.statuses() == {"accepted": 1, "withheld": COUNT - 1}
    tables = world.ledger.enrollments.tables(now=world.clock.moment)
    assert tables["stage_ends"].num_rows == 1  # only the one that left: the others' stage goes on


def test_a_named_address_is_taken_out_and_the_others_are_sent(world):
    mailer = ScriptedMailer(fine, fails(MessageRefused("no valid address", recipient=3)))
    result = world.send(mailer)
    assert (result.accepted, result.failed, result.invalid) == (COUNT - 1, 1, 1)
    bad = mailer.requests[1][3]
    row = next(row for row in world.rows() if row["send_id"] == bad)
    assert (row["status"], row["detail"]) == ("failed", "invalid address: no valid address")
    stopped = world.ledger.enrollments.tables(now=NOW)["suppressions"].to_pylist()
    assert [row["address_hash"] for row in stopped] == [world.ledger.people.address_hash_of(row["contact_id"])]
    assert not any(bad in request for request in mailer.requests[2:])


def test_too_many_bad_addresses_stop_the_run(world):
    result = world.send(ScriptedMailer(fine, always=fails(MessageRefused("no valid address", recipient=0))))
    assert (result.invalid, result.accepted) == (6, 1)
    assert "the list needs a look" in result.stopped
    assert world.statuses()["planned"] == COUNT - 7


def test_of_a_long_list_a_share_may_be_bad(world, monkeypatch):
    monkeypatch.setattr("uptake.operations.send._INVALID_SHARE", 0.5)
    result = world.send(ScriptedMailer(fine, fine, always=fails(MessageRefused("no valid address", recipient=0))))
    assert (result.invalid, result.accepted) == (12, 11), "12 of 23 are more than half"
    assert "the list needs a look" in result.stopped


def test_a_named_place_that_no_recipient_has_names_nobody(world):
    result = world.send(ScriptedMailer(fails(MessageRefused("no valid address", recipient=1))))
    assert (result.accepted, result.failed, result.invalid) == (COUNT - 1, 1, 0)
    assert world.rows()[0]["detail"] == "no valid address"
    assert world.ledger.enrollments.tables(now=NOW)["suppressions"].num_rows == 0


@pytest.mark.parametrize("position", [0, 1, 7, 12, 24])
def test_an_unnamed_cause_is_found_by_halves(world, position):
    bad = world.rows()[position]["send_id"]

    def refuse(send_ids: tuple[str, ...]) -> str | None:
        if bad in send_ids:
            raise MessageRefused("Bad Request")
        return None

    mailer = ScriptedMailer(always=refuse)
    result = world.send(mailer)
    assert (result.accepted, result.failed, result.stopped) == (COUNT - 1, 1, None)
    assert world.rows()[position]["status"] == "failed"
    assert len(mailer.requests) <= 14
    assert world.ledger.releases.controls().playbooks == {}


def test_what_fails_for_different_reasons_pauses_nothing(world):
    errors = [fails(MessageRefused(f"refused: {number}")) for number in (1, 2, 1, 2)]
    assert world.send(ScriptedMailer(*errors), batch_size=1).failed == 4
    assert world.ledger.releases.controls().playbooks == {}


def test_what_fails_alike_three_times_pauses_the_playbook(world):
    result = world.send(ScriptedMailer(always=fails(MessageRefused("content is required"))))
    assert result.failed == 3
    assert world.ledger.releases.controls().playbooks == {"activate": "pause"}
    assert world.statuses() == {"failed": 3, "planned": COUNT - 3}


def test_a_text_that_cannot_be_compiled_pauses_its_playbook_and_fails_nobody(world):
    mailer = ScriptedMailer()
    mailer.after_render = lambda: (_ for _ in ()).throw(PlaybookError("stage why: line 3"))
    result = world.send(mailer)
    assert result.requests == 0
    assert world.ledger.releases.controls().playbooks == {"activate": "pause"}
    assert world.statuses() == {"planned": COUNT}


def test_who_cannot_be_rendered_is_withheld_with_the_reason(world):
    mailer = ScriptedMailer()
    mailer.refuse = {"c003": Reason.VALUE_MISSING, "c004": Reason.VALUE_MISSING}
    result = world.send(mailer)
    assert result.withheld == {Reason.VALUE_MISSING: 2}
    assert world.statuses() == {"accepted": COUNT - 2, "withheld": 2}
    assert [row["reason"] for row in world.rows() if row["status"] == "withheld"] == ["value_missing"] * 2


def test_who_is_gone_from_the_snapshot_is_withheld(world):
    class WithoutOne:
        def values(self, *args: Any) -> dict[str, Any]:
            values = world.values(*args)
            return {send_id: row for send_id, row in values.items() if row["account"]["account_id"] != "c005"}

    result = world.send(ScriptedMailer(), fields=WithoutOne())
    assert result.withheld == {Reason.LEFT: 1}
    assert world.statuses() == {"accepted": COUNT - 1, "withheld": 1}
