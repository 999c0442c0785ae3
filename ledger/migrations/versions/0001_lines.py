"""The table as it was before there were versions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "ledger_lines",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("requested", sa.Text, nullable=False),
        sa.Column("tier", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("route_code", sa.Text, nullable=False),
        sa.Column("difficulty", sa.Double),
        sa.Column("router_version", sa.Text, nullable=False),
        sa.Column("price_version", sa.Text, nullable=False),
        sa.Column("fresh_input_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_usd_micros", sa.BigInteger, nullable=False),
        sa.Column("saved_usd_micros", sa.BigInteger, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("queue_s", sa.Double),
        sa.Column("ttft_s", sa.Double),
        sa.Column("tpot_s", sa.Double),
        sa.Column("total_s", sa.Double, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("cache", sa.Text, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("estimated_tokens", sa.Boolean, nullable=False),
        sa.UniqueConstraint("call_id", "attempt"),
    )
    op.create_index("ix_ledger_lines_request_id", "ledger_lines", ["request_id"])
    op.create_index("ix_ledger_lines_created_s", "ledger_lines", ["created_s"])
