"""Operational truth, one Protocol per concern."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import pyarrow as pa

from uptake.domain.eligibility import Reason
from uptake.domain.guardrails import MailCounts
from uptake.domain.playbooks import Release
from uptake.domain.sends import DeliveryEvent, SuppressionReason
from uptake.ports.adoption import Check, Status
from uptake.ports.journeys import Advance, Entry
from uptake.ports.privacy import Erasures
from uptake.ports.releases import Approved, Plan, Releases


class Enrollments(Protocol):
    """Who is in, and what was decided."""

    def tables(
        self, *, now: datetime, account_id: str | None = None, only: Collection[str] | None = None
    ) -> Mapping[str, pa.Table]:
        """Return the ledger's side of a tick; with `account_id`, of that account and whoever may stand in its way;
        with `only`, these tables alone.

        enrollments: enrollment_id, playbook, account_id, entry_no, version_id, arm, enrolled_at, status, ended_at
                     (all of them, ended too)
        enrollment_contacts: enrollment_id, contact_id, feature_key, status (open ones only)
        stage_ends:  enrollment_id, contact_id, stage_key, ended_at (sends whose status is in `ENDED`, those withheld
                     for a reason that means retry aside; passed-over verdicts, closed tasks), of open contacts only
        open_sends:  enrollment_id, contact_id, stage_key, status (planned .. held: the journey waits), also of contacts
                     who have left: what may have reached somebody counts against caps
        open_tasks:  enrollment_id, contact_id, stage_key, account_id, dedupe_key, due_at, decided_at: each open task
                     once for every contact who waits for it, with a NULL contact when nobody does
        touches:     contact_id, account_id, address_hash, accepted_at, is_mail (mails taken, and tasks closed by a
                     person, in the last 90 days)
        people:      contact_id, account_id, address_hash, time_zone, locale, role, has_address, erased
        suppressions: address_hash, topic (NULL = every topic)
        consents:    address_hash, basis, expires_at (in force; `none` alone: the newest word is a refusal)
        feature_answers: contact_id, feature_key, answer, given_at (of the preference page; the one that counts)
        launches:    playbook (approved before)
        launch_accounts: playbook, account_id (matched before it was first approved)
        assignments: playbook, account_id, arm
        """

    def enter(
        self,
        entry: Entry,
        approved: Approved,
        *,
        snapshot_id: str,
        gate_id: int,
        now: datetime,
        run: Run | None = None,
        entered_by: str = "match",
        entry_reason: str = "",
    ) -> int:
        """Record assignments, enrollments and their contacts in one transaction; return new enrollments.

        Holdout and global control are recorded alike. Entered twice = recorded once. With `run`, only while its fence
        holds: raises Held when a newer run has taken over. `entered_by` another than `match`: a person did, with a
        reason; that is outside lift.
        """

    def launch(self, plan: Plan, accounts: Sequence[str], *, now: datetime) -> None:
        """Remember that a playbook was approved, and who matched already; only the first time counts."""

    def leave(self, playbook: str, account_id: str, *, reason: str, by: str, now: datetime) -> int:
        """Take an account out of a playbook, from the commit of this call on; return how many enrollments ended."""

    def record(
        self,
        advance: Advance,
        *,
        releases: Mapping[int, Release],
        snapshot_id: str,
        gate_id: int | None,
        git_sha: str,
        run: Run,
        now: datetime,
    ) -> Mapping[str, int]:
        """Write endings, changed verdicts, planned sends and tasks in one transaction, if the run's fence still
        holds; return counts by verdict and reason. Raises Held when a newer run has taken over.
        """


class Claimed(NamedTuple):
    """One planned send a worker holds."""

    send_id: str
    enrollment_id: int
    version_id: int
    playbook: str
    stage_key: str
    account_id: str
    contact_id: str
    feature_key: str
    snapshot_id: str
    address: str
    given_name: str | None
    full_name: str | None
    locale: str | None


class Sends(Protocol):
    """The outbox. Each method is one transaction.

    An `owner` that lost its lease changes nothing; without one, what a person or a test orders is done. A 202 is a
    fact, whoever reports it.
    """

    def claim(self, *, owner: str, limit: int, now: datetime, lease: timedelta) -> list[Claimed]:
        """Claim planned sends (and claimed ones whose lease ran out) of one version and stage."""

    def intend(
        self, send_ids: Sequence[str], *, owner: str, body_hash: str, now: datetime, deadline: datetime
    ) -> Mapping[str, Reason]:
        """Re-check suppression, consent, answers, erasure, arm, pause and lease. All pass: status `sending`,
        attempt + 1, intent and hash committed, and {} is returned. Any fails: nothing is intended; the failures come
        back by send id, withheld or (paused) planned again, and the batch must be rendered anew without them.
        """

    def accepted(self, send_ids: Sequence[str], *, message_id: str | None, now: datetime) -> None: ...
    def sandboxed(self, send_ids: Sequence[str], *, now: datetime, owner: str | None = None) -> None: ...
    def unknown(self, send_ids: Sequence[str], *, detail: str, now: datetime, owner: str | None = None) -> None: ...
    def failed(self, send_ids: Sequence[str], *, detail: str, now: datetime, owner: str | None = None) -> None: ...
    def withheld(self, send_ids: Sequence[str], *, reason: Reason, now: datetime, owner: str | None = None) -> None:
        """Stopped before the intent. A reason that means retry does not end the stage: the next tick decides it anew,
        and plans the same send again.
        """

    def put_back(self, send_ids: Sequence[str], *, now: datetime, owner: str | None = None) -> None:
        """Certainly not accepted: planned again."""

    def expire(self, *, now: datetime) -> int:
        """Turn `sending` rows past their deadline into `unknown`; return how many."""

    def hold(self, *, before: datetime, now: datetime) -> int:
        """Turn `unknown` sends whose request left before that moment into `held`; return how many."""

    def release(self, send_ids: Sequence[str], *, by: str, reason: str, now: datetime) -> int:
        """A person orders unknown or held sends to be sent again; return how many."""


@dataclass(frozen=True, kw_only=True)
class StoredBatch:
    """One webhook body, as it came."""

    batch_id: int
    body: bytes
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class ReadBatch:
    """A stored body and what was read in it."""

    batch: StoredBatch
    events: Sequence[DeliveryEvent]
    unreadable: int


class Delivery(Protocol):
    """What the mail service tells, stored first and folded later."""

    def store(self, body: bytes, *, now: datetime) -> int: ...
    def store_all(self, bodies: Sequence[bytes], *, now: datetime) -> list[int]:
        """Store bodies in one transaction; return their batch ids."""

    def unfolded(self, limit: int, *, after: int = 0) -> list[StoredBatch]:
        """Return the oldest unfolded batches beyond an id: fewer than `limit` where their bodies are long."""

    def fold(self, batch: StoredBatch, events: Sequence[DeliveryEvent], *, unreadable: int, now: datetime) -> int: ...
    def fold_all(self, read: Sequence[ReadBatch], *, now: datetime) -> list[int]:
        """Insert new events, fold sends, derive suppressions, mark the batches: one transaction; return new events."""

    def drop_bodies(self, *, before: datetime) -> int:
        """Empty the bodies that were folded before; what they told is kept as events. Return how many."""

    def counts(self, since: Mapping[str, datetime]) -> Mapping[str, list[MailCounts]]:
        """Return playbook -> what became of its mails that were taken since, and since a person last resumed it."""


class People(Protocol):
    """Addresses, consent, suppression, preferences: the only place that knows a person."""

    def load(self, people: pa.Table, *, now: datetime) -> int:
        """Upsert `Transformer.people`; an erased person stays erased. Return how many rows changed."""

    def suppress(
        self, address_hash: str, *, reason: SuppressionReason, topic: str | None, source: str, now: datetime
    ) -> None: ...
    def unsubscribe(self, contact_id: str, *, topic: str | None, source: str, now: datetime) -> None:
        """Stop a topic, or all mail, to every address a contact has or was mailed at: one transaction."""

    def suppress_all(
        self,
        address_hashes: Sequence[str],
        *,
        reason: SuppressionReason,
        source: str,
        now: datetime,
        topic: str | None = None,
    ) -> None:
        """Stop all mail (topic None) or one topic to many addresses, all of them or none, from this commit on."""

    def suppressed(self, *, reason: SuppressionReason, topic: str | None) -> set[str]:
        """Return the hashes of the addresses that are suppressed for this reason, of all mail (None) or a topic."""

    def unsubscribed(self, *, since: datetime | None = None) -> Mapping[str, set[str]]:
        """Return topic ('' = every topic) -> addresses, in lower case, that unsubscribed (since) and are still known.

        For the mail service alone: never logged, never stored.
        """

    def address_hash_of(self, contact_id: str) -> str | None: ...
    def answer(self, contact_id: str, *, kind: str, feature_key: str, now: datetime) -> None:
        """Record an answer of the preference page; journeys that teach this contact the feature end with its commit.

        It counts until it is taken back or another one is given. The same again is the same.
        """

    def take_back_answer(self, contact_id: str, *, feature_key: str, now: datetime) -> None:
        """Let no answer about this feature count any more; what ended with it stays ended."""

    def answer_of(self, contact_id: str, *, feature_key: str) -> str | None:
        """Return the kind of the answer that counts; None when there is none."""

    def stops_of(self, contact_id: str) -> Sequence[Mapping[str, Any]]:
        """Return topic ('' is all mail), reason, source, suppressed_at of what a contact's address gets no more."""

    def person(self, contact_id: str) -> Mapping[str, Any] | None:
        """Return contact_id, account_id, address, given_name, full_name, role, time_zone, locale; None if unknown."""


