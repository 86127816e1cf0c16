"""Why somebody is in a playbook or not, what came, what comes next for them, and what stands in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from uptake.domain.answers import Answer
from uptake.domain.arms import Arm, arm_of
from uptake.domain.conditions import Seen
from uptake.domain.enrollments import LATEST, due_at, places, stage_orders, task_ended_at
from uptake.domain.playbooks import Release, Stage
from uptake.domain.ways import next_stage
from uptake.domain.windows import closed_because, next_allowed
from uptake.domain.workspace import Cap
from uptake.errors import Refused
from uptake.operations.definitions import counting_releases, goal_hash
from uptake.operations.entering import closed_today, entries_held, limit_of, look
from uptake.operations.explained import (
    Answered,
    CapUse,
    Enrollment,
    Explanation,
    Happened,
    NextStage,
    OpenTask,
    PlaybookExplanation,
    Stopped,
    Wait,
    history_of,
)
from uptake.operations.gate import Gate, fresh_gate
from uptake.operations.preview import outside
from uptake.ports import Approved, ControlState, Entry, Journeys, Ledger, Snapshot, Snapshots


def explain(
    journeys: Journeys,
    snapshots: Snapshots,
    ledger: Ledger,
    *,
    contact_id: str,
    now: datetime,
    playbook: str | None = None,
) -> Explanation:
    """Explain one contact, in one playbook or in all that were ever planned or approved.

    Raises:
        Refused: No snapshot can be read, nobody knows this contact or playbook, or it is an address.
    """
    gate = fresh_gate(snapshots, ledger, now)
    if gate.snapshot is None:
        raise Refused(f"nothing can be explained: {gate.held}")
    if "@" in contact_id:
        raise Refused("contacts are asked about by id, not by address; `uptake export EMAIL` shows the contact_id")
    approved = {approval.playbook: approval for approval in ledger.releases.approved()}
    releases = {name: approval.release for name, approval in approved.items()}
    if playbook is not None and playbook not in releases:
        plan = ledger.releases.latest_plan(playbook)
        if plan is None:
            raise Refused(f"no playbook {playbook!r} was ever planned; expected one of {', '.join(releases) or 'none'}")
        releases[playbook] = ledger.releases.version(plan.version_id)
    if playbook is not None:
        releases = {playbook: releases[playbook]}
    account_id = _account(journeys, gate.snapshot, ledger, contact_id, next(iter(releases.values()), None))
    tables = ledger.enrollments.tables(now=now, account_id=account_id)
    asked = _Asked(
        everybody=journeys,
        journeys=journeys.near({account_id, *tables["people"]["account_id"].to_pylist()}),
        ledger=ledger,
        gate=gate,
        snapshot=gate.snapshot,
        tables=tables,
        controls=ledger.releases.controls(),
        contact_id=contact_id,
        account_id=account_id,
        now=now,
        history=history_of(ledger, contact_id),
    )
    touches = _where(tables["touches"], "contact_id", contact_id)
    last = max((row["accepted_at"] for row in touches if row["is_mail"]), default=None)
    return Explanation(
        contact_id=contact_id,
        account_id=asked.account_id,
        snapshot_id=gate.snapshot.snapshot_id,
        as_of=gate.snapshot.as_of,
        gate_held=gate.held,
        controls=asked.controls,
        last_mail_at=None if last is None else _aware(last),
        stops=tuple(Stopped(**row) for row in ledger.people.stops_of(contact_id)),
        playbooks=tuple(
            _playbook(asked, release, approved.get(name), list(approved.values()))
            for name, release in sorted(releases.items())
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What every part of the answer needs."""

    everybody: Journeys
    journeys: Journeys  # of those around this account
    ledger: Ledger
    gate: Gate
    snapshot: Snapshot
    tables: Mapping[str, pa.Table]  # of those around this account
    controls: ControlState
    contact_id: str
    account_id: str
    now: datetime
    history: Mapping[int, tuple[Happened, ...]]  # of this contact, by enrollment


