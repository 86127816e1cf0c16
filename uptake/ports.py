"""What operations need from the outside, as small Protocols.

Sets of rows travel as `pyarrow.Table`; each docstring names the columns. Adapters implement these;
what tests need beside them is in `uptake.testing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from uptake.domain.accounts import AccountPage, BaseOverview
from uptake.domain.conditions import Seen
from uptake.domain.eligibility import Reason
from uptake.domain.outcomes import PlaybookOutcome
from uptake.domain.playbooks import Release, Workspace
from uptake.domain.raw_log import RawLog
from uptake.domain.sends import DeliveryEvent, SuppressionReason

#: Who gives an order that no person gave.
ENGINE_NAMES = frozenset({"uptake", "ledger"})

Status = Literal["passed", "held"]
Protects = Literal["mail", "reports"]


class Clock(Protocol):
    """The time, as an argument."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The key ring, opened. The pseudonym key never changes; token keys are newest first."""

    pseudonym: bytes
    tokens: tuple[bytes, ...]


# --- adoption: raw logs to a published snapshot ---------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check that ran, or should have run, before a snapshot may be published."""

    name: str  # unique, e.g. `gx:accounts_current:expect_column_values_to_be_between:adoption_breadth`
    status: Literal["passed", "failed", "errored", "missing", "baseline"]
    severity: Literal["critical", "warning"]
    detail: str = ""  # what was found and what was expected; ids only
    protects: Protects = "mail"  # what it stands before; what is wrong with value never stops a mail
    rows: tuple[str, ...] = ()  # a few of the rows that broke it, by their ids alone: `account_id=a1, feature_key=api`

    @property
    def blocks(self) -> bool:
        """A critical check that did not pass holds what it protects; a baseline counts as run."""
        return self.severity == "critical" and not self.is_sound

    @property
    def is_sound(self) -> bool:
        """It ran, and found nothing wrong or nothing to compare with."""
        return self.status in ("passed", "baseline")


@dataclass(frozen=True, kw_only=True)
class Build:
    """What one run of dbt left behind."""

    warehouse: Path  # DuckDB file with the candidate marts in schema `marts`
    invocation_id: str
    as_of: datetime
    checks: tuple[Check, ...]  # dbt tests and source freshness
    counts: Mapping[str, int]  # lines, events, duplicates, quarantined, unattributed, accounts, users, features
    unmapped_events: Mapping[str, int]  # event name -> how many
    source: str = ""
    raw: Path | None = None  # the folder that was read; None: nobody said


class Transformer(Protocol):
    """Builds the candidate marts."""

    def build(self, *, source: str, raw: Path, as_of: datetime | None) -> Build:
        """Build all marts; `as_of` None = the source's own rule, else now. Raises TransformError."""

    def people(self, build: Build) -> pa.Table:
        """Return `stg_people`: contact_id, account_id, address, given_name, full_name, role, time_zone, locale,
        consent_basis, consent_at. Addresses go from here to the ledger and nowhere else.
        """


