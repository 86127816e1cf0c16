"""All tables of the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:

    op.create_table(
        "assignments",
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("u", sa.Float(), nullable=False),
        sa.Column("stratum", sa.Text(), nullable=True),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("assigned_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("playbook", "account_id", name=op.f("pk_assignments")),
    )
    op.create_table(
        "consents",
        sa.Column("consent_id", Key, nullable=False),
        sa.Column("address_hash", sa.Text(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("given_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.Column("withdrawn_at", sa.DateTime(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("consent_id", name=op.f("pk_consents")),
        sa.UniqueConstraint("address_hash", "basis", "source", name=op.f("uq_consents_address_hash_basis_source")),
    )
    op.create_table(
        "controls",
        sa.Column("control_id", Key, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ordered_by", sa.Text(), nullable=False),
        sa.Column("ordered_at", sa.DateTime(), nullable=False),
        sa.Column("until_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("control_id", name=op.f("pk_controls")),
    )
    op.create_table(
        "erasures",
        sa.Column("erasure_id", Key, nullable=False),
        sa.Column("address_hash", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(), nullable=False),
        sa.Column("completed_at", sa.DateTime(), nullable=True),
        sa.Column("report", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("erasure_id", name=op.f("pk_erasures")),
        sa.UniqueConstraint("address_hash", name=op.f("uq_erasures_address_hash")),
    )
    op.create_table(
        "ledger_meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_ledger_meta")),
    )
    op.create_table(
        "people",
        sa.Column("contact_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("address_hash", sa.Text(), nullable=True),
        sa.Column("given_name", sa.Text(), nullable=True),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("erased_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("contact_id", name=op.f("pk_people")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_people_account_id"), "people", ["account_id"], unique=False)
    op.create_index(op.f("ix_people_address_hash"), "people", ["address_hash"], unique=False)
    op.create_table(
        "playbook_versions",
        sa.Column("version_id", Key, nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("release_hash", sa.Text(), nullable=False),
        sa.Column("release", sa.Text(), nullable=False),
        sa.Column("git_sha", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_playbook_versions")),
        sa.UniqueConstraint("playbook", "release_hash", name=op.f("uq_playbook_versions_playbook_release_hash")),
    )
    op.create_table(
        "preferences",
        sa.Column("preference_id", Key, nullable=False),
        sa.Column("contact_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("given_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("preference_id", name=op.f("pk_preferences")),
    )
    op.create_index(op.f("ix_preferences_contact_id"), "preferences", ["contact_id"], unique=False)
    op.create_table(
        "runs",
        sa.Column("run_id", Key, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(), nullable=False),
        sa.Column("lease_until_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        sa.UniqueConstraint("kind", "fence", name=op.f("uq_runs_kind_fence")),
    )
    op.create_table(
        "snapshot_gates",
        sa.Column("gate_id", Key, nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("checks", sa.Text(), nullable=False),
        sa.Column("as_of", sa.DateTime(), nullable=True),
        sa.Column("checked_at", sa.DateTime(), nullable=False),
        sa.Column("overridden_by", sa.Text(), nullable=True),
        sa.Column("override_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("gate_id", name=op.f("pk_snapshot_gates")),
    )
    op.create_index(
        op.f("ix_snapshot_gates_snapshot_id_gate_id"), "snapshot_gates", ["snapshot_id", "gate_id"], unique=False
    )
    op.create_table(
        "suppressions",
        sa.Column("suppression_id", Key, nullable=False),
        sa.Column("address_hash", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("topic_group", sa.Integer(), nullable=True),
        sa.Column("suppressed_at", sa.DateTime(), nullable=True),
        sa.Column("lifted_at", sa.DateTime(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("suppression_id", name=op.f("pk_suppressions")),
        sa.UniqueConstraint("address_hash", "topic", "reason", name=op.f("uq_suppressions_address_hash_topic_reason")),
    )
    op.create_table(
        "webhook_batches",
        sa.Column("batch_id", Key, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("folded_at", sa.DateTime(), nullable=True),
        sa.Column("count_events", sa.Integer(), nullable=True),
        sa.Column("count_new", sa.Integer(), nullable=True),
        sa.Column("count_unreadable", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_webhook_batches")),
    )
    op.create_index(
        "ix_webhook_batches_unfolded",
        "webhook_batches",
        ["batch_id"],
        unique=False,
        sqlite_where=sa.text("folded_at IS NULL"),
        postgresql_where=sa.text("folded_at IS NULL"),
    )
    op.create_table(
        "delivery_events",
        sa.Column("event_id", Key, nullable=False),
        sa.Column("event_key", sa.Text(), nullable=False),
        sa.Column("batch_id", Key, nullable=False),
        sa.Column("send_id", sa.Text(), nullable=True),
        sa.Column("sg_message_id", sa.Text(), nullable=True),
        sa.Column("address_hash", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("topic_group", sa.Integer(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["webhook_batches.batch_id"], name=op.f("fk_delivery_events_batch_id")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_delivery_events")),
        sa.UniqueConstraint("event_key", name=op.f("uq_delivery_events_event_key")),
    )
    op.create_index(op.f("ix_delivery_events_send_id"), "delivery_events", ["send_id"], unique=False)
    op.create_table(
        "enrollments",
        sa.Column("enrollment_id", Key, nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("entry_no", sa.Integer(), nullable=False),
        sa.Column("version_id", Key, nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("stratum", sa.Text(), nullable=True),
        sa.Column("entered_by", sa.Text(), nullable=False),
        sa.Column("entry_reason", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("gate_id", Key, nullable=False),
        sa.Column("enrolled_at", sa.DateTime(), nullable=False),
        sa.Column("goal_reach", sa.Text(), nullable=False),
        sa.Column("goal_by", sa.Text(), nullable=False),
        sa.Column("window_ends_at", sa.DateTime(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["gate_id"], ["snapshot_gates.gate_id"], name=op.f("fk_enrollments_gate_id")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["playbook_versions.version_id"], name=op.f("fk_enrollments_version_id")
        ),
        sa.PrimaryKeyConstraint("enrollment_id", name=op.f("pk_enrollments")),
        sa.UniqueConstraint(
            "playbook", "account_id", "entry_no", name=op.f("uq_enrollments_playbook_account_id_entry_no")
        ),
    )
    op.create_index(op.f("ix_enrollments_account_id"), "enrollments", ["account_id"], unique=False)
    op.create_index(
        "uq_enrollments_open",
        "enrollments",
        ["playbook", "account_id"],
        unique=True,
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "plans",
        sa.Column("plan_key", Key, nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("version_id", Key, nullable=False),
        sa.Column("release_hash", sa.Text(), nullable=False),
        sa.Column("plan_hash", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("planned_at", sa.DateTime(), nullable=False),
        sa.Column("count_accounts", sa.Integer(), nullable=False),
        sa.Column("count_contacts", sa.Integer(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["playbook_versions.version_id"], name=op.f("fk_plans_version_id")),
        sa.PrimaryKeyConstraint("plan_key", name=op.f("pk_plans")),
        sa.UniqueConstraint("plan_id", name=op.f("uq_plans_plan_id")),
    )
    op.create_index(op.f("ix_plans_playbook_plan_key"), "plans", ["playbook", "plan_key"], unique=False)
    op.create_table(
        "approvals",
        sa.Column("approval_id", Key, nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("version_id", Key, nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("approved_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("tolerance", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.plan_id"], name=op.f("fk_approvals_plan_id")),
        sa.ForeignKeyConstraint(["version_id"], ["playbook_versions.version_id"], name=op.f("fk_approvals_version_id")),
        sa.PrimaryKeyConstraint("approval_id", name=op.f("pk_approvals")),
    )
    op.create_index(op.f("ix_approvals_playbook_approval_id"), "approvals", ["playbook", "approval_id"], unique=False)
    op.create_table(
        "decisions",
        sa.Column("decision_id", Key, nullable=False),
        sa.Column("enrollment_id", Key, nullable=False),
        sa.Column("contact_id", sa.Text(), nullable=False),
        sa.Column("stage_key", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("version_id", Key, nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("gate_id", Key, nullable=True),
        sa.Column("run_id", Key, nullable=True),
        sa.Column("decided_at", sa.DateTime(), nullable=False),
        sa.Column("superseded_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["enrollment_id"], ["enrollments.enrollment_id"], name=op.f("fk_decisions_enrollment_id")
        ),
        sa.ForeignKeyConstraint(["gate_id"], ["snapshot_gates.gate_id"], name=op.f("fk_decisions_gate_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_decisions_run_id")),
        sa.ForeignKeyConstraint(["version_id"], ["playbook_versions.version_id"], name=op.f("fk_decisions_version_id")),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_decisions")),
    )
    op.create_index(op.f("ix_decisions_contact_id"), "decisions", ["contact_id"], unique=False)
    op.create_index(
        "uq_decisions_current",
        "decisions",
        ["enrollment_id", "contact_id", "stage_key"],
        unique=True,
        sqlite_where=sa.text("superseded_at IS NULL"),
        postgresql_where=sa.text("superseded_at IS NULL"),
    )
    op.create_table(
        "enrollment_contacts",
        sa.Column("enrollment_id", Key, nullable=False),
        sa.Column("contact_id", sa.Text(), nullable=False),
        sa.Column("contact_rank", sa.Integer(), nullable=False),
        sa.Column("feature_key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["enrollment_id"], ["enrollments.enrollment_id"], name=op.f("fk_enrollment_contacts_enrollment_id")
        ),
        sa.PrimaryKeyConstraint("enrollment_id", "contact_id", name=op.f("pk_enrollment_contacts")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_enrollment_contacts_contact_id"), "enrollment_contacts", ["contact_id"], unique=False)
    op.create_table(
        "sends",
        sa.Column("send_key", Key, nullable=False),
        sa.Column("send_id", sa.Text(), nullable=False),
        sa.Column("enrollment_id", Key, nullable=False),
        sa.Column("stage_key", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.Text(), nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("version_id", Key, nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("gate_id", Key, nullable=False),
        sa.Column("run_id", Key, nullable=False),
        sa.Column("git_sha", sa.Text(), nullable=False),
        sa.Column("template_hash", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("feature_key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(), nullable=False),
        sa.Column("planned_at", sa.DateTime(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until_at", sa.DateTime(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sending_at", sa.DateTime(), nullable=True),
        sa.Column("deadline_at", sa.DateTime(), nullable=True),
        sa.Column("body_hash", sa.Text(), nullable=True),
        sa.Column("address_hash", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("accepted_at", sa.DateTime(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(), nullable=True),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
        sa.Column("released_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["enrollment_id"], ["enrollments.enrollment_id"], name=op.f("fk_sends_enrollment_id")),
        sa.ForeignKeyConstraint(["gate_id"], ["snapshot_gates.gate_id"], name=op.f("fk_sends_gate_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_sends_run_id")),
        sa.ForeignKeyConstraint(["version_id"], ["playbook_versions.version_id"], name=op.f("fk_sends_version_id")),
        sa.PrimaryKeyConstraint("send_key", name=op.f("pk_sends")),
        sa.UniqueConstraint(
            "enrollment_id", "stage_key", "contact_id", name=op.f("uq_sends_enrollment_id_stage_key_contact_id")
        ),
        sa.UniqueConstraint("send_id", name=op.f("uq_sends_send_id")),
    )
    op.create_index(op.f("ix_sends_accepted_at"), "sends", ["accepted_at"], unique=False)
    op.create_index(
        "ix_sends_claimed",
        "sends",
        ["lease_until_at"],
        unique=False,
        sqlite_where=sa.text("status = 'claimed'"),
        postgresql_where=sa.text("status = 'claimed'"),
    )
    op.create_index(op.f("ix_sends_contact_id"), "sends", ["contact_id"], unique=False)
    op.create_index(
        "ix_sends_planned",
        "sends",
        ["send_key"],
        unique=False,
        sqlite_where=sa.text("status = 'planned'"),
        postgresql_where=sa.text("status = 'planned'"),
    )
    op.create_index(
        "ix_sends_planned_stage",
        "sends",
        ["version_id", "stage_key", "send_key"],
        unique=False,
        sqlite_where=sa.text("status = 'planned'"),
        postgresql_where=sa.text("status = 'planned'"),
    )
    op.create_index(
        "ix_sends_sending",
        "sends",
        ["deadline_at"],
        unique=False,
        sqlite_where=sa.text("status = 'sending'"),
        postgresql_where=sa.text("status = 'sending'"),
    )
    op.create_index(
        "ix_sends_stuck",
        "sends",
        ["status", "send_key"],
        unique=False,
        sqlite_where=sa.text("status IN ('unknown', 'held')"),
        postgresql_where=sa.text("status IN ('unknown', 'held')"),
    )
    op.create_table(
        "tasks",
        sa.Column("task_id", Key, nullable=False),
        sa.Column("enrollment_id", Key, nullable=False),
        sa.Column("stage_key", sa.Text(), nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.Text(), nullable=False),
        sa.Column("version_id", Key, nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("gate_id", Key, nullable=True),
        sa.Column("run_id", Key, nullable=False),
        sa.Column("feature_key", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(), nullable=False),
        sa.Column("opened_at", sa.DateTime(), nullable=False),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("close_reason", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["enrollment_id"], ["enrollments.enrollment_id"], name=op.f("fk_tasks_enrollment_id")),
        sa.ForeignKeyConstraint(["gate_id"], ["snapshot_gates.gate_id"], name=op.f("fk_tasks_gate_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_tasks_run_id")),
        sa.ForeignKeyConstraint(["version_id"], ["playbook_versions.version_id"], name=op.f("fk_tasks_version_id")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("enrollment_id", "stage_key", name=op.f("uq_tasks_enrollment_id_stage_key")),
    )
