"""When playbooks were launched, who matched before, and who took an account out by hand."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "launches",
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("launched_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("playbook", name=op.f("pk_launches")),
    )
    op.create_table(
        "launch_accounts",
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["playbook"], ["launches.playbook"], name=op.f("fk_launch_accounts_playbook")),
        sa.PrimaryKeyConstraint("playbook", "account_id", name=op.f("pk_launch_accounts")),
        sqlite_with_rowid=False,
    )
    # What was approved before took in everybody who matched: it is launched, and nobody waits outside.
    op.execute(
        "INSERT INTO launches (playbook, plan_id, snapshot_id, launched_at)"
        " SELECT a.playbook, p.plan_id, p.snapshot_id, a.approved_at FROM approvals AS a"
        " JOIN plans AS p ON p.plan_id = a.plan_id"
        " WHERE a.approval_id IN (SELECT min(approval_id) FROM approvals GROUP BY playbook)"
    )
    op.add_column("enrollments", sa.Column("ended_by", sa.Text(), nullable=True))
    op.add_column("enrollments", sa.Column("end_note", sa.Text(), nullable=True))
