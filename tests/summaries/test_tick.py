"""A tick as text."""

from __future__ import annotations

from dataclasses import replace

from tests.summaries.hostile import HOSTILE, check_is_data
from uptake.domain.eligibility import Reason
from uptake.operations.record_delivery import DeliveryResult
from uptake.operations.send import SendResult
from uptake.operations.tick import TickResult
from uptake.operations.tick_report import TickReport
from uptake.summaries.tick import tick_headline, tick_summary


def ticked(decided: TickResult, sent: SendResult | None = None, events: int = 0) -> TickReport:
    return TickReport(folded=DeliveryResult(new_events=events), decided=decided, sent=sent or SendResult())


def test_a_tick_tells_who_came_in_what_was_decided_and_what_was_sent() -> None:
    sent = SendResult(accepted=4, expired=1, stopped=HOSTILE)
    sent.withheld[Reason.SUPPRESSED] = 2
    decided = TickResult(
        status="done", snapshot_id="s1", entered={"a": 3, "b": 0}, held={"c": HOSTILE},
        counts={"retry:outside_window": 7, "account_end:goal_reached": 1, "send": 4},
    )  # fmt: skip
    text = tick_summary(ticked(decided, sent, events=9))
    check_is_data(text)
    assert text.startswith("# Tick: 3 accounts entered, 4 mails accepted")
    for row in (
        "| a | 3 |",
        "| not now | outside window | 7 |",
        "| withheld: suppressed | 2 |",
        "| fate unknown | 1 |",
    ):
        assert row in text
    assert "| b |" not in text
    assert "9 delivery events" in text


def test_a_tick_with_nothing_due_says_so_and_one_that_found_another_says_that() -> None:
    text = tick_summary(ticked(TickResult(status="done")))
    for line in ("Nobody new.", "Nothing was due.", "Nothing was waiting to be sent."):
        assert line in text
    assert "stands in the way" not in text
    assert "another tick is running" in tick_headline(ticked(TickResult(status="another tick is running")))


def test_a_mail_that_left_twice_is_the_first_thing_that_a_tick_tells() -> None:
    told = tick_summary(replace(ticked(TickResult(status="done")), doubled=HOSTILE))
    check_is_data(told)
    assert told.split("\n\n")[1].startswith("**A mail left twice**")
    assert "left twice" not in tick_summary(ticked(TickResult(status="done")))
