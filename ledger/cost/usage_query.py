"""Query the ledger's table for the cost model, the same on SQLite and PostgreSQL.

Promised: sums are made in the database; `metered` streams, since a ledger does not fit in memory.
Functions block and raise `sqlalchemy.exc.SQLAlchemyError`.
Not covered: costs (`ledger.cost.model`, `ledger.reports.reprice`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from core.call import Usage
from core.ledger_line import NOT_MADE, Kind
from ledger.path.sql_store import LINES, SqlStore
from ledger.reports.report import ASIDE
from ledger.reports.reprice import Metered

_COLUMNS = LINES.c
_USAGE = (_COLUMNS.fresh_input_tokens, _COLUMNS.cached_input_tokens, _COLUMNS.output_tokens)
_ROWS_AT_ONCE = 5_000
_QUEUE_S = func.coalesce(_COLUMNS.queue_s, 0.0)


@dataclass(frozen=True, slots=True)
class ModelUse:
    """All attempts that engines made of one tier's model; `usage` is their sum."""

    tier: str
    model: str
    attempts: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class Observed:
    """What a span of the ledger says of the load. `answered` requests made no attempt of their own.

    `held_s` is by tier and tenant: the seconds that attempts held an engine.
    """

    span_s: float
    requests: int
    answered: int
    models: tuple[ModelUse, ...]
    held_s: dict[str, dict[str, float]]

    @property
    def attempts(self) -> int:
        """All that engines made: first answers, retries, escalations, questions asked to decide."""
        return sum(use.attempts for use in self.models)

    @property
    def requests_per_day(self) -> Fraction:
        """Scale the requests of this span to a day."""
        return self.requests * 86_400 / Fraction(self.span_s)

    @property
    def hit_rate(self) -> Fraction:
        """Share of requests that made no attempt; at least one is taken to have made them."""
        return Fraction(min(self.answered, self.requests - 1), self.requests)

    @property
    def retries(self) -> Fraction:
        """Further attempts for each request that made any."""
        asked = self.requests * (1 - self.hit_rate)
        return max(Fraction(0), self.attempts / asked - 1)


def observe(store: SqlStore, since_s: float | None, now_s: float) -> Observed | None:
    """The load from `since_s`, or from the first line, to `now_s`; None when there was none."""
    with store.connect() as connection:
        first_s = connection.execute(select(func.min(_COLUMNS.created_s))).scalar()
        if first_s is None:
            return None
        begin_s = first_s if since_s is None else max(since_s, first_s)
        span = and_(_COLUMNS.created_s >= begin_s, _COLUMNS.created_s <= now_s)
        requests, answered = _requests(connection, span)
        models = _models(connection, span)
        if not requests or not models:
            return None
        return Observed(
            max(now_s - begin_s, 1.0), requests, answered, models, _held_s(connection, span)
        )


def metered(store: SqlStore, since_s: float | None, until_s: float | None) -> Iterator[Metered]:
    """Every attempt that an engine made, of the lines created in [`since_s`, `until_s`)."""
    span: list[ColumnElement[bool]] = [_COLUMNS.kind.not_in(NOT_MADE)]
    if since_s is not None:
        span.append(_COLUMNS.created_s >= since_s)
    if until_s is not None:
        span.append(_COLUMNS.created_s < until_s)
    query = select(
        _COLUMNS.tier,
        _COLUMNS.model,
        _COLUMNS.created_s - _COLUMNS.total_s + _QUEUE_S,
        *_USAGE,
        _COLUMNS.cost_usd_micros,
    ).where(*span)
    with store.connect() as connection:
        rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query)
        for tier, model, begun_s, fresh, cached, output, cost in rows:
            yield Metered(tier, model, begun_s, Usage(fresh, cached, output), cost)


def _requests(connection: Connection, span: ColumnElement[bool]) -> tuple[int, int]:
    """Requests, and those of them for which an answer of another was given again."""
    again = _COLUMNS.kind.in_((Kind.CACHE_HIT, Kind.JOINED))
    query = select(
        func.count(_COLUMNS.call_id.distinct()),
        func.count(case((again, _COLUMNS.call_id)).distinct()),
    ).where(span, _COLUMNS.kind.not_in((*ASIDE, Kind.EMBEDDING)))
    requests, answered = connection.execute(query).one()
    return requests, answered


def _models(connection: Connection, span: ColumnElement[bool]) -> tuple[ModelUse, ...]:
    by = (_COLUMNS.tier, _COLUMNS.model)
    query = (
        select(*by, func.count(), *(func.sum(column) for column in _USAGE))
        .where(span, _made())
        .group_by(*by)
        .order_by(*by)
    )
    return tuple(
        # PostgreSQL sums bigints as numeric, which arrives as Decimal.
        ModelUse(tier, model, attempts, Usage(*(int(count) for count in counts)))
        for tier, model, attempts, *counts in connection.execute(query)
    )


def _held_s(connection: Connection, span: ColumnElement[bool]) -> dict[str, dict[str, float]]:
    """The GPU-seconds of `ledger.reports.cost_share.held_s`, summed by the database."""
    spent_s = _COLUMNS.total_s - _QUEUE_S
    query = (
        select(_COLUMNS.tier, _COLUMNS.tenant, func.sum(case((spent_s > 0, spent_s), else_=0.0)))
        .where(span, _made())
        .group_by(_COLUMNS.tier, _COLUMNS.tenant)
        .order_by(_COLUMNS.tier, _COLUMNS.tenant)
    )
    held: dict[str, dict[str, float]] = {}
    for tier, tenant, seconds in connection.execute(query):
        held.setdefault(tier, {})[tenant] = float(seconds)
    return held


def _made() -> ColumnElement[bool]:
    """Lines of what a tier's engine made."""
    others = (*NOT_MADE, Kind.EMBEDDING, Kind.TOOL)
    return and_(_COLUMNS.kind.not_in(others), _COLUMNS.cache != "flight")