class Gates(Protocol):
    """The gate rows: no passed row for a snapshot, no mail."""

    def record(
        self,
        *,
        snapshot_id: str | None,
        status: Status,
        checks: Sequence[Check],
        reasons: Sequence[str],
        as_of: datetime | None,
        now: datetime,
        overridden_by: str | None = None,
        override_reason: str | None = None,
    ) -> int:
        """Record one verdict; an override is a passed row that keeps what had failed, who let it pass, and why."""

    def passed(self, snapshot_id: str) -> int | None:
        """Return the gate_id of the newest row of this snapshot if it passed, or was let pass."""

    def latest(self) -> Mapping[str, Any] | None:
        """Return the newest row, of any snapshot, as `of` does but without its checks."""

    def of(self, snapshot_id: str) -> Mapping[str, Any] | None:
        """Return the newest row of a snapshot: gate_id, snapshot_id, status, reasons, checks (`Check`s), as_of,
        checked_at, overridden_by, override_reason.
        """

    def let_pass(self) -> Mapping[str, frozenset[str]]:
        """Return the names of the checks that a person let pass, by snapshot_id."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of something single-flight. Only the newest fence may write."""

    run_id: int
    kind: str
    fence: int


class Runs(Protocol):
    """Single flight, by a fenced row."""

    def begin(self, kind: str, *, owner: str, now: datetime, lease: timedelta) -> Run | None:
        """Take the fence; None while another run of this kind is alive.

        An `owner` is `host:pid`; a run of a process of this host that is gone is taken over before its lease ends.
        """

    def heartbeat(self, run: Run, *, now: datetime, lease: timedelta) -> None: ...
    def finish(self, run: Run, *, status: str, detail: str, now: datetime) -> None: ...
    def last_heartbeat(self, kind: str) -> datetime | None: ...


