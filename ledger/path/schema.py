"""The ledger's table in this version, and the migration of a database to it.

Promised: `upgrade` brings a database of any earlier version to `VERSION` in one transaction, under
a lock, so that processes that start at once do not collide, and loses no line. A database that is
at `VERSION` is not written to. The table is the same on SQLite and PostgreSQL.
Not covered: going back to an earlier version.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Engine,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    inspect,
    select,
    text,
)

from core.errors import HansomError

VERSION = "0003"  # of the newest file in `migrations/versions`
VERSION_TABLE = "ledger_version"  # not alembic's own name: the database may be shared with others
LOCK_WAIT_S = 30.0

LINES = Table(
    "ledger_lines",
    MetaData(),
    # SQLite numbers rows by itself only in a column that is INTEGER to the letter.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("call_id", Text, nullable=False),
    Column("request_id", Text, nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("requested", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("key", Text, nullable=False, server_default=text("''")),
    Column("team", Text, nullable=False, server_default=text("''")),
    Column("tags", Text, nullable=False, server_default=text("''")),
    Column("route_code", Text, nullable=False),
    Column("route_reason", Text, nullable=False, server_default=text("''")),
    Column("difficulty", Double),
    Column("router_version", Text, nullable=False),
    Column("model_version", Text, nullable=False, server_default=text("''")),
    Column("prompt_version", Text, nullable=False, server_default=text("''")),
    Column("lane", Text, nullable=False, server_default=text("'interactive'")),
    Column("price_version", Text, nullable=False),
    Column("fresh_input_tokens", BigInteger, nullable=False),
    Column("cached_input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("undelivered_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cost_usd_micros", BigInteger, nullable=False),
    Column("saved_usd_micros", BigInteger, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("queue_s", Double),
    Column("ttft_s", Double),
    Column("tpot_s", Double),
    Column("total_s", Double, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("error_code", Text),
    Column("cache", Text, nullable=False),
    Column("created_s", Double, nullable=False, index=True),
    Column("estimated_tokens", Boolean, nullable=False),
    UniqueConstraint("call_id", "attempt"),
)

_LOCK = 0x6C656467657231  # any number that no other user of the database locks: "ledger1"


def upgrade(engine: Engine, to: str = VERSION) -> None:
    """Create the table or migrate it to version `to`.

    Raises `HansomError` for a database that a newer Hansom wrote, and
    `sqlalchemy.exc.SQLAlchemyError`.
    """
    with engine.connect() as connection:
        if found_version(connection) == to:
            return
    # Here, because it takes a tenth of a second, and most processes find their database ready.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    with _alone(engine) as connection:
        config.attributes["connection"] = connection
        found = found_version(connection)
        if found is None and (unversioned := _unversioned(connection)):
            command.stamp(config, unversioned)
        elif found is not None and found not in known:
            raise HansomError(
                f"The ledger's database is of version {found}, and this Hansom knows none after "
                f"{VERSION}: a newer Hansom has written to it. Use that one, or another database."
            )
        command.upgrade(config, to)


def found_version(connection: Connection) -> str | None:
    """The version that a database says it has; None for a new one and for one before versions."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return found


def _unversioned(connection: Connection) -> str | None:
    """Which version a table has that was made before there were versions; None without a table."""
    inspector = inspect(connection)
    if not inspector.has_table(LINES.name):
        return None
    columns = {column["name"] for column in inspector.get_columns(LINES.name)}
    return "0003" if "lane" in columns else "0002" if "key" in columns else "0001"


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that excludes other migrations; waits `LOCK_WAIT_S` on SQLite."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            yield connection
        return
    with engine.connect() as connection:
        driver = cast(Any, connection.connection.dbapi_connection)
        before = driver.isolation_level
        # Python's driver begins no transaction before DDL; ours begins with SQLite's write lock.
        driver.isolation_level = None
        try:
            with connection.begin():
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
        finally:
            driver.isolation_level = before
