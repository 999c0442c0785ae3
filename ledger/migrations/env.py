"""What alembic runs for `schema.upgrade`, on the connection and in the transaction of it.

To write the next version: change `ledger.path.schema.LINES`, add `versions/000N_words.py` with the
step from the one before, and set `ledger.path.schema.VERSION`. A test compares the two on both
databases.
"""

from alembic import context

from ledger.path.schema import LINES, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=LINES.metadata,
    version_table=VERSION_TABLE,
    # SQLite cannot alter most of a table in place; alembic then copies it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
