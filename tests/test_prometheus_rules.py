"""The shipped Prometheus files: they read what is exported, agree with the settings, and fire."""

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from promql_parser import parse, parse_duration

from core.settings.alerts import AlertRules
from core.settings.load import Server
from ledger.alerts.rules import divergence_bits, hold_s
from ledger.alerts.states import Rule
from tests.exported import series
from tests.promql import Series, check, labels, with_recorded
from tests.promql_values import Rising, World

FOLDER = Path(__file__).parents[1] / "config" / "prometheus"
RULES = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))
ALL = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in ALL if "alert" in rule]


@pytest.fixture(scope="module")
def known() -> dict[str, Series]:
    return series()


def test_every_expression_is_promql() -> None:
    for rule in ALL:
        parse(rule["expr"])


def test_every_expression_reads_what_is_exported_or_recorded_before_it(
    known: dict[str, Series],
) -> None:
    read = set()
    for rule in ALL:
        read |= check(rule["expr"], known)
        if "record" in rule:
            known = with_recorded({"groups": [{"rules": [rule]}]}, known)
    assert {rule["record"] for rule in ALL if "record" in rule} <= read, "recorded for nobody"


def test_every_word_of_a_message_names_a_label_that_the_alert_has(
    known: dict[str, Series],
) -> None:
    known = with_recorded(RULES, known)
    for rule in ALERTS:
        summary = rule["annotations"]["summary"]
        assert set(re.findall(r"\$labels\.(\w+)", summary)) <= labels(rule["expr"], known)


def test_all_seven_rules_are_there_and_hold_as_long_as_the_settings_say() -> None:
    assert {rule["labels"]["rule"] for rule in ALERTS} == set(Rule)
    held = hold_s(AlertRules())
    for rule in ALERTS:
        for_s = parse_duration(rule["for"]).total_seconds() if "for" in rule else 0.0
        assert for_s == held[Rule(rule["labels"]["rule"])]


def limits(rule: dict[str, Any]) -> list[float]:
    return [float(number) for number in re.findall(r">= ([\d.]+)", rule["expr"])]


def test_limits_and_samples_are_the_defaults_of_the_settings() -> None:
    rules = AlertRules()
    burn, share = rules.budget_burn, rules.retry_storm
    cost, hits, mix = rules.cost_per_success, rules.hit_rate_fall, rules.route_mix_drift
    assert {
        rule["alert"] + rule["labels"].get("pace", ""): limits(rule) for rule in ALERTS
    } == {
        "HansomSpendRate": [rules.spend_rate.usd_per_hour, rules.spend_rate.least_requests],
        "HansomBudgetBurnfast": [burn.fast_burn, burn.fast_burn, burn.least_requests],
        "HansomBudgetBurnslow": [burn.slow_burn, burn.slow_burn, burn.least_requests],
        "HansomCostPerSuccess": [cost.ratio, cost.least_requests, cost.least_requests],
        "HansomHitRateFall": [hits.points, hits.least_requests, hits.least_requests],
        "HansomRouteMixDrift": [mix.divergence, mix.least_requests, mix.least_requests],
        "HansomRetryStorm": [share.share, share.least_attempts],
        "HansomTtftP95": [rules.ttft_p95.seconds, rules.ttft_p95.least_streams],
    }  # fmt: skip


def test_the_scrape_finds_the_rules_and_the_default_endpoint() -> None:
    given = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    assert [(FOLDER / name).exists() for name in given["rule_files"]] == [True]
    (job,) = given["scrape_configs"]
    server = Server()
    assert job["static_configs"] == [{"targets": [f"{server.host}:{server.port}"]}]
    assert job["metrics_path"] == "/metrics"


