"""Each flow on a real home: its state, its message, its artifacts, and what it left in the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from flows.measure import measure
from flows.nightly import nightly
from flows.override import override
from flows.refresh import refresh
from flows.run_playbook import run_playbook
from flows.tick import tick
from tests.flows.ui_process import Ui
from uptake.bootstrap import Uptake
from uptake.ports import Build, Check

pytestmark = pytest.mark.flows

Ended = Callable[..., State[Any]]


def run_id(state: State[Any]) -> str:
    assert state.state_details.flow_run_id is not None
    return str(state.state_details.flow_run_id)


def mails(uptake: Uptake) -> list[str]:
    lines = (uptake.home / "fakegrid" / "accepted.jsonl").read_text().splitlines()
    return [json.loads(line)["send_id"] for line in lines]


def test_planning_only_shows_the_plan_and_mails_nobody(ended: Ended, ui: Ui, uptake: Uptake) -> None:
    before, approvals = mails(uptake), uptake.ledger.read("approvals")
    state = ended(run_playbook, playbook="feature-breadth")
    plan = uptake.ledger.releases.latest_plan("feature-breadth")
    assert plan is not None
    assert state.is_completed()
    assert f"plan {plan.plan_id}: {plan.count_accounts}" in (state.message or "")
    assert plan.plan_id.split("-")[-1] in ui.artifacts(run_id(state))["plan-feature-breadth"]
    assert mails(uptake) == before
    assert uptake.ledger.read("approvals") == approvals


@pytest.mark.parametrize("nobody", ["", "   "])
def test_approving_needs_a_name(ended: Ended, ui: Ui, uptake: Uptake, nobody: str) -> None:
    plans, approvals = uptake.ledger.read("plans"), uptake.ledger.read("approvals")
    state = ended(run_playbook, playbook="feature-breadth", mode="approve and run", approved_by=nobody)
    assert state.is_failed()
    assert (state.message or "").startswith("approved_by is empty")
    assert uptake.ledger.read("plans") == plans
    assert uptake.ledger.read("approvals") == approvals


def test_an_unknown_playbook_fails_in_one_line(ended: Ended) -> None:
    state = ended(run_playbook, playbook="no-such-playbook")
    assert state.is_failed()
    assert "no-such-playbook" in (state.message or "")
    assert "\n" not in (state.message or "")
    assert "Traceback" not in (state.message or "")


def test_approving_keeps_the_name_and_ticking_again_sends_nothing_twice(ended: Ended, ui: Ui, uptake: Uptake) -> None:
    before = mails(uptake)
    uptake.sandbox_clock.move(uptake.clock.now() + timedelta(hours=12))  # 18:00 UTC: the west of America wakes
    state = ended(run_playbook, playbook="scheduled-reports", mode="approve and run", approved_by="Ada Example")
    assert state.is_completed(), state.message
    newest = uptake.ledger.read("approvals")[0]
    assert (newest["playbook"], newest["approved_by"]) == ("scheduled-reports", "Ada Example")
    shown = ui.artifacts(run_id(state))
    assert set(shown) == {"plan-scheduled-reports", "tick"}
    sent = mails(uptake)
    assert len(sent) > len(before), "whose morning the demo's ticks never met is mailed now"
    assert f"| accepted by the mail service | {len(sent) - len(before)} |" in shown["tick"]
    ended(tick)  # a person who won one mail of two in the first tick gets the other one now
    sent = mails(uptake)
    shown = ui.artifacts(run_id(ended(tick)))
    assert "0 mails accepted" in shown["tick"]
    count = len(uptake.ledger.read("open_tasks"))
    assert shown["tasks"].startswith(f"# {count:,} tasks are open" if count else "# No task is open")
    assert mails(uptake) == sent
    assert len(set(sent)) == len(sent)


def test_measuring_tells_each_verdict_and_writes_the_report(ended: Ended, ui: Ui, uptake: Uptake) -> None:
    report = uptake.home / "reports" / "value-report.html"
    report.unlink(missing_ok=True)
    state = ended(measure)
    told = "; ".join(f"{outcome.playbook}: {outcome.verdict}" for outcome in uptake.measure())
    assert state.message == told
    assert "too early to say" in ui.artifacts(run_id(state))["value"]
    assert report.is_file()


def test_the_night_makes_the_lists_of_both_sides_one(ended: Ended, uptake: Uptake) -> None:
    first = ended(nightly)
    assert first.is_completed(), first.message
    again = ended(nightly)
    assert again.message == "told SendGrid of 0 addresses, learned 0; 0 old bodies emptied"


def test_a_pause_ends_a_tick_as_held_and_says_why(ended: Ended, ui: Ui, uptake: Uptake) -> None:
    uptake.control("pause", "feature-breadth", reason="a test of pauses", by="Ada")
    try:
        state = ended(tick)
    finally:
        uptake.control("resume", "feature-breadth", reason="over", by="Ada")
    assert (state.type.value, state.name) == ("COMPLETED", "Held")
    assert "feature-breadth: it is paused" in (state.message or "")
    assert "it is paused" in ui.artifacts(run_id(state))["tick"]


def test_a_held_snapshot_is_let_pass_by_name_and_reason_and_by_nothing_less(
    ended: Ended, ui: Ui, uptake: Uptake
) -> None:
    failed = Check(name="gate:rows:dim_contacts", status="failed", severity="critical", detail="140 rows; 240 usual")
    now = uptake.clock.now()
    build = Build(
        warehouse=uptake.transformer.warehouse, invocation_id="i", as_of=now, checks=(failed,), counts={},
        unmapped_events={},
    )  # fmt: skip
    held = uptake.snapshots.hold(build, [failed], source=uptake.source, git_sha="abc", now=now)
    gate = {"snapshot_id": held, "checks": [failed], "reasons": ["gate:rows:dim_contacts failed"], "as_of": now}
    uptake.ledger.gates.record(status="held", now=now, **gate)
    order = {"snapshot": held, "name": "Ada Example", "reason": "Contacts were merged on purpose"}
    for missing in order:
        state = ended(override, **{**order, missing: "  "})
        assert state.is_failed()
        assert "stays held" in (state.message or "")
        assert uptake.ledger.gates.passed(held) is None

    before = mails(uptake)
    state = ended(override, **order)
    assert state.is_completed(), state.message
    assert f"snapshot {held} was let pass by Ada Example" in (state.message or "")
    assert "gate:rows:dim\\_contacts" in ui.artifacts(run_id(state))["override"]
    row = uptake.ledger.gates.of(held)
    assert row is not None
    assert (row["status"], row["overridden_by"], row["override_reason"]) == ("passed", order["name"], order["reason"])
    current = uptake.snapshots.current()
    assert current is not None
    assert current.snapshot_id == held
    assert mails(uptake) == before


def test_a_passed_refresh_names_its_snapshot_and_a_held_one_why(ended: Ended, ui: Ui, uptake: Uptake) -> None:
    state = ended(refresh)
    gate = uptake.ledger.gates.latest()
    assert gate is not None
    assert gate["status"] == "passed"
    assert state.name == "Completed"
    assert gate["snapshot_id"] in (state.message or "")
    state = ended(refresh, as_of=uptake.clock.now() + timedelta(days=3))  # nobody may describe the future
    gate = uptake.ledger.gates.latest()
    assert gate is not None
    assert gate["status"] == "held"
    assert (state.type.value, state.name) == ("COMPLETED", "Held")
    assert "gate:as_of" in (state.message or "")
    assert "# Refresh: HELD" in ui.artifacts(run_id(state))["refresh"]
