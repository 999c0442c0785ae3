"""The alerts' figures out of real ledger lines, on each database."""

from typing import Any

import pytest

from core.call import Lane
from core.ledger_line import Kind, LedgerLine, Outcome
from core.settings.alerts import AlertRules, BudgetBurn, RouteMixDrift
from ledger.alerts.budgets import NO_BUDGETS, Budgets, SpendBudget
from ledger.alerts.figures import (
    attempts,
    baseline_kept_s,
    baselines,
    gather,
    lookups,
    route_mix,
    spend,
    successes,
    ttft,
)
from ledger.alerts.rules import AlertFigures, Attempts, Baselines, Lookups, Spend, Successes, Ttft
from ledger.path.sql_store import SqlStore
from tests.ledger.lines import line

NOW_S = 1_700_000_000.0
SPAN = (NOW_S - 100, NOW_S)


def asked(query: Any, store: SqlStore, *lines: LedgerLine) -> Any:
    store.insert(lines)
    with store.connect() as connection:
        return query(connection, SPAN)


def recent(request: int | str, attempt: int = 0, **changes: Any) -> LedgerLine:
    return line(request, attempt, **({"created_s": NOW_S - 50} | changes))


def test_a_window_begins_with_its_first_moment_and_ends_before_its_last(store: SqlStore):
    spent = asked(
        spend, store,
        recent(1, created_s=NOW_S - 100.001), recent(2, created_s=NOW_S - 100),
        recent(3, created_s=NOW_S - 0.001), recent(4, created_s=NOW_S),
    )  # fmt: skip
    assert spent == (Spend("acme", 2, 20),)


def test_all_cost_of_a_tenant_counts_and_its_requests_once(store: SqlStore):
    spent = asked(
        spend, store,
        recent(1, outcome=Outcome.ERROR), recent(1, 1, kind=Kind.RETRY),
        recent(1, 1000, kind=Kind.SHADOW), recent(2, 1010, kind=Kind.CREDIT, cost_usd_micros=-4),
        recent(3, tenant="other", cost_usd_micros=2**40),
    )  # fmt: skip
    assert spent == (Spend("acme", 1, 26), Spend("other", 1, 2**40))


def test_a_cascades_two_answers_are_one_success(store: SqlStore):
    found = asked(
        successes, store,
        recent(1), recent(1, 1, kind=Kind.ESCALATION), recent(2, outcome=Outcome.ERROR),
        recent(3, 0, kind=Kind.SHADOW), recent(4, kind=Kind.CACHE_HIT, cost_usd_micros=0),
    )  # fmt: skip
    assert found == Successes(40, 2)


def test_no_lines_are_no_successes(store: SqlStore):
    assert asked(successes, store) == Successes()
    assert asked(lookups, store) == Lookups()
    assert asked(attempts, store) == Attempts()
    assert asked(ttft, store) == ()


def test_hits_are_a_share_of_what_was_looked_up(store: SqlStore):
    found = asked(
        lookups, store,
        recent(1, kind=Kind.CACHE_HIT, cache="exact"),
        recent(2, kind=Kind.CACHE_HIT, cache="semantic"),
        recent(3), recent(3, 1, kind=Kind.RETRY), recent(4, cache="off"),
        recent(5, kind=Kind.JOINED, cache="flight"), recent(6, kind=Kind.EMBEDDING),
    )  # fmt: skip
    assert found == Lookups(2, 4)


def test_the_mix_is_of_the_routers_own_decisions(store: SqlStore):
    found = asked(
        route_mix, store,
        recent(1), recent(2, tier="large"), recent(3, requested="large", tier="large"),
        recent(4), recent(4, 1, kind=Kind.ESCALATION, tier="large"),
        recent(5, kind=Kind.CACHE_HIT), recent(1, 1, kind=Kind.FALLBACK, tier="large"),
    )  # fmt: skip
    assert found == {"small": 2, "large": 2}


def test_what_repeats_is_a_part_of_what_was_tried_on_engines(store: SqlStore):
    found = asked(
        attempts, store,
        recent(1, outcome=Outcome.ERROR), recent(1, 1, kind=Kind.RETRY, outcome=Outcome.ERROR),
        recent(1, 2, kind=Kind.FALLBACK), recent(2), recent(3, kind=Kind.CACHE_HIT),
        recent(4, 1000, kind=Kind.CLASSIFIER), recent(5, kind=Kind.CANCELLED),
    )  # fmt: skip
    assert found == Attempts(5, 2)


@pytest.mark.parametrize(("streams", "at"), [(1, 1), (19, 19), (20, 19), (21, 20), (100, 95)])
def test_p95_is_the_nearest_rank_of_each_tier(store: SqlStore, streams: int, at: int):
    waits = [recent(f"s{one}", ttft_s=float(one)) for one in range(1, streams + 1)]
    found = asked(
        ttft, store, *waits, recent("l", tier="large", ttft_s=7.0), recent("plain"),
        recent("hit", kind=Kind.CACHE_HIT, ttft_s=0.0),
        recent("bad", outcome=Outcome.ERROR, ttft_s=9.0),
        recent("waits", lane=Lane.BATCH, ttft_s=900.0),
    )  # fmt: skip
    assert found == (Ttft("large", 1, 7.0), Ttft("small", streams, float(at)))


def test_budgets_are_asked_for_over_their_own_windows(store: SqlStore):
    budgets = Budgets({"acme": (SpendBudget(1.0, 720_000.0),)}, (SpendBudget(1.0, 720_000.0),))
    store.insert([line(1, created_s=NOW_S - 90), line(2, created_s=NOW_S - 2000)])
    rules = AlertRules(budget_burn=BudgetBurn(least_window_s=100.0))
    with store.connect() as connection:
        burned = gather(connection, rules, budgets, Baselines(), NOW_S).burned
    assert {length: [one.requests for one in spent] for length, spent in burned.items()} == {
        1000 / 12: [],
        500.0: [1],
        1000.0: [1],
        6000.0: [2],
    }


def test_a_baseline_ends_where_its_window_begins(store: SqlStore):
    rules = AlertRules(route_mix_drift=RouteMixDrift(window_s=100.0, baseline_s=200.0))
    store.insert(
        [
            line(1, created_s=NOW_S - 100, tier="now"),
            line(2, created_s=NOW_S - 100.001, tier="before"),
            line(3, created_s=NOW_S - 300, tier="before"),
            line(4, created_s=NOW_S - 300.001, tier="long ago"),
        ]
    )
    with store.connect() as connection:
        before = baselines(connection, rules, NOW_S)
        figures = gather(connection, rules, NO_BUDGETS, before, NOW_S)
    assert figures.mix == {"now": 1}
    assert figures.before.mix == {"before": 2}
    assert baseline_kept_s(rules) == 4.0


def test_rules_that_are_off_ask_nothing(store: SqlStore):
    store.insert([recent(1, ttft_s=1.0)])
    off = AlertRules.model_validate({name: {"enabled": False} for name in AlertRules.model_fields})
    with store.connect() as connection:
        assert baselines(connection, off, NOW_S) == Baselines()
        budgets = Budgets({}, (SpendBudget(1.0, 86_400.0),))
        assert gather(connection, off, budgets, Baselines(), NOW_S) == AlertFigures()
