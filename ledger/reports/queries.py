"""Query the ledger for reports, the same on SQLite and PostgreSQL.

Promised: every number is grouped in the database, since a ledger does not fit in memory. Functions
block and raise `sqlalchemy.exc.SQLAlchemyError`.
Not covered: adding up and printing (`ledger.reports.report`, `ledger.reports.rows`).
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    MetaData,
    Table,
    Text,
    and_,
    case,
    cast,
    func,
    insert,
    select,
)

from core.call import Usage
from ledger.path.schema import LINES
from ledger.path.sql_store import SqlStore, Tailed, line_of
from ledger.reports.gather import TOKENS, bucket, gathered, lines_of, snapshot
from ledger.reports.percentiles import Found, percentiles
from ledger.reports.queries_rates import savings
from ledger.reports.rates import Known, unknown_price
from ledger.reports.report import GIVEN_AGAIN, AttemptGroup, Figures, RequestGroup, Waits
from ledger.reports.rows import BY, Grouped, ReportRow, Spread
from ledger.reports.span import TimeSpan, day

_L = LINES.c
_PERCENTS = (50, 95, 99)
_WAITS = ("ttft_s", "total_s", "tpot_s")
_BATCH = 1_000
_TAGS = Table(
    "report_tags", MetaData(), Column("tags", Text), Column("tag", Text), prefixes=["TEMPORARY"]
)
_SUMS = (
    "attempts", "fresh_input_tokens", "cached_input_tokens", "output_tokens",
    "undelivered_tokens", "cost_usd_micros",
)  # fmt: skip


def tail(store: SqlStore, count: int, span: TimeSpan, after: int | None = None) -> list[Tailed]:
    """Oldest first: the last `count` lines of `span`, or the next with a `seq` above `after`."""
    query = select(LINES).where(lines_of(span)).limit(count)
    if after is None:
        query = query.order_by(_L.seq.desc())
    else:
        query = query.where(_L.seq > after).order_by(_L.seq)
    with store.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return [Tailed(row["seq"], line_of(row)) for row in (rows[::-1] if after is None else rows)]


def report(
    store: SqlStore, span: TimeSpan, by: str = "", known: Known = unknown_price
) -> tuple[Figures, Grouped]:
    """All figures of a report, rows grouped by one of `report_rows.BY` or not at all."""
    with snapshot(store) as connection:
        requests = gathered(connection, span)
        found = grouped(connection, span, requests, by, known)
        return _figures(connection, span, requests, found.total), found


def figures(store: SqlStore, since_s: float | None = None) -> Figures:
    """What `ledger.reports.report.summarise` needs of the lines created at or after `since_s`."""
    return report(store, TimeSpan(since_s))[0]


def grouped(
    connection: Connection, span: TimeSpan, requests: FromClause, by: str, known: Known
) -> Grouped:
    """The rows of a report over the `requests` that `queries_gather` made."""
    saved = savings(connection, lines_of(span), known)
    total = _rows(connection, requests, None)[0]
    if not by:
        return Grouped(by, (), total, saved)
    if by == "tag":
        _explode_tags(connection, requests)
        joined = requests.join(_TAGS, requests.c.tags == _TAGS.c.tags)
        rows = _rows(connection, requests, _TAGS.c.tag, joined)
    elif by == "kind":
        rows = _by_kind(connection, span, requests)
    else:
        rows = _rows(connection, requests, _key(by, requests))
    if by == "day":
        return Grouped(by, sorted(rows, key=lambda row: row.group), total, saved)
    return Grouped(by, sorted(rows, key=_dearest_first), total, saved)


def _key(by: str, requests: FromClause) -> ColumnElement[Any]:
    if by not in BY:
        raise ValueError(f"{by!r} is none of {', '.join(BY)}")
    if by == "day":
        return bucket(requests.c.created_s)
    name = {"route": "route_code"}.get(by, by.replace("-", "_"))
    return requests.c[name]


def _dearest_first(row: ReportRow) -> tuple[int, str]:
    return -row.cost_usd_micros, row.group


def _rows(
    connection: Connection,
    requests: FromClause,
    key: ColumnElement[Any] | None,
    rows: FromClause | None = None,
) -> list[ReportRow]:
    """One row for each `key`, or one of all; `rows` is `requests` with what `key` needs."""
    c, rows = requests.c, requests if rows is None else rows
    query = select(
        *([] if key is None else [key.label("key")]),
        *(
            cast(func.coalesce(func.sum(number), 0), BigInteger).label(name)
            for name, number in _counts(requests).items()
        ),
    ).select_from(rows)
    if key is not None:
        query = query.group_by(key)
    waits = [
        percentiles(connection, rows, c[name], _PERCENTS, c.success == 1, key) for name in _WAITS
    ]
    return [
        _row(dict(found), [groups.get(found.get("key"), {}) for groups in waits])
        for found in connection.execute(query).mappings()
    ]


def _counts(requests: FromClause) -> dict[str, ColumnElement[Any]]:
    """What is summed over requests; a request that is not counted has only its cost and tokens."""
    c = requests.c
    hits = {
        name: case((and_(c.counted == 1, c.cache == cache), 1), else_=0)
        for name, cache in (("exact", "exact"), ("semantic", "semantic"), ("joined", "flight"))
    }
    return {
        "requests": c.counted,
        "successes": c.success,
        "escalated": c.escalated,
        "retried": c.retried,
        **hits,
        **{name: c[name] for name in _SUMS},
    }


def _row(found: dict[str, Any], waits: list[Found], *, by_lines: bool = False) -> ReportRow:
    key = found.pop("key", "all")
    usage = Usage(*(found.pop(name) for name in TOKENS))
    ttft, total, tpot = (Spread(*(one.get(at) for at in _PERCENTS)) for one in waits)
    return ReportRow(
        group=day(key) if isinstance(key, int) else key,
        usage=usage,
        ttft=ttft,
        total=total,
        tpot=tpot,
        by_lines=by_lines,
        **found,
    )


def _by_kind(connection: Connection, span: TimeSpan, requests: FromClause) -> list[ReportRow]:
    """Lines by their own kind, beside the requests that such a line answered."""
    answered = {row.group: row for row in _rows(connection, requests, requests.c.kind)}
    sums = (func.sum(_L[name]) for name in _SUMS[1:])
    query = select(_L.kind, func.count(), *sums).where(lines_of(span)).group_by(_L.kind)
    made = []
    for kind, attempts, *found in connection.execute(query):
        fresh, cached, output, undelivered, cost = map(int, found)
        usage = Usage() if kind in GIVEN_AGAIN else Usage(fresh, cached, output)
        own = {"attempts": attempts, "usage": usage, "cost_usd_micros": cost}
        own |= {"undelivered_tokens": undelivered, "by_lines": True}
        blank = ReportRow(kind, 0, 0, 0, Usage(), 0, 0, 0, 0, 0, 0, 0)
        made.append(replace(answered.get(kind, blank), **own))
    return made


def _explode_tags(connection: Connection, requests: FromClause) -> None:
    """A temporary table of each list of tags that occurs, with each of its tags."""
    _TAGS.create(connection)
    lists = select(requests.c.tags).distinct()
    reading = connection.execute(lists, execution_options={"yield_per": _BATCH})
    for some in reading.scalars().partitions(_BATCH):
        pairs = [{"tags": tags, "tag": tag} for tags in some for tag in set(tags.split(","))]
        connection.execute(insert(_TAGS), pairs)


def _figures(
    connection: Connection, span: TimeSpan, requests: FromClause, total: ReportRow
) -> Figures:
    c = requests.c
    by = (c.outcome, c.cache, c.tier)
    query = select(*by, func.count()).where(c.counted == 1).group_by(*by)
    return Figures(
        span.since_s,
        _attempt_groups(connection, lines_of(span)),
        [RequestGroup(*row) for row in connection.execute(query)],
        ttft=Waits(total.ttft.p50_s, total.ttft.p95_s),
        total=Waits(total.total.p50_s, total.total.p95_s),
    )


def _attempt_groups(connection: Connection, span: ColumnElement[bool]) -> list[AttemptGroup]:
    estimated = func.sum(case((_L.estimated_tokens, 1), else_=0))
    summed = [*TOKENS, "cost_usd_micros", "saved_usd_micros"]
    query = (
        select(_L.tier, _L.kind, func.count(), estimated)
        .add_columns(*(func.sum(_L[name]) for name in summed))
        .where(span)
        .group_by(_L.tier, _L.kind)
    )
    groups = []
    for tier, kind, attempts, few, *sums in connection.execute(query):
        # PostgreSQL sums bigints as numeric, which arrives as Decimal.
        fresh, cached, output, cost, saved = (int(value) for value in sums)
        usage = Usage(fresh, cached, output)
        groups.append(AttemptGroup(tier, kind, attempts, int(few), usage, cost, saved))
    return groups
