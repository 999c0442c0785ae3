"""Compute percentiles by group in the database, because a ledger does not fit in memory.

Promised: the nearest rank, so that a percentile is a wait that somebody really had; the same on
SQLite, which has no function for it, and on PostgreSQL.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, func, select

Found = dict[int, float]


def percentiles(
    connection: Connection,
    rows: FromClause,
    value: ColumnElement[Any],
    percents: Sequence[int],
    where: ColumnElement[bool],
    by: ColumnElement[Any] | None = None,
) -> dict[Any, Found]:
    """The `percents` (1 to 100) of `value` over the rows `where` it is there, for each group `by`.

    Without `by` the only group is None. A group without a value is left out.
    """
    key = [] if by is None else [by]
    ranked = (
        select(
            *(column.label("key") for column in key),
            value.label("value"),
            func.row_number().over(partition_by=key or None, order_by=value).label("rank"),
            func.count().over(partition_by=key or None).label("total"),
        )
        .select_from(rows)
        .where(where, value.is_not(None))
        .subquery("ranked")
    )
    at = {percent: (ranked.c.total * percent + 99) // 100 for percent in percents}
    of_group = [ranked.c.key] if key else []
    query = select(ranked.c.value, ranked.c.rank, ranked.c.total, *of_group)
    found: dict[Any, Found] = {}
    for number, rank, total, *group in connection.execute(
        query.where(ranked.c.rank.in_(list(at.values())))
    ):
        places = found.setdefault(group[0] if group else None, {})
        for percent in percents:
            if (total * percent + 99) // 100 == rank:
                places[percent] = number
    return found
