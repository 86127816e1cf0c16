"""What somebody has to look at is said at once, and nothing is said where there is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.operations.status import alarms, status
from uptake.ports import Keys

NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}", Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,)))
    yield ledger
    ledger.close()


def told(ledger: SqlLedger, now: datetime = NOW) -> str:
    return "\n".join(alarms(ledger, now=now, tick_interval=HOUR))


def test_a_new_home_has_nothing_to_look_at(ledger):
    found = status(ledger, now=NOW, tick_interval=HOUR)
    assert (found.gate, found.alarms, found.held, found.sends) == (None, [], [], [])


def test_a_lock_of_sending_is_an_alarm_until_it_is_opened(ledger):
    ledger.releases.control("sending", "*", "stop", reason="the key was refused", by="uptake", now=NOW)
    assert told(ledger) == "sending is locked: the key was refused; `uptake resume --sending` opens it"
    ledger.releases.control("sending", "*", "resume", reason="a new key", by="Grace", now=NOW + HOUR)
    assert told(ledger) == ""


def test_the_alarm_of_a_restored_ledger_names_the_command_that_asks_the_log(ledger):
    ledger.releases.control("forgotten", NOW.isoformat(), "stop", reason="an old copy", by="uptake", now=NOW)
    assert told(ledger) == "sending is locked: an old copy; `uptake reconcile` opens it"


def test_what_two_ticks_did_not_fold_is_an_alarm(ledger):
    ledger.delivery.store(b"[{}]", now=NOW)
    assert told(ledger, NOW + 2 * HOUR) == ""
    assert "1 webhook bodies are not folded, the first is batch 1 of 2026-03-03 09:00" in told(
        ledger, NOW + 2 * HOUR + timedelta(seconds=1)
    )


def test_held_messages_are_an_alarm_and_those_that_wait_for_evidence_are_not(ledger, monkeypatch):
    rows = [{"status": "held"}, {"status": "unknown"}, {"status": "held"}]
    read = ledger.read
    monkeypatch.setattr(ledger, "read", lambda query: rows if query == "stuck_sends" else read(query))
    assert told(ledger).startswith("2 messages are held")


def test_only_the_newest_orders_are_listed(ledger):
    for minute in range(25):
        ledger.releases.control(
            "playbook", f"p{minute}", "pause", reason="rest", by="Grace", now=NOW + timedelta(minutes=minute)
        )
    found = status(ledger, now=NOW + HOUR, tick_interval=HOUR).controls
    assert [row["target"] for row in found] == [f"p{minute}" for minute in range(24, 4, -1)]
