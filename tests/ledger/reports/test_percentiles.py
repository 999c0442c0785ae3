"""Nearest-rank percentiles by group, on both databases."""

from math import ceil

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Double, MetaData, Table, Text, insert, true

from ledger.path.sql_store import SqlStore
from ledger.reports.gather import snapshot
from ledger.reports.percentiles import percentiles

ROWS = Table(
    "rows", MetaData(), Column("key", Text), Column("wait", Double), prefixes=["TEMPORARY"]
)
PERCENTS = (1, 50, 95, 99, 100)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 50), max_size=120), min_size=1)
)
def test_each_group_has_the_values_that_sorting_gives(
    store: SqlStore, groups: dict[str, list[int]]
) -> None:
    rows = [{"key": key, "wait": wait} for key, waits in groups.items() for wait in waits]
    with snapshot(store) as connection:
        ROWS.create(connection)
        connection.execute(insert(ROWS), [*rows, {"key": "none", "wait": None}])
        found = percentiles(connection, ROWS, ROWS.c.wait, PERCENTS, true(), ROWS.c.key)
        whole = percentiles(connection, ROWS, ROWS.c.wait, PERCENTS, true())
    assert found == {key: ranked(waits) for key, waits in groups.items() if waits}
    every = [row["wait"] for row in rows]
    assert whole == ({None: ranked(every)} if every else {})


def ranked(waits: list[int]) -> dict[int, float]:
    """The p-th percentile of n values is the ceil(n * p / 100)-th smallest."""
    rising = sorted(waits)
    return {percent: rising[ceil(len(rising) * percent / 100) - 1] for percent in PERCENTS}
