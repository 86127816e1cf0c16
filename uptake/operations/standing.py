"""Where each playbook stands: draft, waiting, live, paused or held; who is in it, and what it will send next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from uptake.domain.arms import Arm
from uptake.domain.sends import TAKEN
from uptake.errors import PlaybookError, SnapshotError
from uptake.operations.definitions import counting_releases
from uptake.operations.entering import Look, closed_today, look, opener
from uptake.operations.gate import Gate, fresh_gate
from uptake.ports import Approved, ControlState, Journeys, Ledger, Playbooks, Snapshots

DAYS = 7  # of next sends


class State(StrEnum):
    """What a playbook is."""

    DRAFT = "draft"  #: files; nobody has planned it
    WAITING = "waiting"  #: for an approval, a day of its calendar, or a person who takes accounts in
    LIVE = "live"  #: takes in whoever matches
    PAUSED = "paused"  #: by an order: nothing is sent, nobody enters
    HELD = "held"  #: approved, and something stands in between: nobody enters


@dataclass(frozen=True, kw_only=True)
class NextSends:
    """Mails of one stage on one day, at most."""

    day: date
    stage_key: str
    count_sends: int


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One playbook. Counts of accounts are of open enrollments, unless they say otherwise."""

    playbook: str
    state: State
    because: str  # what it waits for, or why it is paused or held; of a live one how far its approval reaches
    opens: str | None  # what a person does about it; None: nothing is to be done
    edit: str | None  # what is with its files, when they are not what is approved
    enrolled: int  # accounts that get its stages
    holdout: int  # accounts that get nothing, for comparison
    entered: int  # accounts ever, all arms
    would_enter: int | None  # accounts at a tick now; None: nobody can say, or nobody may
    sent: int  # mails the mail service took
    next_sends: Sequence[NextSends]  # over a week: as if every condition held and nothing stood in between
    open_tasks: int
    overdue_tasks: int
    mail_waits: bool = False  # nothing at all leaves now, not even to those who are in: `next_sends` only afterwards
    approved_by: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What every answer needs, read once."""

    gate: Gate
    controls: ControlState
    approved: Mapping[str, Approved]
    plans: Mapping[str, Mapping[str, Any]]
    looks: Mapping[str, Look]
    orders: list[Mapping[str, Any]]  # the newest first
    now: datetime
    files: Mapping[str, str | PlaybookError] = field(default_factory=dict)  # release hash, or what is wrong


def standings(
    playbooks: Playbooks, journeys: Journeys, snapshots: Snapshots, ledger: Ledger, *, now: datetime
) -> list[Standing]:
    """Return every playbook that has files, a plan or an approval. What a tick would hold now is held here."""
    gate, controls = fresh_gate(snapshots, ledger, now), ledger.releases.controls()
    approved = {one.playbook: one for one in ledger.releases.approved()}
    tables = ledger.enrollments.tables(now=now)
    looks: dict[str, Look] = {}
    upcoming: list[dict[str, Any]] = []
    try:
        if gate.snapshot is not None and gate.gate_id is not None:
            for name, one in approved.items():
                looks[name] = look(journeys, one, gate.snapshot, tables, ledger, controls, now)
        releases, following = counting_releases(ledger, tables["enrollments"], list(approved.values()))
        if gate.snapshot is not None and releases:
            found_next = journeys.upcoming(releases, gate.snapshot, tables, now, following=following, days=DAYS)
            upcoming = found_next.to_pylist()
    except SnapshotError as error:  # where things stand is worth knowing then more than ever
        gate = Gate(snapshot=gate.snapshot, gate_id=None, held=f"the current snapshot cannot be read: {error}")
    own = set(playbooks.names())
    plans = {row["playbook"]: row for row in ledger.read("latest_plans")}
    asked = _Asked(
        gate=gate,
        controls=controls,
        approved=approved,
        plans=plans,
        looks=looks,
        orders=ledger.read("controls"),
        now=now,
        files={name: _hash(playbooks, name) for name in own},
    )
    enrolled, tasks = ledger.read("enrollments_by_playbook"), ledger.read("open_tasks")
    sent: Counter[str] = Counter()
    for row in ledger.read("sends_by_playbook"):
        sent[row["playbook"]] += row["count_sends"] if row["status"] in TAKEN else 0
    found = []
    for name in sorted(own | set(plans) | set(approved)):
        state, because, opens = _state(asked, name)
        approval, seen = approved.get(name), looks.get(name)
        mine = [row for row in enrolled if row["playbook"] == name]
        is_in = [row for row in mine if row["status"] == "open"]
        due = [row["due_at"] for row in tasks if row["playbook"] == name]
        is_counted = seen is not None and seen.hold is None and seen.entry is not None
        found.append(
            Standing(
                playbook=name,
                state=state,
                because=because,
                opens=opens,
                edit=_edit(asked, name),
                enrolled=sum(row["count_enrollments"] for row in is_in if row["arm"] == Arm.TREATMENT),
                holdout=sum(row["count_enrollments"] for row in is_in if row["arm"] != Arm.TREATMENT),
                entered=sum(row["count_enrollments"] for row in mine),
                would_enter=len(seen.entry.contacts["account_id"].unique())  # type: ignore[union-attr]
                if is_counted
                else None,
                sent=sent[name],
                next_sends=[
                    NextSends(day=row["day"], stage_key=row["stage_key"], count_sends=row["count_sends"])
                    for row in upcoming
                    if row["playbook"] == name
                ],
                open_tasks=len(due),
                overdue_tasks=sum(moment < now for moment in due),
                mail_waits=state is State.PAUSED or gate.held is not None or controls.sending_locked is not None,
                approved_by=None if approval is None else approval.approved_by,
                expires_at=None if approval is None else approval.expires_at,
            )
        )
    return found


def _hash(playbooks: Playbooks, name: str) -> str | PlaybookError:
    try:
        return playbooks.release(name).release_hash
    except PlaybookError as error:
        return error


def _state(asked: _Asked, name: str) -> tuple[State, str, str | None]:
    approval, plan = asked.approved.get(name), asked.plans.get(name)
    if approval is None and plan is None:
        return State.DRAFT, "nobody has planned it", f"`uptake plan {name}`"
    if approval is None:
        assert plan is not None
        return State.WAITING, f"plan {plan['plan_id']} is not approved", f"`uptake approve {plan['plan_id']} --by NAME`"
    if asked.controls.everything is not None:
        return State.PAUSED, _order(asked, "all", None), "`uptake resume --all`"
    if name in asked.controls.playbooks:
        return State.PAUSED, _order(asked, "playbook", name), f"`uptake resume {name}`"
    if asked.gate.held is not None and asked.controls.sending_locked is None:
        return State.HELD, asked.gate.held, asked.gate.opens
    seen = asked.looks.get(name)
    if seen is not None and seen.hold is not None:
        return State.HELD, seen.hold.reason, seen.hold.opens
    if asked.controls.sending_locked is not None:
        return State.HELD, f"sending is locked ({asked.controls.sending_locked})", opener(asked.controls)
    return _open(asked, approval)


def _open(asked: _Asked, approval: Approved) -> tuple[State, str, str | None]:
    """Return what an approved playbook is in whose way nothing stands."""
    playbook, name = approval.release.playbook, approval.playbook
    if (closed := closed_today(playbook, asked.now)) is not None:
        opens = None
        if playbook.enter == "manual":
            opens = f"`uptake enter ACCOUNT {name} --by NAME --reason WHY`"
        elif playbook.next_opening(asked.now) is None:
            opens = "days to come in its `calendar`"
        return State.WAITING, closed, opens
    return State.LIVE, f"approved by {approval.approved_by} until {approval.expires_at:%Y-%m-%d}", None


def _order(asked: _Asked, scope: str, target: str | None) -> str:
    """Say who ordered what counts, and why."""
    for row in asked.orders:
        if row["scope"] == scope and target in (None, row["target"]) and row["action"] in ("pause", "stop"):
            what = (
                "everything is paused" if scope == "all" else "it is paused" if row["action"] == "pause" else "stopped"
            )
            return f"{what} since {row['ordered_at']:%Y-%m-%d %H:%M} UTC by {row['ordered_by']}: {row['reason']}"
    return "it is paused"


def _edit(asked: _Asked, name: str) -> str | None:
    """Say what is with the files of a playbook when they are not what is approved."""
    approval, found = asked.approved.get(name), asked.files.get(name)
    if found is None:
        return "its files are gone; what was approved goes on"
    if isinstance(found, PlaybookError):
        return f"its files are wrong: {found}"
    if approval is None or found == approval.plan.release_hash:
        return None
    plan = asked.plans.get(name)
    if plan is not None and plan["release_hash"] == found:
        return f"edited; plan {plan['plan_id']} of the new version waits for an approval"
    return f"edited since it was approved; `uptake plan {name}` shows what would change"