def _account(journeys: Journeys, snapshot: Snapshot, ledger: Ledger, contact_id: str, release: Release | None) -> str:
    """Return the contact's account. Raises Refused when nobody knows the contact."""
    known = ledger.people.person(contact_id)
    if known is None and release is not None:
        known = next(iter(journeys.taught(release, snapshot, contact_id=contact_id).to_pylist()), None)
    if known is None:
        raise Refused(f"nobody knows contact {contact_id!r}: neither the ledger nor snapshot {snapshot.snapshot_id}")
    return str(known["account_id"])


def _playbook(
    asked: _Asked, release: Release, approval: Approved | None, approved: list[Approved]
) -> PlaybookExplanation:
    taught = asked.journeys.taught(release, asked.snapshot, contact_id=asked.contact_id)
    holds: bool | None = None
    where: tuple[Seen, ...] = ()
    if taught.num_rows:
        facts = asked.journeys.facts(outside(taught), asked.snapshot, asked.tables, asked.now).to_pylist()[0]
        holds, where = asked.journeys.seen(release.playbook.audience.where, "where", facts, asked.now)
    rules, workspace = release.playbook, release.workspace
    entry = asked.journeys.entrants(
        release,
        asked.snapshot,
        asked.tables,
        rules.entry_moment(asked.now),  # on a day on which its calendar is closed, as of the next one
        controls=asked.controls,
        account_id=asked.account_id,
        by_hand=rules.enter == "manual",
    )
    recorded = [
        row["arm"]
        for row in _where(asked.tables["assignments"], "account_id", asked.account_id)
        if row["playbook"] == release.name
    ]
    drawn = arm_of(asked.account_id, salt=release.name, holdout=rules.holdout, global_control=workspace.global_control)
    addresses = [row["address_hash"] for row in _where(asked.tables["people"], "contact_id", asked.contact_id)]
    feature_key = taught["feature_key"][0].as_py() if taught.num_rows else None
    enters = asked.contact_id in entry.contacts["contact_id"].to_pylist()
    return PlaybookExplanation(
        playbook=release.name,
        approved_by=None if approval is None else approval.approved_by,
        expires_at=None if approval is None else approval.expires_at,
        entries_held=_entries_held(asked, approval, enters=enters),
        at_most=None if approval is None else limit_of(approval.plan, approval.release.playbook, approval.tolerance),
        arm=recorded[0] if recorded else drawn.value,
        enters=enters,
        enter=rules.enter,
        closed=closed_today(rules, asked.now),
        left_out=_left_out(entry, asked.contact_id),
        where=where,
        where_holds=holds,
        feature_key=feature_key,
        answered=_answered(asked, feature_key),
        enrollments=_enrollments(asked, release.name, approved),
        person_cap=_cap_use(asked, workspace.caps.person, "address_hash", addresses),
        account_cap=_cap_use(asked, workspace.caps.account, "account_id", [asked.account_id]),
    )


def _entries_held(asked: _Asked, approval: Approved | None, *, enters: bool) -> str | None:
    """Return why nobody may enter now. Everybody is counted only where that decides about this contact."""
    if approval is None:
        return "no release of it is approved"
    if asked.gate.held is not None:
        return asked.gate.held
    if enters:
        tables = asked.ledger.enrollments.tables(now=asked.now)
        seen = look(asked.everybody, approval, asked.snapshot, tables, asked.ledger, asked.controls, asked.now)
        return None if seen.hold is None else seen.hold.reason
    hold = entries_held(approval, asked.controls, asked.now, goal_hash=goal_hash(asked.snapshot, approval.release))
    if hold is not None:
        return hold.reason
    audience = asked.ledger.releases.last_audience(approval.playbook)
    return None if audience is None else audience.held


def _left_out(entry: Entry, contact_id: str) -> str | None:
    """Return why this contact, or its whole account, stays out; None when it enters or does not match."""
    reasons = {row["contact_id"]: row["reason"] for row in entry.left_out.to_pylist()}
    return reasons.get(contact_id) or reasons.get(None)