class LogProfiler(Protocol):
    """Looks at raw logs before anyone maps them."""

    def profile(self, raw: Path, *, source: str | None, now: datetime) -> RawLog:
        """Profile a folder or one file; with `source`, its events as that source reads them.

        Raises UsageError when there is nothing to read, TransformError when the source cannot be staged.
        """


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One published, immutable set of marts."""

    snapshot_id: str
    as_of: datetime
    directory: Path
    manifest: Mapping[str, Any]

    def files(self, mart: str) -> str:
        """Return the Parquet path (or glob, for a partitioned mart) of one mart."""
        folder = self.directory / mart
        return str(folder / "*.parquet") if folder.is_dir() else f"{folder}.parquet"


class SuiteRunner(Protocol):
    """Validates candidate marts."""

    @property
    def required_names(self) -> frozenset[str]:
        """Names that must be among the checks of every run: one that is absent counts as missing."""

    def protects(self, name: str) -> Protects:
        """Return what a check of this name stands before, whichever tool ran it."""

    def run(
        self, build: Build, *, history: Sequence[Mapping[str, Any]], now: datetime | None = None
    ) -> tuple[Check, ...]:
        """Run every suite; `history` = manifests of earlier snapshots of this source, newest first; `now` None = as_of.

        Never raises for a bad suite or a bad mart: that is a check with status `errored` or `missing`.
        """


class Snapshots(Protocol):
    """The store of published snapshots."""

    def publish(self, build: Build, checks: Sequence[Check], *, source: str, git_sha: str, now: datetime) -> Snapshot:
        """Write the candidate marts as an immutable set and move `current` to it, atomically."""

    def hold(self, build: Build, checks: Sequence[Check], *, source: str, git_sha: str, now: datetime) -> str:
        """Keep the candidate marts where nobody reads them, until the next refresh; return their snapshot id.

        Only an override publishes them. Raises SnapshotError when a mart is missing or does not fit its columns.
        """

    def release(self, snapshot_id: str) -> Snapshot:
        """Publish what was held and move `current` to it; published already, it only does the latter.

        Raises SnapshotError.
        """

    def current(self) -> Snapshot | None:
        """Return the snapshot that `current` points to, its files verified to be there. Raises SnapshotError."""

    def open(self, snapshot_id: str) -> Snapshot:
        """Return one snapshot. Raises SnapshotError."""

    def history(self, source: str) -> list[Mapping[str, Any]]:
        """Return the manifests of this source's snapshots, newest first."""


# --- playbooks ------------------------------------------------------------------------------------------


class Playbooks(Protocol):
    """The playbooks folder."""

    def names(self) -> list[str]:
        """Return every playbook's name, sorted."""

    def release(self, name: str) -> Release:
        """Read and check one playbook with its texts, layout and workspace. Raises PlaybookError."""

    def workspace(self) -> Workspace:
        """Read `_workspace.yml`. Raises PlaybookError."""

    def problems(self, name: str) -> list[str]:
        """Return everything wrong with one playbook and what it rests on, each with file and line."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who would enter one playbook now.

    contacts: account_id, contact_id, contact_rank (1 = first chosen), feature_key, entry_no, arm, u, stratum
    left_out: account_id, contact_id (NULL for a whole account), reason (`LeftOut`)
    """

    contacts: pa.Table
    left_out: pa.Table


@dataclass(frozen=True, kw_only=True)
class Advance:
    """What one tick decides for those already in.

    endings:  enrollment_id, contact_id, reason. The contact leaves.
    account_endings: enrollment_id, reason. The whole enrollment ends (goal by account, stopped, completed, or the one
              reason all its contacts share); also for control arms. It may come with endings of its contacts.
    verdicts: enrollment_id, contact_id, stage_key, verdict, reason (NULL for send and task), detail (the winner as
              `playbook/stage/contact` for priority_lost, the next allowed moment for outside_window, what is paused,
              why the gate is held, else ''), version_id (the version that counts), feature_key, due_at (aware), and
              for a task owner (NULL: nobody is known) and facts (a JSON object, NULL: none asked for)
    """

    endings: pa.Table
    account_endings: pa.Table
    verdicts: pa.Table


