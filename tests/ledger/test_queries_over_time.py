"""Curves of spend, routes, hits and waits, on both databases."""

from ledger.line import Kind, Outcome
from ledger.queries_over_time import (
    Hits,
    Route,
    Spend,
    StepWaits,
    hit_rates,
    route_mix,
    spend_by_day,
    waits_over_time,
)
from ledger.report_rows import Spread
from ledger.span import DAY_S, Span
from ledger.sql_store import SqlStore
from tests.ledger.lines import line

DAY = 20_000  # 2024-10-04
BEGIN_S = float(DAY * DAY_S)


def fill(store: SqlStore) -> None:
    store.insert(
        [
            line(1, 0, created_s=BEGIN_S + 1.0, outcome=Outcome.ERROR, route_code="easy"),
            line(1, 1, created_s=BEGIN_S + 2.0, kind=Kind.FALLBACK, tier="large",
                 route_code="easy", ttft_s=0.5, total_s=1.0),
            line(2, created_s=BEGIN_S + 3_599.9, route_code="easy", ttft_s=0.1, total_s=0.2),
            line(3, created_s=BEGIN_S + 3_600.0, kind=Kind.CACHE_HIT, cache="exact",
                 tenant="zeta", cost_usd_micros=0, total_s=0.1),
            line(4, created_s=BEGIN_S + DAY_S, cache="flight", kind=Kind.JOINED, total_s=0.3),
            line(5, created_s=BEGIN_S + 2 * DAY_S, outcome=Outcome.ERROR),
        ]
    )  # fmt: skip


def test_spend_is_by_day_and_tenant(store: SqlStore) -> None:
    fill(store)
    assert spend_by_day(store, Span(until_s=BEGIN_S + 2 * DAY_S)) == [
        Spend("2024-10-04", "acme", 2, 30),
        Spend("2024-10-04", "zeta", 1, 0),
        Spend("2024-10-05", "acme", 1, 10),
    ]


def test_the_route_mix_is_of_the_lines_that_answered(store: SqlStore) -> None:
    fill(store)
    assert route_mix(store, Span(until_s=BEGIN_S + DAY_S), 3_600) == [
        Route(BEGIN_S, "large", "easy", 1),
        Route(BEGIN_S, "small", "easy", 1),
        Route(BEGIN_S + 3_600, "small", "", 1),
    ]


def test_hits_are_counted_in_their_step(store: SqlStore) -> None:
    fill(store)
    assert hit_rates(store, Span()) == [
        Hits(BEGIN_S, 3, 1, 0, 0),
        Hits(BEGIN_S + DAY_S, 1, 0, 0, 1),
        Hits(BEGIN_S + 2 * DAY_S, 1, 0, 0, 0),
    ]


def test_waits_have_no_step_where_nothing_succeeded(store: SqlStore) -> None:
    fill(store)
    assert waits_over_time(store, Span()) == [
        StepWaits(BEGIN_S, Spread(0.1, 0.5, 0.5), Spread(0.2, 1.0, 1.0)),
        StepWaits(BEGIN_S + DAY_S, Spread(), Spread(0.3, 0.3, 0.3)),
    ]
