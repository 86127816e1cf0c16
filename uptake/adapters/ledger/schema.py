"""The tables of the ledger: operational truth, on SQLite and PostgreSQL alike.

Rows have ordered integer keys inside, so that inserts stay cheap as tables grow; ids that leave the ledger stand
beside them. Times are naive UTC in the database and aware in Python. Nothing cascades: what was sent is a fact,
whatever happens to its playbook. A change here needs a migration (`migrations/versions`); a test compares both.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

#: The newest migration. A ledger with a larger number was written by newer code.
HEAD = "0007"
#: Alembic's own table; named so that it never meets another program's in a shared database.
VERSION_TABLE = "uptake_schema_version"
#: `PRAGMA application_id` of our SQLite files: "UPTK".
APPLICATION_ID = 0x5550544B

OPEN = "open"  # status of an enrollment, its contacts and a task
ENDED = "ended"

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware moment in Python, naive UTC in the database."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a naive moment: nobody knows whose clock it is on."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; expected an aware moment")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Say again that it is UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, Key, primary_key=True)


def _text(name: str, *, null: bool = False, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null, **options)


def _int(name: str, *, null: bool = False, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=null, **options)


def _time(name: str, *, null: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, UtcTime, nullable=null)


def _ref(name: str, target: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, Key, sa.ForeignKey(target), nullable=null)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


# Who we are: product = uptake; later facts about this very ledger, such as its restore epoch.
ledger_meta = sa.Table("ledger_meta", metadata, _text("name", primary_key=True), _text("value"))

# --- releases: append-only ------------------------------------------------------------------------------

playbook_versions = sa.Table(
    "playbook_versions",
    metadata,
    _key("version_id"),
    _text("playbook"),
    _text("release_hash"),
    _text("release"),  # JSON of uptake.domain.playbooks.Release
    _text("git_sha"),
    _time("created_at"),
    sa.UniqueConstraint("playbook", "release_hash"),
)

plans = sa.Table(
    "plans",
    metadata,
    _key("plan_key"),
    _text("plan_id", unique=True),
    _text("playbook"),
    _ref("version_id", "playbook_versions.version_id"),
    _text("release_hash"),
    _text("plan_hash"),
    _text("snapshot_id"),
    _time("planned_at"),
    _int("count_accounts"),
    _int("count_contacts"),
    _text("summary"),  # JSON
    sa.Index(None, "playbook", "plan_key"),
)

approvals = sa.Table(
    "approvals",
    metadata,
    _key("approval_id"),
    sa.Column("plan_id", sa.Text, sa.ForeignKey("plans.plan_id"), nullable=False),
    _text("playbook"),
    _ref("version_id", "playbook_versions.version_id"),
    _text("approved_by"),
    _time("approved_at"),
    _time("expires_at"),
    sa.Column("tolerance", sa.Float, nullable=False),
    sa.Index(None, "playbook", "approval_id"),
)

controls = sa.Table(
    "controls",
    metadata,
    _key("control_id"),
    _text("scope"),  # all, playbook, account, sending, forgotten, send
    _text("target"),
    _text("action"),  # pause, resume, stop, release
    _text("reason"),
    _text("ordered_by"),
    _time("ordered_at"),
    _time("until_at", null=True),
)

# --- single flight and the gate -------------------------------------------------------------------------

audiences = sa.Table(
    "audiences",
    metadata,
    _key("audience_id"),
    _text("playbook"),
    _text("snapshot_id"),
    _int("count_accounts"),
    _text("held", null=True),  # why it takes nobody in
    _time("measured_at"),
    sa.Index(None, "playbook", "audience_id"),
)

snapshot_gates = sa.Table(
    "snapshot_gates",
    metadata,
    _key("gate_id"),
    _text("snapshot_id", null=True),  # NULL: the candidate never became a snapshot
    _text("status"),  # passed, held
    _text("reasons"),  # JSON list
    _text("checks"),  # JSON list
    _time("as_of", null=True),
    _time("checked_at"),
    _text("overridden_by", null=True),  # who let a held snapshot pass, and why
    _text("override_reason", null=True),
    sa.Index(None, "snapshot_id", "gate_id"),
)

runs = sa.Table(
    "runs",
    metadata,
    _key("run_id"),
    _text("kind"),
    _int("fence"),
    _text("owner"),
    _text("status"),  # running, then whatever finish was told
    _text("detail"),
    _time("started_at"),
    _time("heartbeat_at"),
    _time("lease_until_at"),
    _time("finished_at", null=True),
    sa.UniqueConstraint("kind", "fence"),
)

# --- who is in, and what was decided --------------------------------------------------------------------

assignments = sa.Table(
    "assignments",
    metadata,
    _text("playbook", primary_key=True),
    _text("account_id", primary_key=True),
    _text("arm"),
    sa.Column("u", sa.Float, nullable=False),  # the draw, so that anybody can recompute the arm
    _text("stratum", null=True),
    _text("snapshot_id"),
    _time("assigned_at"),
)

# When each playbook was first approved; who matched already is remembered, for those that take in only new ones.
launches = sa.Table(
    "launches",
    metadata,
    _text("playbook", primary_key=True),
    _text("plan_id"),
    _text("snapshot_id"),
    _time("launched_at"),
)

launch_accounts = sa.Table(
    "launch_accounts",
    metadata,
    sa.Column("playbook", sa.Text, sa.ForeignKey("launches.playbook"), primary_key=True),
    _text("account_id", primary_key=True),
    sqlite_with_rowid=False,
)

enrollments = sa.Table(
    "enrollments",
    metadata,
    _key("enrollment_id"),
    _text("playbook"),
    _text("account_id"),
    _int("entry_no"),
    _ref("version_id", "playbook_versions.version_id"),
    _text("arm"),
    _text("stratum", null=True),
    _text("entered_by"),  # match, or the name of the person who entered it by hand (outside lift)
    _text("entry_reason"),
    _text("snapshot_id"),
    _ref("gate_id", "snapshot_gates.gate_id"),
    _time("enrolled_at"),
    _text("goal_reach"),
    _text("goal_by"),
    _time("window_ends_at"),
    _text("status"),  # open, ended
    _time("ended_at", null=True),
    _text("end_reason", null=True),
    _text("ended_by", null=True),  # the person who took it out, and why
    _text("end_note", null=True),
    sa.UniqueConstraint("playbook", "account_id", "entry_no"),
    sa.Index("uq_enrollments_open", "playbook", "account_id", unique=True, **_where("status = 'open'")),
    sa.Index(None, "account_id"),
)

enrollment_contacts = sa.Table(
    "enrollment_contacts",
    metadata,
    sa.Column("enrollment_id", Key, sa.ForeignKey("enrollments.enrollment_id"), primary_key=True),
    _text("contact_id", primary_key=True),
    _int("contact_rank"),
    _text("feature_key"),  # frozen at entry
    _text("status"),  # open, ended
    _time("ended_at", null=True),
    _text("end_reason", null=True),
    sa.Index(None, "contact_id"),
    sqlite_with_rowid=False,
)

# One row per contact and stage whenever the verdict or its reason changes; the current one is not superseded.
decisions = sa.Table(
    "decisions",
    metadata,
    _key("decision_id"),
    _ref("enrollment_id", "enrollments.enrollment_id"),
    _text("contact_id"),
    _text("stage_key"),
    _text("verdict"),
    _text("reason", null=True),
    _text("detail"),
    _ref("version_id", "playbook_versions.version_id"),
    _text("snapshot_id"),
    _ref("gate_id", "snapshot_gates.gate_id", null=True),
    _ref("run_id", "runs.run_id", null=True),  # NULL: decided by a worker, just before the intent
    _time("decided_at"),
    _time("superseded_at", null=True),
    sa.Index(
        "uq_decisions_current",
        "enrollment_id",
        "contact_id",
        "stage_key",
        unique=True,
        **_where("superseded_at IS NULL"),
    ),
    sa.Index(None, "contact_id"),
)

sends = sa.Table(
    "sends",
    metadata,
    _key("send_key"),
    _text("send_id", unique=True),
    _ref("enrollment_id", "enrollments.enrollment_id"),
    _text("stage_key"),
    _text("contact_id"),
    _text("playbook"),
    _text("account_id"),
    _ref("version_id", "playbook_versions.version_id"),
    _text("snapshot_id"),
    _ref("gate_id", "snapshot_gates.gate_id"),
    _ref("run_id", "runs.run_id"),
    _text("git_sha"),
    _text("template_hash"),
    _text("arm"),
    _text("feature_key"),
    _text("status"),
    _text("reason", null=True),
    _text("detail"),
    _time("due_at"),
    _time("window_ends_at", null=True),  # NULL: planned before this was kept
    _time("planned_at"),
    # the worker that holds it
    _text("owner", null=True),
    _time("lease_until_at", null=True),
    # the intent; `attempt` counts intents
    _int("attempt"),
    _time("sending_at", null=True),
    _time("deadline_at", null=True),
    _text("body_hash", null=True),
    _text("address_hash", null=True),
    # what is known of its fate
    _text("message_id", null=True),
    _time("accepted_at", null=True),
    _time("delivered_at", null=True),
    _time("updated_at"),
    # the person who ordered another attempt
    _text("released_by", null=True),
    _text("release_reason", null=True),
    _time("released_at", null=True),
    sa.UniqueConstraint("enrollment_id", "stage_key", "contact_id"),
    sa.Index("ix_sends_planned", "send_key", **_where("status = 'planned'")),
    sa.Index("ix_sends_planned_stage", "version_id", "stage_key", "send_key", **_where("status = 'planned'")),
    sa.Index("ix_sends_claimed", "lease_until_at", **_where("status = 'claimed'")),
    sa.Index("ix_sends_sending", "deadline_at", **_where("status = 'sending'")),
    sa.Index("ix_sends_stuck", "status", "send_key", **_where("status IN ('unknown', 'held')")),
    sa.Index(None, "contact_id"),
    sa.Index(None, "accepted_at"),
)

tasks = sa.Table(
    "tasks",
    metadata,
    _key("task_id"),
    _ref("enrollment_id", "enrollments.enrollment_id"),
    _text("stage_key"),
    _text("playbook"),
    _text("account_id"),
    _text("contact_id"),  # the contact at whose turn it was opened
    _ref("version_id", "playbook_versions.version_id"),
    _text("snapshot_id"),
    _ref("gate_id", "snapshot_gates.gate_id", null=True),
    _ref("run_id", "runs.run_id"),
    _text("feature_key"),
    _text("title"),
    _text("owner", null=True),
    _text("dedupe_key"),
    _text("facts"),  # JSON: what the snapshot said of the contact's account when it was opened
    _text("status"),  # open, done, declined; withdrawn: the enrollment ended first
    _time("due_at"),  # when it is to be done
    _time("opened_at"),
    _text("closed_by", null=True),
    _text("close_reason", null=True),
    _time("closed_at", null=True),
    _time("ended_at", null=True),  # its stage, for those who wait: when it was closed or, before that, lapsed
    sa.UniqueConstraint("enrollment_id", "stage_key"),
    sa.Index("uq_tasks_open", "account_id", "dedupe_key", unique=True, **_where("status = 'open'")),
    sa.Index(None, "contact_id"),
)

# What the workspace's task webhook was told, and is still to be told; noted before the first try.
task_posts = sa.Table(
    "task_posts",
    metadata,
    sa.Column("task_id", Key, sa.ForeignKey("tasks.task_id"), primary_key=True),
    _text("event", primary_key=True),  # opened, closed
    _time("noted_at"),
    _time("posted_at", null=True),
    _text("trouble", null=True),  # why the last try failed
    sa.Index("ix_task_posts_waiting", "task_id", **_where("posted_at IS NULL")),
    sqlite_with_rowid=False,
)

# --- what the mail service tells ------------------------------------------------------------------------

webhook_batches = sa.Table(
    "webhook_batches",
    metadata,
    _key("batch_id"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    _time("received_at"),
    _time("folded_at", null=True),
    _int("count_events", null=True),
    _int("count_new", null=True),
    _int("count_unreadable", null=True),
    sa.Index("ix_webhook_batches_unfolded", "batch_id", **_where("folded_at IS NULL")),
)

delivery_events = sa.Table(
    "delivery_events",
    metadata,
    _key("event_id"),
    _text("event_key", unique=True),
    _ref("batch_id", "webhook_batches.batch_id"),
    _text("send_id", null=True),  # no foreign key: a restored ledger hears of sends it has forgotten
    _text("sg_message_id", null=True),
    _text("address_hash"),
    _text("event"),
    _text("kind"),
    _text("reason"),  # the address in it is blotted out
    _int("topic_group", null=True),
    _time("occurred_at"),
    sa.Index(None, "send_id"),
)

# --- people: the only tables that know one --------------------------------------------------------------

# In force while suppressed_at is set and not before lifted_at: both only grow, so the order of events is no matter.
suppressions = sa.Table(
    "suppressions",
    metadata,
    _key("suppression_id"),
    _text("address_hash"),
    _text("topic"),  # '' = every topic; `group:7` = a group of the mail service that no topic names
    _text("reason"),
    _text("source"),
    _int("topic_group", null=True),
    _time("suppressed_at", null=True),
    _time("lifted_at", null=True),
    _time("recorded_at"),
    sa.UniqueConstraint("address_hash", "topic", "reason"),
)

consents = sa.Table(
    "consents",
    metadata,
    _key("consent_id"),
    _text("address_hash"),
    _text("basis"),
    _text("source"),
    _time("given_at"),
    _time("expires_at", null=True),
    _time("withdrawn_at", null=True),
    _time("recorded_at"),
    sa.UniqueConstraint("address_hash", "basis", "source"),
)

preferences = sa.Table(
    "preferences",
    metadata,
    _key("preference_id"),
    _text("contact_id"),
    _text("kind"),
    _text("value"),
    _time("given_at"),
    sa.Index(None, "contact_id"),
)

people = sa.Table(
    "people",
    metadata,
    _text("contact_id", primary_key=True),
    _text("account_id"),
    _text("address", null=True),
    _text("address_hash", null=True),
    _text("given_name", null=True),
    _text("full_name", null=True),
    _text("role", null=True),
    _text("time_zone", null=True),
    _text("locale", null=True),
    _time("updated_at"),
    _time("erased_at", null=True),
    sa.Index(None, "address_hash"),
    sa.Index(None, "account_id"),
    sqlite_with_rowid=False,
)

erasures = sa.Table(
    "erasures",
    metadata,
    _key("erasure_id"),
    _text("address_hash", unique=True),
    _text("requested_by"),
    _time("requested_at"),
    _time("completed_at", null=True),
    _text("report", null=True),  # JSON: what was blanked where
)
