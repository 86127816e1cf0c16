"""What can be told about one contact: why it is in a playbook or not, what came, what comes next. Data, not words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from uptake.domain.answers import Answer
from uptake.domain.conditions import Seen
from uptake.ports import ControlState, Ledger


@dataclass(frozen=True, kw_only=True)
class CapUse:
    """How much of one cap is used."""

    mails: int  # taken within `per`
    at_most: int
    per: timedelta


@dataclass(frozen=True, kw_only=True)
class Wait:
    """What a stage waits for, once it is due."""

    seen: tuple[Seen, ...]
    holds: bool | None
    until: datetime  # then it goes on without


@dataclass(frozen=True, kw_only=True)
class OpenTask:
    """The task that this contact's journey waits for."""

    task_id: int
    title: str
    owner: str | None
    due_at: datetime
    lapses_at: datetime  # then the journey goes on without it


@dataclass(frozen=True, kw_only=True)
class NextStage:
    """The stage a contact waits for."""

    stage_key: str
    kind: Literal["email", "task"]
    due_at: datetime
    earliest_at: datetime  # when it is due and the recipient's window is open
    zone: str  # of the recipient's clock
    closed_because: str | None  # why its window is closed at the later of now and its due date; None: it is open
    wait: Wait | None  # None: it waits for nothing
    task: OpenTask | None  # None: it is not open
    when: tuple[Seen, ...]  # each predicate of the stage's condition with the values seen now
    when_holds: bool | None
    waits_for: str | None  # the status of a mail that is on its way, or `task` for one that nobody closed
    verdict: str | None  # what a tick would decide now; None before it is due
    reason: str | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class Happened:
    """One thing that happened to a contact in an entry, as the ledger keeps it."""

    at: datetime
    stage_key: str | None
    what: str  # decided | sent | delivery | task (closed) | left
    outcome: str  # the verdict, the status of the mail, the event; of who has left: `ended`
    reason: str | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class Enrollment:
    """One entry of the account into the playbook."""

    enrollment_id: int
    entry_no: int
    arm: str
    enrolled_at: datetime
    ended_at: datetime | None
    is_contact_in: bool  # this contact was chosen and has not left
    feature_key: str | None
    ending: str | None  # why the contact or the whole enrollment would end in a tick now
    ended_stages: Sequence[tuple[str, datetime]]
    next_stage: NextStage | None
    was_contact_in: bool = False  # this contact was chosen, whether it has left or not
    history: tuple[Happened, ...] = ()  # of this contact, the oldest first


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What this contact said on the preference page about one feature, and has not taken back."""

    answer: Answer
    given_at: datetime


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """What this contact's address gets no more, and why."""

    topic: str  # '' is all mail
    reason: str  # `SuppressionReason`
    source: str
    suppressed_at: datetime


@dataclass(frozen=True, kw_only=True)
class PlaybookExplanation:
    """One playbook seen from one contact."""

    playbook: str
    approved_by: str | None  # None: no release of it is approved
    expires_at: datetime | None
    entries_held: str | None  # why nobody may enter it now
    arm: str  # of the account, drawn or recorded
    at_most: int | None  # accounts that may enter in one tick, by its approval
    enters: bool  # would enter at a tick now
    left_out: str | None  # why not; None when it enters or does not match
    where: tuple[Seen, ...]
    where_holds: bool | None
    feature_key: str | None  # what it would be taught
    answered: Answered | None = None  # about that; None: nothing
    enrollments: Sequence[Enrollment] = field(default_factory=tuple)
    enter: Literal["match", "manual", "calendar"] = "match"
    closed: str | None = None  # why nobody enters by matching today; what is said of entering is then as of its opening
    person_cap: CapUse | None = None
    account_cap: CapUse | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Everything about one contact."""

    contact_id: str
    account_id: str
    snapshot_id: str
    as_of: datetime
    gate_held: str | None
    controls: ControlState
    last_mail_at: datetime | None
    stops: tuple[Stopped, ...]  # the oldest first
    playbooks: tuple[PlaybookExplanation, ...]


def history_of(ledger: Ledger, contact_id: str) -> dict[int, tuple[Happened, ...]]:
    """Return what happened to a contact in each entry. A mail is told by what became of it, not by its decision."""
    found: dict[int, list[Happened]] = {}
    for row in ledger.read("contact_history", contact_id=contact_id):
        happened = found.setdefault(row["enrollment_id"], [])
        if row["what"] == "entered" or (row["what"] == "decided" and row["outcome"] == "send"):
            continue
        happened.append(
            Happened(
                at=_utc(row["happened_at"]),
                stage_key=row["stage_key"],
                what=row["what"],
                outcome=row["outcome"],
                reason=row["reason"] or None,
                detail=row["detail"] or "",
            )
        )
    return {enrollment_id: tuple(happened) for enrollment_id, happened in found.items()}


def _utc(moment: object) -> datetime:
    """The ledger's moments are UTC, with or without saying so; a union of columns brings SQLite's as text."""
    found = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
