"""Query the two sides of a diff.

Promised: a side's cost is that of its lines to the micro-USD; both sides are of one state of the
ledger. A request belongs to the version that its first line bears, so that an escalation to
another model stays with the version that was doubted.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction

from sqlalchemy import ColumnElement, Connection, FromClause, case, func, literal, or_, select, true

from core.call import Usage
from core.errors import HansomError
from ledger.path.schema import LINES
from ledger.path.sql_store import SqlStore
from ledger.reports.diff import ASIDE, EXTRA, FIRST, ZERO, DiffCell, Part, Side
from ledger.reports.gather import TOKENS, gathered, lines_of, snapshot
from ledger.reports.queries_rates import NOT_MADE, moments
from ledger.reports.rates import Known, Priced, Rates, rates, unknown_price
from ledger.reports.report import ASIDE as ASIDE_KINDS
from ledger.reports.span import TimeSpan

VERSIONS = ("model-version", "router-version", "prompt-version", "price-version")

_L = LINES.c
_SHARED = "shared"
_TOLD = 10  # versions that an error names
_Group = tuple[str, str, str, int, tuple[int, int, int], int]  # role, tier, version, lines, ...


def of_versions(
    store: SqlStore, span: TimeSpan, by: str, names: tuple[str, str], known: Known = unknown_price
) -> tuple[Side, Side]:
    """The requests of two versions within `span`; `by` is one of `VERSIONS`.

    Raises `HansomError` for a version that no request of the span began with.
    """
    with snapshot(store) as connection:
        requests = gathered(connection, span)
        column = requests.c[f"first_{by.replace('-', '_')}"]
        _check_names(connection, by, column, names)
        wanted = lines_of(span)
        priced = rates(moments(connection, wanted), known)
        before, after = (
            _side(connection, f"{by} {name}", requests, column == name, wanted, priced)
            for name in names
        )
        return before, after


def of_spans(
    store: SqlStore,
    before: tuple[str, TimeSpan],
    after: tuple[str, TimeSpan],
    known: Known = unknown_price,
) -> tuple[Side, Side]:
    """All requests of two spans, each with a name for people."""
    with snapshot(store) as connection:
        both = or_(*(lines_of(span) for _, span in (before, after)))
        priced = rates(moments(connection, both), known)
        first, second = (
            _side(
                connection,
                name,
                gathered(connection, span, f"diff_{place}"),
                true(),
                lines_of(span),
                priced,
            )
            for place, (name, span) in enumerate((before, after))
        )
        return first, second


def _check_names(
    connection: Connection, by: str, column: ColumnElement[str], names: tuple[str, str]
) -> None:
    for name in names:
        if connection.scalar(select(column).where(column == name).limit(1)) is None:
            often = select(column).group_by(column).order_by(func.count().desc()).limit(_TOLD)
            found = [repr(one) for one in connection.scalars(often)]
            has = f"there are {', '.join(found)}" if found else "there are no requests"
            raise HansomError(f"No request has the {by} {name!r}: {has}.")


def _side(
    connection: Connection,
    name: str,
    requests: FromClause,
    chosen: ColumnElement[bool],
    wanted: ColumnElement[bool],
    priced: Mapping[Priced, Rates],
) -> Side:
    """Gather one side of a diff from the `chosen` requests and their `wanted` lines."""
    c = requests.c
    counts = (func.sum(c.counted), func.sum(c.success), func.count(c.first_made))
    found = connection.execute(select(*counts).where(chosen)).one()
    requested, successes, worked = (int(number or 0) for number in found)
    groups = _groups(connection, requests, chosen, wanted)
    return Side(
        name=name,
        requests=requested,
        successes=successes,
        worked=worked,
        cells=_cells((group for group in groups if group[0] != _SHARED), priced),
        shared_usd_micros=Fraction(sum(cost for role, *_, cost in groups if role == _SHARED)),
    )


def _groups(
    connection: Connection,
    requests: FromClause,
    chosen: ColumnElement[bool],
    wanted: ColumnElement[bool],
) -> list[_Group]:
    role = case(
        (_L.kind.in_(NOT_MADE), literal(_SHARED)),
        (_L.kind.in_(ASIDE_KINDS), literal(ASIDE)),
        (_L.attempt == requests.c.first_made, literal(FIRST)),
        else_=literal(EXTRA),
    ).label("role")
    # Grouped outside, since PostgreSQL takes a repeated expression with parameters for another.
    lines = (
        select(role, _L.tier, _L.price_version, *(_L[name] for name in TOKENS), _L.cost_usd_micros)
        .join_from(LINES, requests, requests.c.call_id == _L.call_id)
        .where(chosen, wanted)
        .subquery("lines")
    )
    by = (lines.c.role, lines.c.tier, lines.c.price_version)
    sums = (func.sum(lines.c[name]) for name in (*TOKENS, "cost_usd_micros"))
    found = connection.execute(select(*by, func.count(), *sums).group_by(*by))
    return [
        (role, tier, version, count, (int(fresh), int(cached), int(output)), int(cost))
        for role, tier, version, count, fresh, cached, output, cost in found
    ]


def _cells(groups: Iterable[_Group], priced: Mapping[Priced, Rates]) -> dict[Part, DiffCell]:
    """One cell for each role and tier, the cost of its lines split by kind of token."""
    parts: dict[Part, list[DiffCell]] = defaultdict(list)
    for role, tier, version, lines, tokens, cost in groups:
        parts[role, tier].append(split(lines, tokens, cost, priced[tier, version]))
    return {part: _added(cells) for part, cells in parts.items()}


def split(lines: int, tokens: tuple[int, int, int], cost_usd_micros: int, rate: Rates) -> DiffCell:
    """A cell whose cost is divided as the rates say, and is exactly what the lines cost.

    The rates are scaled for that; where they explain nothing the cost is no token's.
    """
    explained = rate.cost_usd_micros(Usage(*tokens))
    if not explained:
        return DiffCell(lines, tokens, (ZERO, ZERO, ZERO), Fraction(cost_usd_micros))
    scale = Fraction(cost_usd_micros) / explained
    fresh, cached, output = tokens
    costs = (rate.fresh * fresh * scale, rate.cached * cached * scale, rate.output * output * scale)
    return DiffCell(lines, tokens, costs)


def _added(cells: Iterable[DiffCell]) -> DiffCell:
    lines, tokens, costs, rest = 0, [0, 0, 0], [ZERO, ZERO, ZERO], ZERO
    for cell in cells:
        lines += cell.lines
        rest += cell.rest_usd_micros
        tokens = [one + more for one, more in zip(tokens, cell.tokens, strict=True)]
        costs = [one + more for one, more in zip(costs, cell.costs_usd_micros, strict=True)]
    fresh, cached, output = tokens
    return DiffCell(lines, (fresh, cached, output), (costs[0], costs[1], costs[2]), rest)
