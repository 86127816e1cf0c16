"""A ledger restored from a backup forgets what was sent since: it sends nothing until the service was asked."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.crash.outbox import NOW, Outbox, copy_ledger, judge, load_people, plan_sends, serving
from uptake.operations.reconcile import guard, trust
from uptake.operations.record_delivery import record_delivery
from uptake.sandbox.fakegrid import EventPoster
from uptake.sandbox.fakegrid.accept_log import Tail, accepted_path

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def world(planned, home, clock, fakegrid):
    outbox = Outbox(copy_ledger(planned, home), home, f"http://127.0.0.1:{fakegrid}", clock)
    yield outbox
    outbox.close()


def tick(world: Outbox) -> None:
    """As `Uptake.tick` does: fold, look for hints of a restored ledger, reconcile, (decide,) send."""
    record_delivery(world.ledger, world.events, clock=world.clock)
    guard(world.ledger, world.witness, now=world.clock.now())
    if world.ledger.releases.controls().forgotten is not None or world.ledger.read("unresolved_sends"):
        world.reconcile()
    run = world.ledger.runs.begin("tick", owner="test", now=world.clock.now(), lease=MINUTE)
    assert run is not None
    world.ledger.runs.finish(run, status="done", detail="", now=world.clock.now())
    world.send()


def restore(world: Outbox, backup: Path) -> Outbox:
    """Put the backup in the ledger's place."""
    world.close()
    shutil.copy(backup, world.home / "ledger.sqlite3")
    return Outbox(world.url, world.home, world.base_url, world.clock)


def backup_of(world: Outbox) -> Path:
    return Path(shutil.copy(world.home / "ledger.sqlite3", world.home / "backup.sqlite3"))


def accepted(home: Path) -> int:
    return len(Tail(accepted_path(home)).read_new())


def test_what_was_sent_after_the_backup_is_not_sent_again(world):
    backup = backup_of(world)
    tick(world)
    assert accepted(world.home) == 12
    world.clock.moment += 20 * MINUTE
    world = restore(world, backup)
    assert Counter(world.statuses().values()) == {"planned": 12}
    tick(world)
    locked = world.ledger.releases.controls()
    assert "older copy was restored" in (locked.sending_locked or "")
    assert accepted(world.home) == 12
    assert Counter(world.statuses().values()) == {"accepted": 12}, "the log has them already"
    world.clock.moment += HOUR
    tick(world)
    assert world.ledger.releases.controls().sending_locked is None, "the log has had time to show everything"
    world.clock.moment += HOUR
    tick(world)
    assert world.ledger.releases.controls().sending_locked is None, "what is settled locks nothing again"
    assert judge(world.home, world.statuses()).is_clean
    world.close()


def test_the_log_may_lag_for_an_hour_and_still_nothing_is_sent_twice(planned, home, clock):
    with serving(home, clock, log_lag=59 * MINUTE) as server:
        world = Outbox(copy_ledger(planned, home), home, server.url, clock)
        backup = backup_of(world)
        tick(world)
        world = restore(world, backup)
        for _ in range(8):
            world.clock.moment += 10 * MINUTE
            tick(world)
        assert world.ledger.releases.controls().sending_locked is None
        assert Counter(world.statuses().values()) == {"accepted": 12}
        assert judge(home, world.statuses()).is_clean
        world.close()


def test_sends_that_the_backup_never_planned_are_known_when_they_are_planned_again(world):
    """The backup is older than the decision itself: the same tick makes the same send ids, and they are taken."""
    backup = backup_of(world)
    late = ["late-1", "late-2"]
    rows = world.ledger.read("gates", count=1)
    load_people(world.ledger, late, now=world.clock.now())
    plan_sends(world.ledger, late, gate_id=rows[0]["gate_id"], now=NOW)
    tick(world)
    assert accepted(world.home) == 14
    world = restore(world, backup)
    world.clock.moment += 5 * MINUTE
    tick(world)
    world.clock.moment += HOUR
    tick(world)
    assert world.ledger.releases.controls().sending_locked is None
    load_people(world.ledger, late, now=world.clock.now())
    plan_sends(world.ledger, late, gate_id=rows[0]["gate_id"], now=world.clock.now())
    tick(world)
    assert accepted(world.home) == 14
    verdict = judge(world.home, world.statuses())
    assert verdict.is_clean, verdict
    assert Counter(world.statuses().values()) == {"accepted": 14}
    world.close()


