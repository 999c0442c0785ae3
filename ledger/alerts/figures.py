"""Query the ledger's table for the alert rules, the same on SQLite and PostgreSQL.

Promises: every number is grouped in the database, each query reads one span of the index on
`created_s`, and rules that are switched off ask nothing. A window is [now - window, now), its
baseline [now - window - baseline, now - window). Functions block and raise
`sqlalchemy.exc.SQLAlchemyError`.
Not covered: judging the figures (`ledger.alerts.rules`).
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from core.call import Lane
from core.ledger_line import Kind, Outcome
from core.settings.alerts import AlertRules, CostPerSuccess, HitRateFall, RouteMixDrift
from ledger.alerts.budgets import Budgets, burn_windows
from ledger.alerts.rules import AlertFigures, Attempts, Baselines, Lookups, Spend, Successes, Ttft
from ledger.path.schema import LINES
from ledger.reports.report import ANSWERING, GIVEN_AGAIN

_COLUMNS = LINES.c
_TRIED = tuple(kind for kind in ANSWERING if kind not in GIVEN_AGAIN)  # on an engine
_REPEATED = (Kind.RETRY, Kind.FALLBACK)
_HITS = ("exact", "semantic")
_LOOKED_UP = (*_HITS, "miss", "flight")

Made = TypeVar("Made")
Span = tuple[float, float]
"""From when (inclusive) to when (exclusive), wall time in seconds."""


def gather(
    connection: Connection, rules: AlertRules, budgets: Budgets, before: Baselines, now_s: float
) -> AlertFigures:
    """The figures of all rules that are switched on, beside baselines that were gathered."""
    ask = _asker(connection)
    rate, costs, hits = rules.spend_rate, rules.cost_per_success, rules.hit_rate_fall
    mix, retries, waits = rules.route_mix_drift, rules.retry_storm, rules.ttft_p95
    return AlertFigures(
        spend=ask(rate.enabled, spend, _now(now_s, rate.window_s), ()),
        burned=_burned(connection, rules, budgets, now_s) if rules.budget_burn.enabled else {},
        successes=ask(costs.enabled, successes, _now(now_s, costs.window_s), Successes()),
        lookups=ask(hits.enabled, lookups, _now(now_s, hits.window_s), Lookups()),
        mix=ask(mix.enabled, route_mix, _now(now_s, mix.window_s), {}),
        attempts=ask(retries.enabled, attempts, _now(now_s, retries.window_s), Attempts()),
        ttft=ask(waits.enabled, ttft, _now(now_s, waits.window_s), ()),
        before=before,
    )


def baselines(connection: Connection, rules: AlertRules, now_s: float) -> Baselines:
    """The time before the windows. Much longer than those, so keep it for `baseline_kept_s`."""
    ask = _asker(connection)
    costs, hits, mix = rules.cost_per_success, rules.hit_rate_fall, rules.route_mix_drift
    compared = costs.enabled and costs.ratio is not None
    return Baselines(
        ask(compared, successes, _before(now_s, costs), Successes()),
        ask(hits.enabled, lookups, _before(now_s, hits), Lookups()),
        ask(mix.enabled, route_mix, _before(now_s, mix), {}),
    )


def baseline_kept_s(rules: AlertRules) -> float:
    """How long a baseline may be used again: a fiftieth of the shortest."""
    compared = (rules.cost_per_success, rules.hit_rate_fall, rules.route_mix_drift)
    return min(rule.baseline_s for rule in compared) / 50


def spend(connection: Connection, span: Span) -> tuple[Spend, ...]:
    """Each tenant's requests and all that they cost, retries and shadows included."""
    query = (
        select(_COLUMNS.tenant, _count(_COLUMNS.attempt == 0), func.sum(_COLUMNS.cost_usd_micros))
        .where(_in(span))
        .group_by(_COLUMNS.tenant)
        .order_by(_COLUMNS.tenant)
    )
    # PostgreSQL sums bigints as numeric, which arrives as Decimal.
    return tuple(
        Spend(name, int(count), int(cost)) for name, count, cost in connection.execute(query)
    )


