"""How everything stands, and what somebody has to look at now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from uptake.operations.entering import opener
from uptake.operations.guard_mail import harm_of
from uptake.operations.standing import Standing
from uptake.ports import Ledger

_ORDERS = 20  # the newest; a ledger keeps all of them


@dataclass(frozen=True, kw_only=True)
class Status:
    """How everything stands."""

    gate: Mapping[str, Any] | None
    playbooks: Sequence[Standing]
    sends: list[Mapping[str, Any]]
    held: list[Mapping[str, Any]]  # sends whose fate nobody knows
    approvals: list[Mapping[str, Any]]
    controls: list[Mapping[str, Any]]
    audiences: list[Mapping[str, Any]] = field(default_factory=list)  # of each playbook, and why it takes nobody in
    alarms: list[str] = field(default_factory=list)  # what somebody has to look at now
    enrollments: list[Mapping[str, Any]] = field(default_factory=list)  # by playbook, arm and status


def status(ledger: Ledger, playbooks: Sequence[Standing] = (), *, now: datetime, tick_interval: timedelta) -> Status:
    """Return how everything stands at `now`.

    Args:
        ledger: Operational truth.
        playbooks: Where each playbook stands.
        now: The moment of asking.
        tick_interval: How often ticks should come; what waits for twice as long is an alarm.
    """
    return Status(
        gate=ledger.gates.latest(),
        playbooks=playbooks,
        sends=ledger.read("sends_by_playbook"),
        held=ledger.read("stuck_sends"),
        approvals=ledger.read("approvals"),
        controls=ledger.read("controls")[:_ORDERS],
        audiences=ledger.read("audiences"),
        alarms=alarms(ledger, now=now, tick_interval=tick_interval),
        enrollments=ledger.read("enrollments_by_playbook"),
    )


def alarms(ledger: Ledger, *, now: datetime, tick_interval: timedelta) -> list[str]:
    """Return what somebody has to look at now, one sentence each."""
    found = []
    controls = ledger.releases.controls()
    if controls.sending_locked is not None:
        found.append(f"sending is locked: {controls.sending_locked}; {opener(controls)} opens it")
    unfolded = ledger.read("unfolded_batches")[0]
    if unfolded["count_batches"] and now - unfolded["received_at"] > 2 * tick_interval:
        found.append(
            f"{unfolded['count_batches']} webhook bodies are not folded, the first is batch "
            f"{unfolded['first_batch_id']} of {unfolded['received_at']:%Y-%m-%d %H:%M} UTC: what they tell is "
            "unknown to every decision"
        )
    if held := sum(row["status"] == "held" for row in ledger.read("stuck_sends")):
        found.append(f"{held} messages are held: `uptake held` lists them, `uptake release` sends them again")
    if (doubled := proven_duplicates(ledger)) is not None:
        found.append(doubled)
    posts = ledger.read("waiting_task_posts")[0]
    if posts["count_posts"]:
        found.append(
            f"the task webhook {posts['trouble']}: {posts['count_posts']} tasks wait to be told since"
            f" {posts['first_noted_at']:%Y-%m-%d %H:%M} UTC; every tick tries again"
        )
    releases = [approval.release for approval in ledger.releases.approved()]
    for playbook, harm in harm_of(ledger, releases, now=now).items():
        found += [f"the mail of {playbook}: {one.told}" for one in harm]
    return found


def proven_duplicates(ledger: Ledger) -> str | None:
    """Return in a sentence what the mail service proves to have taken twice; None when there is no such proof."""
    doubled = ledger.read("proven_duplicates")[0]
    if not doubled["count_sends"]:
        return None
    return (
        f"the mail service took {doubled['count_sends']} messages twice, the first is {doubled['first_send_id']}: "
        "events name two messages of one send, and nobody had ordered it again"
    )
