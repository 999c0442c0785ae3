"""Store the ledger in one SQL table: SQLite, or PostgreSQL in production.

Promised: a line is in the table once, however often it is inserted; `insert` returns after the
commit is on disk; money is integers. Opening a database brings it to this code's version.
Not covered: a `tail` cursor may skip a line when several drains commit at once on PostgreSQL.
"""

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy import delete as delete_from

from core.call import Usage
from core.ledger_line import LedgerLine
from core.settings.load import LedgerSettings
from ledger.path import schema

LINES = schema.LINES
_USAGE = tuple(item.name for item in fields(Usage))
_PLAIN = tuple(name for name in LedgerLine.__struct_fields__ if name != "usage")
_COLUMNS = LINES.c
_TAGS = ","  # no tag has one: they come as a list between commas
_NUL = "\0", "\ufffd"
_ASK_AGAIN_S = 0.01
_CONNECT_S = "10"  # for PostgreSQL; libpq itself would wait for minutes


@dataclass(frozen=True, slots=True)
class Tailed:
    """A line and its place in the table; pass `seq` as `after` to go on from here."""

    seq: int
    line: LedgerLine


class SqlStore:
    """The table behind one engine. Methods block, and raise `sqlalchemy.exc.SQLAlchemyError`."""

    def __init__(self, url: str | URL) -> None:
        """Connect, and create or migrate the table if need be.

        Raises `ValueError` for other databases, `HansomError` for one of a newer Hansom.
        """
        self._engine = _engine(make_url(url))
        self._postgresql = self._engine.dialect.name == "postgresql"
        self._insert = _insert_ignoring(self._engine.dialect)
        schema.upgrade(self._engine)

    def insert(self, lines: Sequence[LedgerLine]) -> int:
        """Commit the lines that are not there yet; returns how many that were."""
        if not lines:
            return 0
        rows = [_row(line) for line in lines]
        with self._engine.begin() as connection:
            if self._postgresql:
                columns = tuple(map(list, zip(*rows, strict=True)))
                return connection.exec_driver_sql(self._insert, columns).rowcount
            return connection.exec_driver_sql(self._insert, rows).rowcount

    def tail(self, count: int, after: int | None = None) -> list[Tailed]:
        """Oldest first: the last `count` lines, or the next `count` with a `seq` above `after`."""
        if after is None:
            query = select(LINES).order_by(_COLUMNS.seq.desc()).limit(count)
        else:
            query = select(LINES).where(_COLUMNS.seq > after).order_by(_COLUMNS.seq).limit(count)
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [Tailed(row["seq"], line_of(row)) for row in (rows[::-1] if after is None else rows)]

    def connect(self) -> Connection:
        """A connection to read with, for `ledger.reports.queries`; use it in a `with`."""
        return self._engine.connect()

    def delete_older(self, than_s: float, count: int) -> int:
        """Commit the deletion of up to `count` lines created before `than_s`; how many they were.

        The newest line stays: SQLite would give its number again, and a `tail` would miss lines.
        """
        newest = select(func.max(_COLUMNS.seq)).scalar_subquery()
        old = select(_COLUMNS.seq).where(_COLUMNS.created_s < than_s, _COLUMNS.seq < newest)
        with self._engine.begin() as connection:
            gone = connection.execute(
                delete_from(LINES).where(
                    _COLUMNS.seq.in_(old.order_by(_COLUMNS.created_s).limit(count))
                )
            )
            return gone.rowcount

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def sqlite_url(path: Path) -> URL:
    """The URL of a SQLite file; `SqlStore` creates its folder if need be."""
    return URL.create("sqlite", database=str(path))


def database_url(settings: LedgerSettings, home: Path) -> URL:
    """The database that the settings name; a SQLite file by default, `ledger.path` under `home`."""
    if settings.database_url is None:
        return sqlite_url(home / settings.path)
    return make_url(settings.database_url)


def _insert_ignoring(dialect: Dialect) -> str:
    """The driver's own insert that passes over known identities.

    SQLite takes rows, PostgreSQL one list for each column. SQLAlchemy's own insert that returns the
    new rows made half as many lines/s on SQLite and a seventh on PostgreSQL.
    """
    names = ", ".join(f'"{name}"' for name in _ROW)
    into = f"INSERT INTO {LINES.name} ({names})"
    ignoring = "ON CONFLICT (call_id, attempt) DO NOTHING"
    if dialect.name == "sqlite":
        return f"{into} VALUES ({', '.join('?' * len(_ROW))}) {ignoring}"
    lists = ", ".join(f"%s::{_COLUMNS[name].type.compile(dialect)}[]" for name in _ROW)
    return f"{into} SELECT * FROM unnest({lists}) {ignoring}"


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        waits = {"connect_timeout": _CONNECT_S} | dict(url.query)
        url = url.set(drivername="postgresql+psycopg", query=waits)
        return create_engine(url, pool_pre_ping=True)
    if url.get_backend_name() != "sqlite":
        raise ValueError(f"the ledger needs sqlite or postgresql (got {url.get_backend_name()!r})")
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": schema.LOCK_WAIT_S})

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        # WAL: readers and the drain do not wait for one another. FULL: a commit is acked to the
        # stream right away, so it must outlive the machine.
        _to_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _to_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait here: of two processes that open a new file at once, one would fail."""
    give_up_s = time.monotonic() + schema.LOCK_WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_s:
                raise
            time.sleep(_ASK_AGAIN_S)


def _columns_of(field: str) -> tuple[str, ...]:
    return _USAGE if field == "usage" else (field,)


_ROW = tuple(name for field in LedgerLine.__struct_fields__ for name in _columns_of(field))
_KIND, _TAGS_AT, _USAGE_AT, _OUTCOME = map(
    LedgerLine.__struct_fields__.index, ("kind", "tags", "usage", "outcome")
)


def _row(line: LedgerLine) -> tuple[Any, ...]:
    """The line's cells in the order of `_ROW`."""
    cells: list[Any] = list(msgspec.structs.astuple(line))
    cells[_KIND] = line.kind.value
    cells[_TAGS_AT] = _TAGS.join(line.tags)
    cells[_OUTCOME] = line.outcome.value
    usage = line.usage
    cells[_USAGE_AT : _USAGE_AT + 1] = (getattr(usage, name) for name in _USAGE)
    if any("\0" in cell for cell in cells if type(cell) is str):
        # A client can put NUL into `model`; PostgreSQL refuses it, and with it the batch.
        cells = [cell.replace(*_NUL) if isinstance(cell, str) else cell for cell in cells]
    return tuple(cells)


def line_of(row: dict[str, Any]) -> LedgerLine:
    """The line that a row of `LINES` holds, by column."""
    plain = {name: row[name] for name in _PLAIN}
    plain["tags"] = tuple(row["tags"].split(_TAGS)) if row["tags"] else ()
    return LedgerLine.from_fields(plain | {"usage": {name: row[name] for name in _USAGE}})