def traffic(trouble: str | None, scale: float = 1.0) -> dict[str, list[Rising]]:
    """A request a second for ever, half of them hits, and an hour of one kind of trouble."""

    def two(before: float, now: float, name: str | None, **labels: str) -> Rising:
        return Rising(labels, scale * before, scale * (now if name == trouble else before))

    waits = [(0.5, 0.9, 0.1), (5.0, 0.98, 0.2), (10.0, 0.99, 0.95), (math.inf, 1.0, 1.0)]
    return {
        "hansom_requests_total": [two(1, 1, None, status="200"), two(0.1, 0.1, None, status="429")],
        "hansom_cost_usd_total": [
            two(0.0001, 0.00025, "cost_per_success", tier="small"),
            two(0, 0.006, "spend_rate", tier="large"),
            two(0, 0.02, "budget_burn", tier="other"),
        ],
        "hansom_cache_lookups_total": [
            two(0.4, 0.1, "hit_rate_fall", result="exact"),
            two(0.1, 0.1, None, result="semantic"),
            two(0.6, 0.9, "hit_rate_fall", result="miss"),
        ],
        "hansom_routes_total": [
            two(0.35, 0.1, "route_mix_drift", tier="small", code="easy"),
            two(0.15, 0.2, "route_mix_drift", tier="large", code="hard"),
            two(0, 0.2, "route_mix_drift", tier="huge", code="hard"),
            two(5, 5, None, tier="large", code="explicit"),
        ],
        "hansom_attempts_total": [
            two(0.5, 0.5, None, tier="small", kind="answer", outcome="success"),
            two(0.01, 0.2, "retry_storm", tier="small", kind="retry", outcome="success"),
            two(5, 5, None, tier="small", kind="cache_hit", outcome="success"),
        ],
        "hansom_ttft_seconds_bucket": [
            two(before, now, "ttft_p95", tier="small", lane="interactive", le=str(bound))
            for bound, before, now in waits
        ],
        "hansom_ttft_seconds_count": [two(1, 1, None, tier="small", lane="interactive")],
    }  # fmt: skip


def firing(world: World) -> set[str]:
    """The rules that fire, once everything was recorded in the order of the file."""
    found = set()
    for rule in ALL:
        if "record" in rule:
            world.record(rule["record"], rule["expr"])
        elif world.ask(rule["expr"]):
            found.add(rule["labels"]["rule"])
    return found


# A cost that rises fast is what several rules are there to see.
EXPECTED = {
    "spend_rate": {"spend_rate", "cost_per_success", "budget_burn"},
    "budget_burn": {"spend_rate", "cost_per_success", "budget_burn"},
}


def test_ordinary_traffic_fires_nothing() -> None:
    assert firing(World(traffic(None))) == set()


@pytest.mark.parametrize("rule", [rule.value for rule in Rule])
def test_each_rule_fires_when_its_trouble_comes(rule: str) -> None:
    assert firing(World(traffic(rule))) == EXPECTED.get(rule, {rule})


@pytest.mark.parametrize("rule", [rule.value for rule in Rule])
def test_a_handful_of_requests_fires_nothing(rule: str) -> None:
    assert firing(World(traffic(rule, scale=0.001))) == set()


def test_the_divergence_is_that_of_the_ledgers_rule() -> None:
    world = World(traffic("route_mix_drift"))
    firing(world)
    (bits,) = world.ask("hansom:route_mix_divergence_bits:1h").values()
    now, before = {"small": 100, "large": 200, "huge": 200}, {"small": 35, "large": 15}
    assert bits == pytest.approx(divergence_bits(now, before))


def test_a_quantile_is_found_between_its_buckets() -> None:
    world = World(traffic("ttft_p95"))
    firing(world)
    (p95,) = world.ask("hansom:ttft_seconds:p95_10m").values()
    assert p95 == pytest.approx(10.0)


def test_hits_are_none_where_there_was_none_yet() -> None:
    counters = traffic(None)
    counters["hansom_cache_lookups_total"] = [Rising({"result": "miss"}, 1, 1)]
    world = World(counters)
    firing(world)
    assert world.ask("hansom:hit_ratio:1h") == {frozenset(): 0.0}


def test_a_counter_rises_in_two_paces() -> None:
    one = Rising({}, before=1.0, now=3.0, turn_s=10.0)
    rises = [one.rise(from_s, to_s) for from_s, to_s in ((5, 0), (20, 0), (30, 10), (12, 8))]
    assert rises == [15.0, 40.0, 20.0, 8.0]
    edges = [40, 20, 11, 10, 9, 0]
    assert sum(one.rise(*pair) for pair in pairwise(edges)) == one.rise(40, 0)