class Journeys(Protocol):
    """The rules of the tick, run on whole sets over one snapshot. `uptake.domain` says what they mean for one row."""

    def entrants(
        self,
        release: Release,
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
        *,
        controls: ControlState,
        account_id: str | None = None,
        by_hand: bool = False,
    ) -> Entry:
        """Decide who enters `release` now; with `account_id`, look at that account alone.

        `by_hand`: a person takes it in, whether it matches or not; what excludes it still does.
        """

    def advance(
        self,
        releases: Mapping[int, Release],
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
        *,
        following: Mapping[int, int],
        controls: ControlState,
        gate_held: str | None,
    ) -> Advance:
        """Decide for every open enrollment of the versions in `releases`.

        Args:
            releases: By version id: every version somebody is in, and every version that counts for one.
            snapshot: What the world looks like.
            ledger: `Enrollments.tables`.
            now: The moment of deciding.
            following: The version an enrollment was entered with -> the version that counts for it; absent: itself.
            controls: What people have paused or stopped.
            gate_held: Why nothing may be sent, and nothing be concluded from the snapshot; None when it is sound.
        """

    def stage_counts(
        self, release: Release, entry: Entry, snapshot: Snapshot, ledger: Mapping[str, pa.Table], now: datetime
    ) -> pa.Table:
        """Forecast the sends of the entrants, at most: day, stage_key, count_sends; for 14 days."""

    def taught(
        self, release: Release, snapshot: Snapshot, *, contact_id: str | None = None, limit: int = 1
    ) -> pa.Table:
        """Return contacts (that one, or the first by id) with the feature each would be taught, whoever may enter.

        Columns contact_id, account_id, feature_key (NULL: there is nothing to teach); empty when nobody is found.
        """

    def facts(self, contacts: pa.Table, snapshot: Snapshot, ledger: Mapping[str, pa.Table], now: datetime) -> pa.Table:
        """Return what conditions see of these contacts: `contacts` and a column for every dotted name.

        `contacts`: contact_id, account_id, feature_key, and entry_no, age_days (NULL outside an enrollment).
        """

    def seen(
        self, condition: str, place: Literal["where", "exit_when", "when"], facts: Mapping[str, Any], now: datetime
    ) -> tuple[bool | None, tuple[Seen, ...]]:
        """Return what a condition says of one row of `facts`, and each of its predicates with the values seen."""


# --- proof ----------------------------------------------------------------------------------------------


class Evidence(Protocol):
    """What snapshots prove."""

    def overview(self, snapshot: Snapshot) -> BaseOverview:
        """Return the whole customer base."""

    def outcomes(self, snapshot: Snapshot, *, holdouts: Mapping[str, float]) -> list[PlaybookOutcome]:
        """Return every playbook's outcome, by name; `holdouts` = the share each one was drawn with."""

    def account(self, snapshot: Snapshot, account_id: str) -> AccountPage | None:
        """Return one account's page; None when the snapshot does not have it."""

    def telling_account(self, snapshot: Snapshot) -> str | None:
        """Return the account whose page shows most."""


@dataclass(frozen=True, kw_only=True)
class ValueReport:
    """All that the leadership page shows."""

    overview: BaseOverview
    over_time: Sequence[tuple[datetime, float]]  # as_of, share of paid functionality in use; oldest first
    outcomes: Sequence[PlaybookOutcome]
    sends: Mapping[str, Mapping[str, int]]  # playbook -> send status -> count
    withheld: Mapping[str, Mapping[str, int]]  # playbook -> reason -> count of contact × stage
    gate: Mapping[str, Any]  # the gate row of the snapshot
    manifest: Mapping[str, Any]


class Pages(Protocol):
    """Reports as single files that open offline."""

    def leadership(self, report: ValueReport, *, account_link: str | None) -> str:
        """Return the leadership page as HTML; the same input gives the same bytes."""

    def account(self, page: AccountPage, *, playbooks: Sequence[str]) -> str:
        """Return one account's page as HTML; the same input gives the same bytes."""


# --- mail -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """One person in a batch. Holds an address: never logged, never stored outside `people`."""

    send_id: str
    contact_id: str
    address: str
    full_name: str | None
    fields: Mapping[str, Any]  # merge fields: account.*, contact.*, feature.*, sender.*
    unsubscribe_url: str


@dataclass(frozen=True, kw_only=True)
class MailBatch:
    """Messages of one stage of one version, to be sent in one request."""

    release: Release
    stage_key: str
    recipients: tuple[Recipient, ...]


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A request body ready to leave, and who is not in it.

    A recipient of the batch who is neither in `send_ids` nor in `refused` did not fit (an address that is in
    already, a message that must go alone): render the rest again.
    """

    body: bytes
    body_hash: str
    send_ids: tuple[str, ...]  # in the order of the body's personalizations
    refused: Mapping[str, Reason]  # send_id -> why it could not be rendered


class Mailer(Protocol):
    """The mail service."""

    @property
    def sandbox(self) -> bool:
        """True when the service only validates and sends to nobody; what it takes is `sandboxed`."""

    def render(self, batch: MailBatch) -> Rendered:
        """Build the request body. Pure: no I/O. Raises PlaybookError when the stage's text is broken."""

    def post(self, rendered: Rendered) -> str | None:
        """Send it, once; return the service's message id, if it gave one.

        Raises MailerUnavailable, AcceptanceUnknown, UnexpectedAnswer, MessageRefused or SendingForbidden.
        """


