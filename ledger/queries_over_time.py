"""What a page of curves asks of the ledger: spend, routes, hit rates and waits over time.

Promised: grouped in the database, the same on SQLite and PostgreSQL. A step begins at a whole
multiple of its length since 1970-01-01 UTC, and a step without requests has no row. A request is in
the step of the line that answered it, with the cost of all its attempts.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, case, cast, func, select

from ledger.percentiles import percentiles
from ledger.queries_gather import bucket, gathered, snapshot
from ledger.report_rows import Spread
from ledger.span import DAY_S, Span, day
from ledger.sql_store import SqlStore

_PERCENTS = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Spend:
    """One tenant's day, UTC."""

    day: str
    tenant: str
    requests: int
    cost_usd_micros: int


@dataclass(frozen=True, slots=True)
class Route:
    """How many requests of a step this tier answered, for this reason; `begin_s` is wall time."""

    begin_s: int
    tier: str
    route_code: str
    requests: int


@dataclass(frozen=True, slots=True)
class Hits:
    """A step's requests, and how many of them were answered from elsewhere."""

    begin_s: int
    requests: int
    exact: int
    semantic: int
    joined: int


@dataclass(frozen=True, slots=True)
class StepWaits:
    """Percentiles of a step's successful requests."""

    begin_s: int
    ttft: Spread
    total: Spread


def spend_by_day(store: SqlStore, span: Span) -> list[Spend]:
    """By day and tenant, in that order."""
    with snapshot(store) as connection:
        c = gathered(connection, span).c
        by = (bucket(c.created_s), c.tenant)
        query = select(*by, _sum(c.counted), _sum(c.cost_usd_micros)).group_by(*by).order_by(*by)
        return [Spend(day(number), *rest) for number, *rest in connection.execute(query)]


def route_mix(store: SqlStore, span: Span, step_s: int = DAY_S) -> list[Route]:
    """By step, tier and reason code."""
    with snapshot(store) as connection:
        c = gathered(connection, span).c
        by = (bucket(c.created_s, step_s), c.tier, c.route_code)
        query = select(*by, func.count()).where(c.counted == 1).group_by(*by).order_by(*by)
        return [Route(at * step_s, *rest) for at, *rest in connection.execute(query)]


def hit_rates(store: SqlStore, span: Span, step_s: int = DAY_S) -> list[Hits]:
    """By step."""
    with snapshot(store) as connection:
        c = gathered(connection, span).c
        at = bucket(c.created_s, step_s)
        hits = (
            _sum(case((and_(c.counted == 1, c.cache == name), 1), else_=0))
            for name in ("exact", "semantic", "flight")
        )
        query = select(at, _sum(c.counted), *hits).group_by(at).order_by(at)
        return [Hits(number * step_s, *rest) for number, *rest in connection.execute(query)]


def waits_over_time(store: SqlStore, span: Span, step_s: int = DAY_S) -> list[StepWaits]:
    """By step; a step without a successful request is left out."""
    with snapshot(store) as connection:
        requests = gathered(connection, span)
        c = requests.c
        by = bucket(c.created_s, step_s)
        ttft, total = (
            percentiles(connection, requests, value, _PERCENTS, c.success == 1, by)
            for value in (c.ttft_s, c.total_s)
        )
    return [
        StepWaits(at * step_s, _spread(ttft.get(at, {})), _spread(total[at]))
        for at in sorted(total)
    ]


def _spread(found: dict[int, float]) -> Spread:
    return Spread(*(found.get(percent) for percent in _PERCENTS))


def _sum(number: ColumnElement[Any]) -> ColumnElement[int]:
    """PostgreSQL sums bigints as numeric, which arrives as Decimal."""
    return cast(func.sum(number), BigInteger)
