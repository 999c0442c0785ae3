"""Query the sums from which `ledger.reports.rates` finds prices and savings.

Promised: grouped in the database; the same statements on SQLite and PostgreSQL.
"""

from itertools import combinations_with_replacement

from sqlalchemy import ColumnElement, Connection, Double, and_, case, cast, func, select

from core.call import Usage
from core.ledger_line import Kind, Outcome
from ledger.path.schema import LINES
from ledger.reports.gather import TOKENS
from ledger.reports.rates import Known, Moments, rates
from ledger.reports.report import GIVEN_AGAIN
from ledger.reports.rows import Savings

_L = LINES.c
NOT_MADE = (*GIVEN_AGAIN, Kind.CREDIT)
_OF_CACHE = (*NOT_MADE, Kind.SHADOW)


def moments(connection: Connection, wanted: ColumnElement[bool]) -> list[Moments]:
    """By tier and price version, over the lines that an engine made."""
    # As doubles: a square of tokens, summed, may be more than a bigint holds.
    columns = [cast(_L[name], Double) for name in (*TOKENS, "cost_usd_micros")]
    products = [func.sum(one * other) for one, other in combinations_with_replacement(columns, 2)]
    by = (_L.tier, _L.price_version)
    query = select(*by, *products).where(wanted, _L.kind.not_in(NOT_MADE)).group_by(*by)
    return [
        Moments(tier, version, tuple(map(float, sums)))
        for tier, version, *sums in connection.execute(query)
    ]


def savings(connection: Connection, wanted: ColumnElement[bool], known: Known) -> Savings:
    """Cache and routing apart; together they are the sum of the lines' savings."""
    well = and_(_L.kind.in_(GIVEN_AGAIN), _L.outcome == Outcome.SUCCESS)
    by = (_L.tier, _L.price_version)
    query = (
        select(
            *by,
            func.sum(_L.saved_usd_micros),
            func.sum(case((_L.kind.in_(_OF_CACHE), _L.cost_usd_micros), else_=0)),
            func.sum(case((well, 1), else_=0)),
            *(func.sum(case((well, _L[name]), else_=0)) for name in TOKENS),
        )
        .where(wanted)
        .group_by(*by)
    )
    groups = [(row[0], row[1], *map(int, row[2:])) for row in connection.execute(query)]
    priced = rates(moments(connection, wanted), known) if groups else {}
    saved = cached = unpriced = 0
    for tier, version, all_saved, spent, given, *tokens in groups:
        saved += all_saved
        cached -= spent
        if given and (tier, version) in priced:
            cached += round(priced[tier, version].cost_usd_micros(Usage(*tokens)))
        elif given and (price := known(tier, version)) is not None:
            cached += price.cost_usd_micros(Usage(*tokens))
        else:
            unpriced += given
    return Savings(cached, saved - cached, unpriced)