def _answered(asked: _Asked, feature_key: str | None) -> Answered | None:
    """Return what this contact has answered about a feature on the preference page."""
    for row in _where(asked.tables["feature_answers"], "contact_id", asked.contact_id):
        if row["feature_key"] == feature_key:
            return Answered(answer=Answer(row["answer"]), given_at=_aware(row["given_at"]))
    return None


def _cap_use(asked: _Asked, cap: Cap, column: str, values: Sequence[str | None]) -> CapUse:
    since = asked.now - cap.per
    touches = [row for value in values if value for row in _where(asked.tables["touches"], column, value)]
    mails = sum(_aware(row["accepted_at"]) > since for row in touches)
    return CapUse(mails=mails, at_most=cap.mails, per=cap.per)


def _enrollments(asked: _Asked, playbook: str, approved: list[Approved]) -> tuple[Enrollment, ...]:
    """Return every entry of the account into this playbook, the newest first, with what a tick would decide now."""
    own = [
        row
        for row in _where(asked.tables["enrollments"], "account_id", asked.account_id)
        if row["playbook"] == playbook
    ]
    if not own:
        return ()
    releases, following = counting_releases(asked.ledger, asked.tables["enrollments"], approved)
    endings: dict[int, str] = {}
    verdicts: dict[int, Mapping[str, Any]] = {}
    if any(row["ended_at"] is None for row in own):
        advance = asked.journeys.advance(
            releases,
            asked.snapshot,
            asked.tables,
            asked.now,
            following=following,
            controls=asked.controls,
            gate_held=asked.gate.held,
        )
        endings = {row["enrollment_id"]: row["reason"] for row in advance.account_endings.to_pylist()}
        endings |= {
            row["enrollment_id"]: row["reason"] for row in _where(advance.endings, "contact_id", asked.contact_id)
        }
        verdicts = {row["enrollment_id"]: row for row in _where(advance.verdicts, "contact_id", asked.contact_id)}
    members = {
        row["enrollment_id"]: row for row in _where(asked.tables["enrollment_contacts"], "contact_id", asked.contact_id)
    }
    found = []
    for row in sorted(own, key=lambda one: one["entry_no"], reverse=True):
        enrollment_id, member = row["enrollment_id"], members.get(row["enrollment_id"])
        ended = [
            (end["stage_key"], _aware(end["ended_at"]))
            for end in _where(asked.tables["stage_ends"], "contact_id", asked.contact_id)
            if end["enrollment_id"] == enrollment_id
        ]
        under_way = [
            send["status"]
            for send in _where(asked.tables["open_sends"], "contact_id", asked.contact_id)
            if send["enrollment_id"] == enrollment_id
        ]
        for task in _where(asked.tables["open_tasks"], "contact_id", asked.contact_id):
            if task["enrollment_id"] == enrollment_id:
                over_at = task_ended_at(_aware(task["decided_at"]), due_at=_aware(task["due_at"]), closed_at=None)
                if over_at <= asked.now:
                    ended.append((task["stage_key"], over_at))
                else:
                    under_way.append("task")
        is_in = member is not None and row["ended_at"] is None
        found.append(
            Enrollment(
                enrollment_id=enrollment_id,
                entry_no=row["entry_no"],
                arm=row["arm"],
                enrolled_at=_aware(row["enrolled_at"]),
                ended_at=None if row["ended_at"] is None else _aware(row["ended_at"]),
                is_contact_in=is_in,
                was_contact_in=enrollment_id in asked.history,
                history=asked.history.get(enrollment_id, ()),
                feature_key=None if member is None else member["feature_key"],
                ending=endings.get(enrollment_id),
                ended_stages=tuple(sorted(ended, key=lambda end: end[1])),
                next_stage=(
                    _next_stage(
                        asked,
                        row,
                        member["feature_key"],
                        ended,
                        under_way,
                        releases,
                        following,
                        verdicts.get(enrollment_id),
                    )
                    if is_in and member is not None and row["arm"] == Arm.TREATMENT
                    else None
                ),
            )
        )
    return tuple(found)


