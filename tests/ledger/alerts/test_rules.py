"""What the seven rules read out of figures."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from core.settings.alerts import AlertRules, BudgetBurn, CostPerSuccess, SpendRate
from ledger.alerts.budgets import Budgets, SpendBudget
from ledger.alerts.rules import (
    AlertFigures,
    Attempts,
    Baselines,
    Lookups,
    Spend,
    Successes,
    Ttft,
    divergence_bits,
    hold_s,
    readings,
)
from ledger.alerts.states import Rule, RuleReading

DAY_S = 86_400.0
counts = st.dictionaries(st.sampled_from(["small", "large", "huge"]), st.integers(0, 500))


def found(rule: Rule, figures: AlertFigures, **rules: object) -> list[RuleReading]:
    budgets = Budgets({"acme": (SpendBudget(24.0, DAY_S),)})
    return [one for one in readings(figures, AlertRules(**rules), budgets) if one.rule is rule]


def test_spending_is_told_as_usd_an_hour():
    figures = AlertFigures(spend=(Spend("a", 30, 1_000_000), Spend("b", 10, 2_000_000)))
    (one,) = found(Rule.SPEND_RATE, figures)
    assert (one.value, one.threshold, one.counted) == (12.0, 10.0, 40)
    assert "12 USD an hour" in one.words and "last 15 min" in one.words


def test_a_tenants_own_limit_is_read_for_each_tenant():
    figures = AlertFigures(spend=(Spend("a", 30, 1_000_000), Spend("b", 10, 2_000_000)))
    rule = SpendRate(tenant_usd_per_hour=5.0)
    read = {one.subject: one.value for one in found(Rule.SPEND_RATE, figures, spend_rate=rule)}
    assert read == {"all requests": 12.0, "a": 4.0, "b": 8.0}


def burned(long_usd: float, short_usd: float) -> AlertFigures:
    """What acme spent in the last 15 and 5 minutes, the windows of a day's budget."""
    return AlertFigures(
        burned={
            900.0: (Spend("acme", 50, round(long_usd * 1e6)),),
            300.0: (Spend("acme", 20, round(short_usd * 1e6)),),
        }
    )


def test_a_budget_burns_only_as_fast_as_in_both_windows():
    # 24 USD a day just last at 0.25 USD in 15 minutes.
    fast, slow = found(Rule.BUDGET_BURN, burned(0.25 * 20, 0.25 / 3 * 7))
    assert fast.value == slow.value == pytest.approx(7.0)
    assert (fast.threshold, slow.threshold) == (14.4, 6.0)
    assert fast.subject == "acme, 24 USD in 1 day (fast)"


def test_a_budget_that_nobody_spends_burns_not_at_all():
    assert [one.value for one in found(Rule.BUDGET_BURN, AlertFigures())] == [0.0, 0.0]


def test_a_success_is_compared_with_a_limit_and_with_before():
    figures = AlertFigures(
        successes=Successes(30_000_000, 100),
        before=Baselines(successes=Successes(100_000_000, 1000)),
    )
    rule = CostPerSuccess(usd=0.2, ratio=2.5)
    limit, before = found(Rule.COST_PER_SUCCESS, figures, cost_per_success=rule)
    assert (limit.value, limit.threshold, limit.counted) == (pytest.approx(0.3), 0.2, 100)
    assert (before.value, before.threshold) == (pytest.approx(3.0), 2.5)


def test_without_a_baseline_nothing_is_compared():
    figures = AlertFigures(
        successes=Successes(1, 9), lookups=Lookups(1, 9), mix={"small": 9}, attempts=Attempts(9, 1)
    )
    rules = {one.rule for one in readings(figures, AlertRules())}
    assert rules == {Rule.SPEND_RATE, Rule.RETRY_STORM}


def test_a_fall_is_told_in_points_and_a_rise_is_none():
    before = Baselines(lookups=Lookups(500, 1000))
    (fell,) = found(Rule.HIT_RATE_FALL, AlertFigures(lookups=Lookups(20, 100), before=before))
    assert (fell.value, fell.counted) == (pytest.approx(30.0), 100)
    (rose,) = found(Rule.HIT_RATE_FALL, AlertFigures(lookups=Lookups(90, 100), before=before))
    assert rose.value == 0.0


