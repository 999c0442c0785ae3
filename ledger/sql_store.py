"""The ledger's lasting home: one SQL table, SQLite embedded or PostgreSQL in production.

Promised: a line is in the table once, however often it is inserted; `insert` returns after the
commit is on disk; money is integers. The same statements run on both databases.
Not covered: migrations between versions of the table, and retention. A `tail` cursor may skip a
line when several drains commit at once on PostgreSQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Double,
    Engine,
    Insert,
    Integer,
    MetaData,
    Subquery,
    Table,
    Text,
    UniqueConstraint,
    case,
    create_engine,
    event,
    func,
    make_url,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite

from core.call import Usage
from ledger.line import LedgerLine, Outcome
from ledger.report import ANSWERING, ASIDE, AttemptGroup, Figures, RequestGroup, Waits

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
    Column("key", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("route_code", Text, nullable=False),
    Column("route_reason", Text, nullable=False),
    Column("difficulty", Double),
    Column("router_version", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("prompt_version", Text, nullable=False),
    Column("price_version", Text, nullable=False),
    Column("fresh_input_tokens", BigInteger, nullable=False),
    Column("cached_input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("undelivered_tokens", BigInteger, nullable=False),
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

_USAGE = tuple(item.name for item in fields(Usage))
_PLAIN = tuple(name for name in LedgerLine.__struct_fields__ if name != "usage")
_SETTLED = ("outcome", "cache", "tier", "ttft_s", "total_s")
_COLUMNS = LINES.c
_TAGS = ","  # no tag has one: they come as a list between commas


@dataclass(frozen=True, slots=True)
class Tailed:
    """A line and its place in the table; pass `seq` as `after` to go on from here."""

    seq: int
    line: LedgerLine


class SqlStore:
    """The table behind one engine. Methods block, and raise `sqlalchemy.exc.SQLAlchemyError`."""

    def __init__(self, url: str | URL) -> None:
        """Connect and create the table if need be; raises `ValueError` for other databases."""
        url = make_url(url)
        self._insert = insert_ignoring(url.get_backend_name())
        self._engine = _engine(url)
        LINES.metadata.create_all(self._engine)

    def insert(self, lines: Sequence[LedgerLine]) -> int:
        """Commit the lines that are not there yet; returns how many that were."""
        if not lines:
            return 0
        with self._engine.begin() as connection:
            new = connection.execute(self._insert, [_row(line) for line in lines])
            return len(new.all())

    def tail(self, count: int, after: int | None = None) -> list[Tailed]:
        """Oldest first: the last `count` lines, or the next `count` with a `seq` above `after`."""
        if after is None:
            query = select(LINES).order_by(_COLUMNS.seq.desc()).limit(count)
        else:
            query = select(LINES).where(_COLUMNS.seq > after).order_by(_COLUMNS.seq).limit(count)
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [Tailed(row["seq"], _line(row)) for row in (rows[::-1] if after is None else rows)]

    def figures(self, since_s: float | None = None) -> Figures:
        """What `ledger.report.summarise` needs of the lines created at or after `since_s`."""
        span = true() if since_s is None else _COLUMNS.created_s >= since_s
        settled = _settled(span)
        with self._engine.connect() as connection:
            return Figures(
                since_s,
                _attempt_groups(connection, span),
                _request_groups(connection, settled),
                ttft=_waits(connection, settled, settled.c.ttft_s),
                total=_waits(connection, settled, settled.c.total_s),
            )

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def sqlite_url(path: Path) -> URL:
    """The URL of a SQLite file; its folder is created if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return URL.create("sqlite", database=str(path))