def test_a_whole_home_restored_is_found_out_by_the_gap_between_ticks(world):
    """Then the witness is as old as the ledger; only the time that passed gives it away."""
    tick(world)
    world.clock.moment += HOUR
    late = [f"late-{number}" for number in range(3)]
    load_people(world.ledger, late, now=world.clock.now())
    backup, gate_id = backup_of(world), world.ledger.read("gates", count=1)[0]["gate_id"]
    witness = (world.home / "last_intent.json").read_bytes()
    plan_sends(world.ledger, late, gate_id=gate_id, now=world.clock.now())
    tick(world)
    assert accepted(world.home) == 15
    world.clock.moment += 3 * HOUR
    world = restore(world, backup)
    (world.home / "last_intent.json").write_bytes(witness)
    guard(world.ledger, world.witness, now=world.clock.now())
    assert "UPTAKE_TICK_INTERVAL (1:00:00)" in (world.ledger.releases.controls().sending_locked or "")
    plan_sends(world.ledger, late, gate_id=gate_id, now=world.clock.now())
    tick(world)
    world.clock.moment += HOUR
    tick(world)
    assert accepted(world.home) == 15
    assert world.ledger.releases.controls().sending_locked is None
    assert judge(world.home, world.statuses()).is_clean
    world.close()


def test_an_event_for_a_send_never_made_locks_until_the_log_was_asked(world):
    backup = backup_of(world)
    tick(world)
    (world.home / "last_intent.json").unlink()
    world = restore(world, backup)

    def take(request: httpx.Request) -> httpx.Response:
        world.ledger.delivery.store(request.content, now=world.clock.now())
        return httpx.Response(204)

    poster = EventPoster(
        world.home, "http://127.0.0.1:1/hook", client=httpx.Client(transport=httpx.MockTransport(take))
    )
    world.clock.moment += MINUTE
    poster.post_due(world.clock.now())
    poster.close()
    tick(world)
    assert "was a backup restored" in (world.ledger.releases.controls().sending_locked or "")
    world.clock.moment += HOUR
    tick(world)
    assert world.ledger.releases.controls().sending_locked is None
    assert accepted(world.home) == 12
    assert judge(world.home, world.statuses()).is_clean
    world.close()


def test_the_lock_stays_while_the_log_cannot_be_asked_and_a_person_may_open_it(world):
    world.ledger.releases.control(
        "forgotten", (NOW - HOUR).isoformat(), "stop", reason="restored", by="ledger", now=NOW - 2 * HOUR
    )
    world.logs._api._client.headers["Authorization"] = "Bearer SG.other"
    result = world.reconcile()
    assert "may not read the logs" in (result.trouble or "")
    assert "--trust-ledger" in (result.locked or "")
    assert world.send().requests == 0
    world.resume()
    assert world.send().requests == 0, "resuming sending does not open it"
    assert trust(world.ledger, by="Grace", reason="never sent from here", now=NOW)
    assert not trust(world.ledger, by="Grace", reason="again", now=NOW)
    assert world.send().accepted == 12


def test_what_lies_before_the_logs_memory_keeps_the_lock(world):
    since = NOW - timedelta(days=31)
    world.ledger.releases.control(
        "forgotten", since.isoformat(), "stop", reason="restored", by="ledger", now=NOW - 2 * HOUR
    )
    assert "30 days" in (world.reconcile().locked or "")
    assert world.ledger.releases.controls().forgotten is not None


def test_a_ledger_that_ticks_in_time_is_never_locked(world):
    for _ in range(4):
        tick(world)
        world.clock.moment += 2 * HOUR
    assert [row for row in world.ledger.read("controls") if row["scope"] == "forgotten"] == []


@pytest.mark.parametrize("kept", ["{", "[]", '{"send_id": "f", "sending_at": "2026-03-03"}', "\udcff"])
def test_a_damaged_witness_locks_until_the_log_was_asked(world, kept):
    backup = backup_of(world)
    tick(world)
    path = world.home / "last_intent.json"
    path.write_text(kept, errors="surrogateescape")
    os.utime(path, (NOW.timestamp(),) * 2)
    world.clock.moment += 20 * MINUTE
    world = restore(world, backup)
    tick(world)
    assert "last_intent.json is damaged" in (world.ledger.releases.controls().sending_locked or "")
    world.clock.moment += HOUR
    for _ in range(2):
        tick(world)
        assert world.ledger.releases.controls().sending_locked is None, "what is settled locks nothing again"
        world.clock.moment += HOUR
    assert accepted(world.home) == 12
    assert judge(world.home, world.statuses()).is_clean
