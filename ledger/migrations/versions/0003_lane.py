"""Which calls were of the batch lane, whose waits are not to be judged with the others'."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Old lines read as interactive: which were not was not kept."""
    lane = sa.Column("lane", sa.Text, nullable=False, server_default="interactive")
    op.add_column("ledger_lines", lane)