def insert_ignoring(dialect: str) -> Insert:
    """An insert that passes over known identities and returns the new rows' `seq`."""
    identity = [_COLUMNS.call_id, _COLUMNS.attempt]
    if dialect == "sqlite":
        return (
            sqlite.insert(LINES)
            .on_conflict_do_nothing(index_elements=identity)
            .returning(_COLUMNS.seq)
        )
    if dialect == "postgresql":
        return (
            postgresql.insert(LINES)
            .on_conflict_do_nothing(index_elements=identity)
            .returning(_COLUMNS.seq)
        )
    raise ValueError(f"the ledger needs sqlite or postgresql (got {dialect!r})")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        # WAL: readers and the drain do not wait for one another. FULL: a commit is acked to the
        # stream right away, so it must outlive the machine.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _row(line: LedgerLine) -> dict[str, Any]:
    row = {name: getattr(line, name) for name in _PLAIN}  # `asdict` copies deeply: five times this
    usage = {name: getattr(line.usage, name) for name in _USAGE}
    row["tags"] = _TAGS.join(line.tags)
    for name, value in row.items():
        if isinstance(value, str) and "\0" in value:
            # A client can put NUL into `model`; PostgreSQL refuses it, and with it the batch.
            row[name] = value.replace("\0", "\ufffd")
    return row | usage


def _line(row: dict[str, Any]) -> LedgerLine:
    plain = {name: row[name] for name in _PLAIN}
    plain["tags"] = tuple(row["tags"].split(_TAGS)) if row["tags"] else ()
    return LedgerLine.from_fields(plain | {"usage": {name: row[name] for name in _USAGE}})


def _attempt_groups(connection: Connection, span: ColumnElement[bool]) -> list[AttemptGroup]:
    estimated = func.sum(case((_COLUMNS.estimated_tokens, 1), else_=0))
    summed = [*_USAGE, "cost_usd_micros", "saved_usd_micros"]
    query = (
        select(_COLUMNS.tier, _COLUMNS.kind, func.count(), estimated)
        .add_columns(*(func.sum(_COLUMNS[name]) for name in summed))
        .where(span)
        .group_by(_COLUMNS.tier, _COLUMNS.kind)
    )
    groups = []
    for tier, kind, attempts, few, *sums in connection.execute(query):
        # PostgreSQL sums bigints as numeric, which arrives as Decimal.
        fresh, cached, output, cost, saved = (int(value) for value in sums)
        usage = Usage(fresh, cached, output)
        groups.append(AttemptGroup(tier, kind, attempts, int(few), usage, cost, saved))
    return groups


def _settled(span: ColumnElement[bool]) -> Subquery:
    """One line per request: the last that answered well, else the last that tried to answer.

    A cascade whose second answer failed was answered by its first.
    """
    answers = case((_COLUMNS.kind.in_(ANSWERING), 1), else_=0)
    well = case((_COLUMNS.outcome == Outcome.SUCCESS, 1), else_=0)
    last = func.row_number().over(
        partition_by=_COLUMNS.call_id,
        order_by=(answers.desc(), well.desc(), _COLUMNS.attempt.desc()),
    )
    lines = (
        select(*(_COLUMNS[name] for name in _SETTLED), last.label("place"))
        .where(span, _COLUMNS.kind.not_in(ASIDE))
        .subquery("attempts_by_place")
    )
    return select(lines).where(lines.c.place == 1).subquery("settled")


def _request_groups(connection: Connection, settled: Subquery) -> list[RequestGroup]:
    by = (settled.c.outcome, settled.c.cache, settled.c.tier)
    query = select(*by, func.count()).group_by(*by)
    return [RequestGroup(*row) for row in connection.execute(query)]


def _waits(connection: Connection, settled: Subquery, wait: ColumnElement[float]) -> Waits:
    """p50 and p95 by nearest rank, found by the database: a ledger does not fit in memory."""
    ranked = (
        select(
            wait.label("wait_s"),
            func.row_number().over(order_by=wait).label("rank"),
            func.count().over().label("total"),
        )
        .where(settled.c.outcome == Outcome.SUCCESS, wait.is_not(None))
        .subquery("ranked")
    )
    at_50, at_95 = ((ranked.c.total * percent + 99) // 100 for percent in (50, 95))
    query = select(ranked.c.wait_s).where(ranked.c.rank.in_((at_50, at_95))).order_by(ranked.c.rank)
    found = list(connection.execute(query).scalars())
    return Waits(found[0], found[-1]) if found else Waits()