class MergeFields(Protocol):
    """What stage texts may say about a person, from one snapshot."""

    def values(
        self, snapshot: Snapshot, release: Release, claimed: Sequence[Claimed]
    ) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """Return send_id -> {account, contact, feature, account_feature, sender}, each a row as a dict.

        Who is no longer in the snapshot is absent. Raises SnapshotError.
        """


class Words(Protocol):
    """Fills in what could be said at a task."""

    def __call__(self, release: Release, stage_key: str, values: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Return plain text for one person's `MergeFields.values`; None when a value is missing."""


class Links(Protocol):
    """The addresses of the pages a recipient may open."""

    def unsubscribe_url(self, *, contact_id: str, topic: str, feature_key: str) -> str:
        """Return an https address that is good for ever and tells nothing to whoever reads it."""


class DeliveryEvents(Protocol):
    """Reads the bodies of the event webhook."""

    def read(self, body: bytes, *, received_at: datetime) -> tuple[list[DeliveryEvent], int]:
        """Return the events of one body and how many could not be read. Never raises."""


# --- the ledger, one Protocol per concern ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a playbook would do, at one snapshot and moment."""

    plan_id: str
    playbook: str
    version_id: int
    release_hash: str
    plan_hash: str
    snapshot_id: str
    planned_at: datetime
    count_accounts: int  # entering, all arms
    count_contacts: int
    summary: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Approved:
    """A release that may take accounts in, while `now` < expires_at and entrants stay within tolerance."""

    playbook: str
    version_id: int
    release: Release
    plan: Plan
    approved_by: str
    expires_at: datetime
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """A ledger that may not know all that was sent: sending stays locked until `reconcile` has asked the service."""

    since: datetime  # from here on it may have forgotten
    locked_at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class ControlState:
    """What is paused. A person's newest order counts; the engine's own adds to it and never takes any of it back."""

    everything: str | None = None  # the reason, while everything is paused
    playbooks: Mapping[str, Literal["pause", "stop"]] = field(default_factory=dict)
    accounts: Mapping[str, Literal["pause", "stop"]] = field(default_factory=dict)
    sending_locked: str | None = None  # the reason: 401, 403, a restored ledger
    sending_paused_until: datetime | None = None  # 429
    forgotten: Forgotten | None = None  # part of `sending_locked`, too


@dataclass(frozen=True, kw_only=True)
class Audience:
    """How many accounts matched a playbook on one snapshot, whether they are in or not."""

    playbook: str
    snapshot_id: str
    count_accounts: int
    held: str | None  # why that was too much of a change; None when it was not
    measured_at: datetime


class Releases(Protocol):
    """Versions, plans, approvals, controls."""

    def save_version(self, release: Release, *, git_sha: str, now: datetime) -> int: ...
    def version(self, version_id: int) -> Release: ...
    def save_plan(self, plan: Plan) -> None: ...
    def plan(self, plan_id: str) -> Plan: ...
    def latest_plan(self, playbook: str) -> Plan | None: ...
    def approve(self, plan: Plan, *, by: str, now: datetime, expires_at: datetime, tolerance: float) -> None: ...
    def save_audience(self, audience: Audience) -> None: ...
    def last_audience(self, playbook: str, *, is_held: bool | None = None) -> Audience | None:
        """Return what was measured last; with `is_held`, among those alone that held, or did not."""

    def approved(self) -> list[Approved]:
        """Return the newest approval of each playbook, also when expired: people already in go on."""

    def control(
        self,
        scope: Literal["all", "playbook", "account", "sending", "forgotten"],
        target: str,
        action: Literal["pause", "resume", "stop"],
        *,
        reason: str,
        by: str,
        now: datetime,
        until: datetime | None = None,
    ) -> None:
        """Record an order. One given by a name in `ENGINE_NAMES` is the engine's own."""

    def controls(self) -> ControlState: ...


class Enrollments(Protocol):
    """Who is in, and what was decided."""

    def tables(self, *, now: datetime) -> Mapping[str, pa.Table]:
        """Return the ledger's side of a tick.

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
        launches:    playbook (approved before)
        launch_accounts: playbook, account_id (matched before it was first approved)
        assignments: playbook, account_id, arm
        verdicts:    enrollment_id, contact_id, stage_key, verdict, reason (the newest of each, open contacts only)
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


@dataclass(frozen=True, kw_only=True)
class Claimed:
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
        """Re-check suppression, consent, erasure, arm, pause and lease. All pass: status `sending`, attempt + 1,
        intent and hash committed, and {} is returned. Any fails: nothing is intended; the failures come back
        by send id, withheld or (paused) planned again, and the batch must be rendered anew without them.
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
class LoggedMail:
    """One message to one recipient, as the mail service's own log has it; no address in it."""

    message_id: str  # the service's, whole: it names request and recipient
    address_hash: str
    logged_at: datetime


class MailLog(Protocol):
    """The mail service's log of what it took. It lags by an unknown time: what it lacks proves nothing yet.

    Raises MailerUnavailable (also for a rate limit), SendingForbidden (the key may not read it) or MailerError.
    """

    def between(self, since: datetime, until: datetime) -> list[LoggedMail]:
        """Return all that was taken in [since, until)."""

    def to_address(self, address: str, since: datetime) -> list[LoggedMail]:
        """Return what was taken for one address from a moment on."""

    def evidence(self, mails: Sequence[LoggedMail]) -> bytes:
        """Return what the log knows of these, as the event webhook would have posted it: `DeliveryEvents` reads it.

        Mail of other senders on the same account is left out.
        """


class Witness(Protocol):
    """Remembers, outside the ledger, the newest intent of this home: a ledger that lacks it was restored."""

    def note(self, send_id: str, sending_at: datetime) -> None:
        """Keep it, durably, before the request leaves."""

    def newest(self) -> tuple[str, datetime] | None:
        """Return what was kept last."""


class Delivery(Protocol):
    """What the mail service tells, stored first and folded later."""

    def store(self, body: bytes, *, now: datetime) -> int: ...
    def unfolded(self, limit: int) -> list[StoredBatch]: ...
    def fold(self, batch: StoredBatch, events: Sequence[DeliveryEvent], *, unreadable: int, now: datetime) -> int:
        """Insert new events, fold sends, derive suppressions, mark the batch: one transaction; return new events."""


class People(Protocol):
    """Addresses, consent, suppression, preferences: the only place that knows a person."""

    def load(self, people: pa.Table, *, now: datetime) -> int:
        """Upsert `Transformer.people`; an erased person stays erased. Return how many rows changed."""

    def suppress(
        self, address_hash: str, *, reason: SuppressionReason, topic: str | None, source: str, now: datetime
    ) -> None: ...
    def suppress_all(
        self, address_hashes: Sequence[str], *, reason: SuppressionReason, source: str, now: datetime
    ) -> None:
        """Stop all mail to many addresses, all of them or none, from the commit of this call on."""

    def address_hash_of(self, contact_id: str) -> str | None: ...
    def address_hashes_of(self, contact_id: str) -> list[str]:
        """Return every address this contact has or was mailed at; a wish to stop is about all of them."""

    def prefer(self, contact_id: str, *, kind: str, value: str, now: datetime) -> None:
        """Record an answer of the preference page."""

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

    def export(self, directory: Path) -> None:
        """Write the tables of the ledger export as Parquet, atomically."""

    def read(self, query: str, **params: object) -> list[Mapping[str, Any]]:
        """Run one of the named read queries (`adapters/ledger/queries.sql`), for status, explain and reports."""
