"""What the task webhook was told."""

import sqlalchemy as sa
from alembic import op

from uptake.adapters.ledger.schema import Key

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "task_posts",
        sa.Column("task_id", Key, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("noted_at", sa.DateTime(), nullable=False),
        sa.Column("posted_at", sa.DateTime(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_task_posts_task_id")),
        sa.PrimaryKeyConstraint("task_id", "event", name=op.f("pk_task_posts")),
        sqlite_with_rowid=False,
    )
    waiting = sa.text("posted_at IS NULL")
    op.create_index("ix_task_posts_waiting", "task_posts", ["task_id"], sqlite_where=waiting, postgresql_where=waiting)
