"""Tasks get an owner, facts and a dedupe key."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("owner", sa.Text(), nullable=True))
    op.add_column("tasks", sa.Column("dedupe_key", sa.Text(), nullable=False, server_default=""))
    op.add_column("tasks", sa.Column("facts", sa.Text(), nullable=False, server_default="{}"))
    op.execute("UPDATE tasks SET dedupe_key = playbook || '/' || stage_key")
    # What was opened before and outlived its enrollment is nobody's work any more.
    op.execute(
        "UPDATE tasks SET status = 'withdrawn', closed_by = 'uptake', close_reason = 'ended', closed_at = opened_at"
        " WHERE status = 'open' AND enrollment_id IN (SELECT enrollment_id FROM enrollments WHERE status = 'ended')"
    )
    is_open = sa.text("status = 'open'")
    op.create_index(
        "uq_tasks_open",
        "tasks",
        ["account_id", "dedupe_key"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index("ix_tasks_contact_id", "tasks", ["contact_id"], unique=False)
