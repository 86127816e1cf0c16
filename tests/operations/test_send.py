from __future__ import annotations

import logging
from datetime import datetime, timedelta

import pytest

from tests.operations.planned_mails import COUNT, NOW, ScriptedMailer, fails, fine
from uptake.domain.eligibility import Reason
from uptake.domain.sends import SuppressionReason
from uptake.errors import (
    AcceptanceUnknown,
    MessageRefused,
)


def test_everything_planned_is_sent_once_starting_slowly(world):
    mailer = ScriptedMailer()
    result = world.send(mailer)
    assert mailer.sizes == [1, 10, 14]
    assert (result.accepted, result.requests, result.stopped) == (COUNT, 3, None)
    assert world.statuses() == {"accepted": COUNT}
    assert {row["message_id"] for row in world.rows()} == {"message-id"}
    assert {row["attempt"] for row in world.rows()} == {1}


def test_a_second_run_sends_nothing(world):
    world.send(ScriptedMailer())
    mailer = ScriptedMailer()
    assert world.send(mailer).requests == 0
    assert mailer.requests == []


def test_the_batch_size_is_a_ceiling(world):
    mailer = ScriptedMailer()
    world.send(mailer, batch_size=4)
    assert mailer.sizes == [1, *[4] * 6]


def test_intent_is_committed_and_noted_before_a_byte_leaves(world):
    class Notes:
        last = None

        def note(self, send_id: str, intended_at: datetime) -> None:
            self.last = (send_id, intended_at)

    seen, notes, mailer = [], Notes(), ScriptedMailer()
    mailer.before_post = lambda: seen.append((world.statuses()["sending"], notes.last))
    world.send(mailer, witness=notes)
    assert seen == [(len(request), (request[-1], NOW)) for request in mailer.requests]
    assert mailer.sizes == [1, 10, 14]
    assert all(row["body_hash"] for row in world.rows())


def test_a_sandboxed_answer_is_no_acceptance(world):
    result = world.send(ScriptedMailer(sandbox=True), batch_size=1)
    assert (result.sandboxed, result.accepted, result.stopped) == (COUNT, 0, None)
    assert world.statuses() == {"sandboxed": COUNT}


def test_nothing_but_counts_and_ids_is_logged(world, caplog):
    caplog.set_level(logging.DEBUG)
    world.send(ScriptedMailer(fails(MessageRefused("bad", recipient=0)), fails(AcceptanceUnknown("lost"))))
    assert "accepted" in caplog.text
    assert "customer.example" not in caplog.text
    assert "C001" not in caplog.text


# --- what may not be sent any more ------------------------------------------------------------------------------------


def test_an_unsubscribe_between_render_and_intent_stops_the_mail(world):
    mailer = ScriptedMailer()

    def unsubscribe() -> None:
        address_hash = world.ledger.people.address_hash_of("c000")
        world.ledger.people.suppress(
            address_hash, reason=SuppressionReason.UNSUBSCRIBED, topic="training", source="one_click", now=NOW
        )

    mailer.after_render = unsubscribe
    result = world.send(mailer)
    first = world.rows()[0]
    assert (first["contact_id"], first["status"], first["reason"]) == ("c000", "withheld", "suppressed")
    assert result.withheld == {Reason.SUPPRESSED: 1}
    assert not any(first["send_id"] in request for request in mailer.requests)
    assert world.statuses()["accepted"] == COUNT - 1


@pytest.mark.parametrize(("scope", "target"), [("all", ""), ("playbook", "activate"), ("sending", "")])
def test_a_pause_keeps_everything_planned(world, scope, target):
    world.lock("pause", scope, target)
    mailer = ScriptedMailer()
    world.send(mailer)
    assert mailer.requests == []
    assert world.statuses() == {"planned": COUNT}
    world.lock("resume", scope, target)
    assert world.send(ScriptedMailer()).accepted == COUNT


def test_a_pause_in_the_middle_stops_the_next_request(world):
    mailer = ScriptedMailer(fine, lambda send_ids: world.lock("pause", "all"))
    result = world.send(mailer)
    assert mailer.sizes == [1, 10]
    assert "everything is paused" in result.stopped
    assert world.statuses() == {"accepted": 11, "planned": 14}


def test_a_pause_between_render_and_intent_sends_nothing(world):
    mailer = ScriptedMailer()
    mailer.after_render = lambda: world.lock("pause", "playbook", "activate")
    result = world.send(mailer)
    assert mailer.requests == []
    assert result.put_back == 1
    assert world.statuses() == {"planned": COUNT}


def test_without_a_passed_gate_nothing_is_sent(world):
    world.ledger.gates.record(snapshot_id="s1", status="held", checks=[], reasons=["late"], as_of=NOW, now=NOW)
    mailer = ScriptedMailer()
    result = world.send(mailer)
    assert mailer.requests == []
    assert result.withheld == {Reason.GATE_HELD: COUNT}


def test_what_was_decided_on_an_old_snapshot_is_not_sent(world):
    world.as_of = NOW - timedelta(hours=37)
    mailer = ScriptedMailer()
    assert world.send(mailer).withheld == {Reason.GATE_HELD: COUNT}
    assert mailer.requests == []