def test_the_sample_is_that_of_the_smaller_side():
    few = AlertFigures(successes=Successes(9, 3), lookups=Lookups(1, 4), mix={"small": 5})
    many = Baselines(Successes(900, 900), Lookups(100, 900), {"small": 800, "large": 100})
    more = AlertFigures(successes=Successes(900, 900), lookups=Lookups(1, 900), mix=many.mix)
    for figures in (
        replace(few, before=many),
        replace(more, before=Baselines(few.successes, few.lookups, few.mix)),
    ):
        counted = {one.rule: one.counted for one in readings(figures, AlertRules())}
        assert counted[Rule.COST_PER_SUCCESS] == 3
        assert counted[Rule.HIT_RATE_FALL] == 4
        assert counted[Rule.ROUTE_MIX_DRIFT] == 5


def test_repeated_attempts_are_a_share_of_all():
    (one,) = found(Rule.RETRY_STORM, AlertFigures(attempts=Attempts(200, 30)))
    assert (one.value, one.counted) == (0.15, 200)


def test_each_tier_has_its_own_ttft():
    figures = AlertFigures(ttft=(Ttft("small", 60, 0.4), Ttft("large", 70, 6.0)))
    read = {one.subject: one.value for one in found(Rule.TTFT_P95, figures)}
    assert read == {"tier small": 0.4, "tier large": 6.0}


@pytest.mark.parametrize("rule", list(Rule))
def test_a_rule_that_is_switched_off_reads_nothing(rule: Rule):
    spent = (Spend("acme", 9, 9),)
    full = replace(
        burned(1, 1),
        spend=spent, successes=Successes(9, 9), lookups=Lookups(9, 9), mix={"small": 9},
        attempts=Attempts(9, 9), ttft=(Ttft("small", 9, 9),),
        before=Baselines(Successes(9, 9), Lookups(9, 9), {"small": 9}),
    )  # fmt: skip
    budgets = Budgets({"acme": (SpendBudget(24.0, DAY_S),)})
    rules = AlertRules()
    assert {one.rule for one in readings(full, rules, budgets)} == set(Rule)
    off = rules.model_copy(
        update={rule.value: getattr(rules, rule).model_copy(update={"enabled": False})}
    )
    assert {one.rule for one in readings(full, off, budgets)} == set(Rule) - {rule}


def test_each_rule_is_told_how_long_it_must_hold():
    assert hold_s(AlertRules(budget_burn=BudgetBurn(for_s=7.0)))[Rule.BUDGET_BURN] == 7.0
    assert set(hold_s(AlertRules())) == set(Rule)


@given(counts, counts)
def test_the_divergence_is_scipys(one: dict[str, int], other: dict[str, int]) -> None:
    bits = divergence_bits(one, other)
    assert bits == pytest.approx(divergence_bits(other, one))
    if sum(one.values()) and sum(other.values()):
        names = sorted(one.keys() | other.keys())
        p, q = ([side.get(name, 0) for name in names] for side in (one, other))
        # scipy gives its root, which is unsure by 1e-8 around 0.
        assert bits == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-7)
    else:
        assert bits == 0.0


def test_the_divergence_of_tiers_with_nothing_in_common_is_one_bit():
    assert divergence_bits({"small": 3}, {"large": 5}) == 1.0
    assert divergence_bits({"small": 3, "large": 1}, {"small": 300, "large": 100}) == 0.0


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0.01, 100), st.integers(1, 1000))
def test_more_spending_never_reads_less(
    usd_micros: int, more: int, limit: float, requests: int
) -> None:
    rule = SpendRate(usd_per_hour=limit)
    low, high = (
        found(Rule.SPEND_RATE, AlertFigures(spend=(Spend("a", requests, cost),)), spend_rate=rule)
        for cost in (usd_micros, usd_micros + more)
    )
    assert high[0].level >= low[0].level
