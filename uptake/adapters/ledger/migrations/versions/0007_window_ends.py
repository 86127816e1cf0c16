"""A planned mail knows when its window ends."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("sends", sa.Column("window_ends_at", sa.DateTime(), nullable=True))
