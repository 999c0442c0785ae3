"""What a bill is split by, which model and prompt it was, and tokens that never arrived."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_WORDS = ("key", "team", "tags", "route_reason", "model_version", "prompt_version")


def upgrade() -> None:
    """Old lines read as '' and 0."""
    tokens = sa.Column("undelivered_tokens", sa.BigInteger, nullable=False, server_default="0")
    with op.batch_alter_table("ledger_lines") as table:
        for name in _WORDS:
            table.add_column(sa.Column(name, sa.Text, nullable=False, server_default=""))
        table.add_column(tokens)
