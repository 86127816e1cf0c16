"""How many accounts matched a playbook on each snapshot."""

import sqlalchemy as sa
from alembic import op

from uptake.adapters.ledger.schema import Key

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "audiences",
        sa.Column("audience_id", Key, nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("count_accounts", sa.Integer(), nullable=False),
        sa.Column("held", sa.Text(), nullable=True),
        sa.Column("measured_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("audience_id", name=op.f("pk_audiences")),
    )
    op.create_index(op.f("ix_audiences_playbook_audience_id"), "audiences", ["playbook", "audience_id"], unique=False)
