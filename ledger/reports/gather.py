"""Gather one row for each request of a span into a temporary table.

Promised: the costs, tokens and savings of the rows add up to those of the span's lines, none left
out: a line whose request has no other line in the span makes a row that is not `counted`. All
figures taken within one `snapshot` belong to the same lines, while others are written.
Not covered: a request whose lines lie on both sides of a span's bound; each side has its part.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    CreateTableAs,
    FromClause,
    Integer,
    Numeric,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
)

from core.ledger_line import Kind, Outcome
from ledger.path.schema import LINES
from ledger.path.sql_store import SqlStore
from ledger.reports.report import ANSWERING, ASIDE, GIVEN_AGAIN
from ledger.reports.span import DAY_S, TimeSpan

TOKENS = ("fresh_input_tokens", "cached_input_tokens", "output_tokens")
_L = LINES.c
_PLACE = 1 << 32  # above every attempt's number, so that one maximum finds a line and its number
_OF_ANSWER = (
    "tenant", "key", "team", "tags", "route_code", "tier", "model", "model_version",
    "router_version", "prompt_version", "price_version", "kind", "cache", "lane", "outcome",
    "ttft_s", "tpot_s", "total_s",
)  # fmt: skip
_OF_FIRST = ("model_version", "router_version", "prompt_version", "price_version")


@contextmanager
def snapshot(store: SqlStore) -> Iterator[Connection]:
    """A connection that sees one state of the ledger, and keeps nothing of what it writes."""
    with store.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # Python's driver begins none before a SELECT
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
        try:
            yield connection
        finally:
            connection.rollback()  # the temporary tables go with it


def gathered(connection: Connection, span: TimeSpan, name: str = "report_requests") -> FromClause:
    """The temporary table of requests, on a connection of `snapshot`.

    Columns: those of the line that answered (`created_s` too), `first_<version>` of the request's
    first line, sums over all lines, and 0 or 1 for what happened to it.
    """
    # The name is in no other's way: a temporary table is seen by its own connection only.
    making = CreateTableAs(_requests(lines_of(span)), name, temporary=True)
    connection.execute(making)
    return making.table


def lines_of(span: TimeSpan) -> ColumnElement[bool]:
    """The condition that a line belongs to `span`."""
    wanted: list[ColumnElement[bool]] = [literal(value=True)]
    if span.since_s is not None:
        wanted.append(_L.created_s >= span.since_s)
    if span.until_s is not None:
        wanted.append(_L.created_s < span.until_s)
    if span.tenant:
        wanted.append(_L.tenant == span.tenant)
    if span.tag:
        # Not LIKE, which is blind to case on SQLite only.
        listed = literal(",") + _L.tags + ","
        wanted.append(func.replace(listed, f",{span.tag},", "") != listed)
    return and_(*wanted)


def bucket(created_s: ColumnElement[Any], step_s: int = DAY_S) -> ColumnElement[int]:
    """How many whole `step_s` have passed since 1970-01-01 UTC; days by default.

    A cast to an integer truncates on SQLite and rounds on PostgreSQL, `floor` is not in every
    SQLite; `round` of a numeric goes away from zero on both.
    """
    # Literals: PostgreSQL takes an expression with parameters for another one in its GROUP BY.
    steps = cast(created_s, Numeric) / literal_column(str(int(step_s)))
    return cast(func.round(steps - literal_column("0.5")), Integer)


def _requests(wanted: ColumnElement[bool]) -> Select[Any]:
    sums = _sums(wanted).subquery("sums")
    answer, first = LINES.alias("answer"), LINES.alias("first")
    happened = [sums.c[name] for name in sums.c.keys() if name not in ("at", "first")]  # noqa: SIM118
    return (
        select(
            *happened,
            *(answer.c[name] for name in _OF_ANSWER),
            *(first.c[name].label(f"first_{name}") for name in _OF_FIRST),
            answer.c.created_s,
            _bit(and_(sums.c.counted == 1, answer.c.outcome == Outcome.SUCCESS)).label("success"),
        )
        .join_from(sums, answer, _same(sums, answer, sums.c.at % _PLACE))
        .join(first, _same(sums, first, sums.c.first % _PLACE))
    )


def _same(sums: FromClause, lines: FromClause, attempt: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(lines.c.call_id == sums.c.call_id, lines.c.attempt == attempt)


def _sums(wanted: ColumnElement[bool]) -> Select[Any]:
    """By request: its sums, and the places of the line that answered and of the first.

    A request is answered by its last line that answered well, else the last that tried: a cascade
    whose second answer failed was answered by its first.
    """
    counts = _bit(_L.kind.not_in(ASIDE))
    answers = _bit(_L.kind.in_(ANSWERING))
    well = _bit(_L.outcome == Outcome.SUCCESS)
    made = _bit(_L.kind.not_in(GIVEN_AGAIN))
    to_answer = _L.kind.not_in((*ASIDE, *GIVEN_AGAIN))
    rank = counts * 4 + answers * 2 + well
    return (
        select(
            _L.call_id,
            func.max(cast(rank, BigInteger) * _PLACE + _L.attempt).label("at"),
            func.min(cast(1 - counts, BigInteger) * _PLACE + _L.attempt).label("first"),
            func.max(counts).label("counted"),
            func.count().label("attempts"),
            *(_whole(func.sum(_L[name] * made)).label(name) for name in TOKENS),
            *(
                _whole(func.sum(_L[name])).label(name)
                for name in ("undelivered_tokens", "cost_usd_micros", "saved_usd_micros")
            ),
            func.max(_bit(_L.kind == Kind.ESCALATION)).label("escalated"),
            func.max(_bit(_L.kind.in_((Kind.RETRY, Kind.FALLBACK)))).label("retried"),
            func.min(case((to_answer, _L.attempt))).label("first_made"),
        )
        .where(wanted)
        .group_by(_L.call_id)
    )


def _bit(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _whole(value: ColumnElement[Any]) -> ColumnElement[int]:
    """PostgreSQL sums bigints as numeric, which arrives as Decimal."""
    return cast(value, BigInteger)