def successes(connection: Connection, span: Span) -> Successes:
    """All cost, and the distinct requests that an answer succeeded for.

    Distinct, because a cascade's two answers are one request's.
    """
    well = and_(_COLUMNS.outcome == Outcome.SUCCESS, _COLUMNS.kind.in_(ANSWERING))
    answered = func.count(case((well, _COLUMNS.call_id)).distinct())
    query = select(func.coalesce(func.sum(_COLUMNS.cost_usd_micros), 0), answered).where(_in(span))
    cost, requests = connection.execute(query).one()
    return Successes(int(cost), int(requests))


def lookups(connection: Connection, span: Span) -> Lookups:
    """Requests that the cache was asked for, and those that it answered.

    Attempt 0 stands for its request: every request has exactly one. Who joined another's
    generation was not answered from the cache.
    """
    query = select(_count(_COLUMNS.cache.in_(_HITS)), func.count()).where(
        _in(span),
        _COLUMNS.attempt == 0,
        _COLUMNS.kind.in_(ANSWERING),
        _COLUMNS.cache.in_(_LOOKED_UP),
    )
    hits, requests = connection.execute(query).one()
    return Lookups(int(hits), requests)


def route_mix(connection: Connection, span: Span) -> dict[str, int]:
    """How many decisions went to each tier; requests that named their tier are not decisions.

    An escalation is a decision of its own: a cascade that escalates more has drifted.
    """
    query = (
        select(_COLUMNS.tier, func.count())
        .where(
            _in(span),
            _COLUMNS.requested == "auto",
            _COLUMNS.kind.in_((Kind.ANSWER, Kind.ESCALATION)),
        )
        .group_by(_COLUMNS.tier)
    )
    return {tier: count for tier, count in connection.execute(query)}


def attempts(connection: Connection, span: Span) -> Attempts:
    """Tries on engines, and those that followed a failed one."""
    query = select(func.count(), _count(_COLUMNS.kind.in_(_REPEATED))).where(
        _in(span), _COLUMNS.kind.in_(_TRIED)
    )
    made, repeated = connection.execute(query).one()
    return Attempts(made, int(repeated))


def ttft(connection: Connection, span: Span) -> tuple[Ttft, ...]:
    """Nearest-rank p95 of each tier's successful streams.

    Replayed answers would flatter it, and calls of the batch lane wait by intent.
    """
    ranked = (
        select(
            _COLUMNS.tier,
            _COLUMNS.ttft_s,
            func.row_number()
            .over(partition_by=_COLUMNS.tier, order_by=_COLUMNS.ttft_s)
            .label("rank"),
            func.count().over(partition_by=_COLUMNS.tier).label("total"),
        )
        .where(
            _in(span),
            _COLUMNS.kind.in_(_TRIED),
            _COLUMNS.lane == Lane.INTERACTIVE,
            _COLUMNS.outcome == Outcome.SUCCESS,
            _COLUMNS.ttft_s.is_not(None),
        )
        .subquery("ranked")
    )
    query = (
        select(ranked.c.tier, ranked.c.total, ranked.c.ttft_s)
        .where(ranked.c.rank == (ranked.c.total * 95 + 99) // 100)
        .order_by(ranked.c.tier)
    )
    return tuple(Ttft(*row) for row in connection.execute(query))


def _burned(
    connection: Connection, rules: AlertRules, budgets: Budgets, now_s: float
) -> dict[float, tuple[Spend, ...]]:
    lengths = {
        length
        for budget_s in budgets.lengths_s
        for pair in burn_windows(budget_s, rules.budget_burn.least_window_s)
        for length in pair
    }
    return {length: spend(connection, _now(now_s, length)) for length in sorted(lengths)}


class _Ask(Protocol):
    def __call__(
        self, asked: bool, query: Callable[[Connection, Span], Made], span: Span, nothing: Made
    ) -> Made: ...


def _asker(connection: Connection) -> _Ask:
    def ask(
        asked: bool, query: Callable[[Connection, Span], Made], span: Span, nothing: Made
    ) -> Made:
        return query(connection, span) if asked else nothing

    return ask


def _now(now_s: float, window_s: float) -> Span:
    return now_s - window_s, now_s


def _before(now_s: float, rule: CostPerSuccess | HitRateFall | RouteMixDrift) -> Span:
    until_s = now_s - rule.window_s
    return until_s - rule.baseline_s, until_s


def _in(span: Span) -> ColumnElement[bool]:
    return and_(_COLUMNS.created_s >= span[0], _COLUMNS.created_s < span[1])


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
