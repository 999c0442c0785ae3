import orjson

from core.call import Usage
from ledger.reports.report import (
    COUNTERFACTUAL,
    AttemptGroup,
    Figures,
    RequestGroup,
    Waits,
    summarise,
)

FIGURES = Figures(
    since_s=None,
    attempts=[
        AttemptGroup("small", "answer", 8, 1, Usage(800, 0, 80), 100, 900),
        AttemptGroup("large", "fallback", 1, 0, Usage(100, 50, 10), 125, 0),
        AttemptGroup("small", "cache_hit", 2, 0, Usage(200, 0, 20), 0, 375),
    ],
    requests=[
        RequestGroup("success", "miss", "small", 7),
        RequestGroup("success", "exact", "small", 2),
        RequestGroup("error", "miss", "large", 1),
    ],
    ttft=Waits(0.1, 0.2),
    total=Waits(1.0, 2.0),
)


def test_requests_attempts_money_and_tokens_add_up() -> None:
    report = summarise(FIGURES)
    assert (report.requests, report.attempts, report.estimated_attempts) == (10, 11, 1)
    assert report.by_outcome == {"error": 1, "success": 9}
    assert report.by_kind == {"answer": 8, "cache_hit": 2, "fallback": 1}
    assert report.usage == Usage(900, 50, 90)
    assert report.replayed == Usage(200, 0, 20)
    assert (report.cost_usd_micros, report.saved_usd_micros) == (225, 1275)
    assert report.always_large_usd_micros == 1500
    assert report.saved_ratio == 0.85
    assert (report.cache_hits, report.cache_hit_ratio) == (2, 0.2)
    assert sum(tier.cost_usd_micros for tier in report.by_tier.values()) == 225
    assert report.by_tier["small"].usage == Usage(800, 0, 80)


def test_a_report_is_json_and_states_its_counterfactual_in_words() -> None:
    found = orjson.loads(orjson.dumps(summarise(FIGURES).as_dict()))
    assert found["counterfactual"] == COUNTERFACTUAL
    assert (found["cost_usd"], found["always_large_usd"]) == ("0.000225", "0.001500")
    assert found["by_tier"]["large"]["usage"]["cached_input_tokens"] == 50
    assert found["ttft"] == {"p50_s": 0.1, "p95_s": 0.2}


def test_an_empty_ledger_has_an_empty_report() -> None:
    report = summarise(Figures(5.0, [], [], Waits(), Waits()))
    assert (report.requests, report.saved_ratio, report.cache_hit_ratio) == (0, 0.0, 0.0)
