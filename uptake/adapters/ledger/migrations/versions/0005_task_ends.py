"""When the stage of a closed task ended: the journey may have gone on without it before."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("ended_at", sa.DateTime(), nullable=True))