class Tasks(Protocol):
    """What people are to do."""

    def close(self, task_id: int, *, outcome: Literal["done", "declined"], reason: str, by: str, now: datetime) -> None:
        """Close an open task; the same words again change nothing. Raises Refused when it is not open."""

    def note_posts(self, posts: Sequence[tuple[int, str]], *, now: datetime) -> None:
        """Note what the task webhook is to be told: (task_id, `opened` or `closed`)."""

    def end_post(self, task_id: int, event: str, *, trouble: str | None, now: datetime) -> None:
        """Say that one was taken, or why not."""

    def drop_posts(self) -> None:
        """Forget what is still to be told: there is nobody to tell it to any more."""


class Ledger(Protocol):
    """Operational truth."""

    @property
    def releases(self) -> Releases: ...
    @property
    def enrollments(self) -> Enrollments: ...
    @property
    def sends(self) -> Sends: ...
    @property
    def delivery(self) -> Delivery: ...
    @property
    def people(self) -> People: ...
    @property
    def gates(self) -> Gates: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def tasks(self) -> Tasks: ...
    @property
    def erasures(self) -> Erasures: ...

    def export(self, directory: Path) -> None:
        """Write the tables of the ledger export as Parquet, atomically."""

    def read(self, query: str, **params: object) -> list[Mapping[str, Any]]:
        """Run one of the named read queries (`adapters/ledger/queries.sql`), for status, explain and reports."""