def _next_stage(
    asked: _Asked,
    enrollment: Mapping[str, Any],
    feature_key: str | None,
    ended: Sequence[tuple[str, datetime]],
    under_way: Sequence[str],
    releases: Mapping[int, Release],
    following: Mapping[int, int],
    verdict: Mapping[str, Any] | None,
) -> NextStage | None:
    """Return the stage at the contact's cursor; None when none is left."""
    version_id = enrollment["version_id"]
    release = releases[following.get(version_id, version_id)]
    stages: Mapping[str, Stage] = release.playbook.stages
    known = places(list(stages), stage_orders(releases, release.name))
    enrolled_at = _aware(enrollment["enrolled_at"])
    facts = asked.journeys.facts(
        pa.table(
            {
                "contact_id": [asked.contact_id],
                "account_id": [asked.account_id],
                "feature_key": pa.array([feature_key], pa.string()),
                "entry_no": [enrollment["entry_no"]],
                "age_days": [(asked.now - enrolled_at).days],
            }
        ),
        asked.snapshot,
        asked.tables,
        asked.now,
    ).to_pylist()[0]
    key = next_stage(
        stages,
        [stage_key for stage_key, _ in ended],
        known,
        lambda condition: asked.journeys.seen(condition, "when", facts, asked.now)[0],
    )
    if key is None:
        return None
    stage = stages[key]
    due = due_at(stage.after, enrolled_at=enrolled_at, ended_at=[moment for _, moment in ended])
    holds, when = _asked_of(asked, stage.when, facts)
    zone = asked.journeys.zone(
        release, asked.snapshot, asked.tables, contact_id=asked.contact_id, account_id=asked.account_id
    )
    workspace = release.workspace
    is_mail = stage.email is not None
    now_or_later = max(due, asked.now)
    return NextStage(
        stage_key=key,
        kind="email" if is_mail else "task",
        due_at=due,
        earliest_at=next_allowed(now_or_later, zone, workspace.window, workspace.holidays) if is_mail else now_or_later,
        zone=zone,
        closed_because=closed_because(now_or_later, zone, workspace.window, workspace.holidays) if is_mail else None,
        wait=_wait(asked, stage, facts, due),
        task=_task(asked, enrollment["enrollment_id"], key),
        when=when,
        when_holds=holds,
        waits_for=under_way[0] if under_way else None,
        verdict=None if verdict is None else verdict["verdict"],
        reason=None if verdict is None else verdict["reason"],
        detail="" if verdict is None else verdict["detail"],
    )


def _asked_of(asked: _Asked, text: str | None, facts: Mapping[str, Any]) -> tuple[bool | None, tuple[Seen, ...]]:
    return (True, ()) if text is None else asked.journeys.seen(text, "when", facts, asked.now)


def _wait(asked: _Asked, stage: Stage, facts: Mapping[str, Any], due: datetime) -> Wait | None:
    if stage.wait_until is None or stage.wait_for is None:
        return None
    holds, seen = _asked_of(asked, stage.wait_until, facts)
    return Wait(seen=seen, holds=holds, until=due + stage.wait_for)


def _task(asked: _Asked, enrollment_id: int, stage_key: str) -> OpenTask | None:
    """Return the open task of this stage, if it is waited for still."""
    for row in asked.ledger.read("open_tasks"):
        if (row["enrollment_id"], row["stage_key"]) == (enrollment_id, stage_key):
            return OpenTask(
                task_id=row["task_id"],
                title=row["title"],
                owner=row["owner"],
                due_at=row["due_at"],
                lapses_at=row["due_at"] + LATEST,
            )
    return None


def _where(table: pa.Table, column: str, value: str) -> list[dict[str, Any]]:
    return table.filter(pc.equal(table[column], value)).to_pylist()  # type: ignore[no-any-return]


def _aware(moment: datetime) -> datetime:
    """The ledger's moments are UTC, with or without saying so."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
