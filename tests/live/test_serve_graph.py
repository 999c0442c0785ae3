"""The real graph: every part runs, every request leaves its line, and nothing outlives a client."""

import gzip
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import pytest

from core.ledger_line import Kind, Outcome
from core.metrics import Metrics
from tests.deployments.serving import Serving, wait

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

CHAT = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hello!"}]}


def post(hansom: Serving, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    return httpx.post(f"{hansom.url}{CHAT}", json=BODY | (body or {}), headers=headers, timeout=60)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return dict(error)


def test_the_gateway_finds_every_tiers_replica_and_speaks_to_it(hansom: Serving) -> None:
    for tier in ("small", "large"):
        answer = post(hansom, {"model": tier, "max_tokens": 2})
        assert (answer.status_code, answer.headers["x-hansom-tier"]) == (200, tier)
        assert hansom.metric("hansom_tier_replicas", tier=tier) == 1


def test_it_is_live_and_ready_with_every_part(hansom: Serving) -> None:
    assert httpx.get(f"{hansom.url}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{hansom.url}/readyz", timeout=10)
    assert ready.status_code == 200
    assert ready.json() == {
        "ready": True,
        "tiers": {"small": {"running_replicas": 1}, "large": {"running_replicas": 1}},
        "router": True,
        "ledger": True,
        "redis": True,
    }


def test_one_scrape_has_every_metric_of_every_part(hansom: Serving) -> None:
    assert post(hansom, {"max_tokens": 3, "stream": True}).status_code == 200
    for text in ("How do I reverse a list in Python?", "how can I reverse a list in Python"):
        asked = {"temperature": 0, "messages": [{"role": "user", "content": text}]}
        assert post(hansom, asked).status_code == 200
        time.sleep(0.5)  # the entry is kept behind the answer
    wait(lambda: hansom.metric("hansom_semantic_check_lookups_total", app="gateway") > 0, 20)
    wait(lambda: hansom.metric("hansom_attempts_total", app="gateway", replica="0") > 0, 20)
    text = httpx.get(f"{hansom.url}/metrics", timeout=20).text
    for family in Metrics().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"# TYPE {name} {family.type}\n" in text
        if family.name in ("hansom_shadow_decisions", "hansom_escalations"):
            continue  # nobody runs an experiment or a cascade here (`test_learning`)
        if family.name == "hansom_semantic_verdict_lookups":
            continue  # no model is asked for a verdict here (`test_verdicts`)
        if family.name in ("hansom_refusals", "hansom_soft_limits"):
            continue  # nobody has limits here (`test_accounts_graph`)
        if family.name == "hansom_trace_spans":
            continue  # nothing is traced here (`test_tracing`)
        sample = name if family.type != "histogram" else f"{name}_count"
        told = [line for line in text.splitlines() if line.startswith(f"{sample}{{")]
        assert told, f"{name} has no sample"
        assert all('app="gateway"' in line and 'replica="0"' in line for line in told)
    for name, app in (
        ("hansom_simulated_running_requests", "tier-small"),
        ("hansom_simulated_running_requests", "tier-large"),
        ("hansom_router_score_seconds_count", "router"),
        ("hansom_ledger_lines", "ledger"),
    ):
        assert f'{name}{{app="{app}",replica="0"}}' in text
    assert "hansom_scrape_failures 0.0" in text


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/v1/nothing", "GET", 404), ("/docs", "GET", 404), (CHAT, "GET", 405)],
)
def test_an_unknown_route_is_an_error_in_openais_shape(
    hansom: Serving, path: str, method: str, status: int
) -> None:
    answer = httpx.request(method, f"{hansom.url}{path}")
    assert answer.status_code == status
    assert path in error_of(answer)["message"]


def test_a_body_that_is_not_json_is_refused(hansom: Serving) -> None:
    json = {"content-type": "application/json"}
    answer = httpx.post(f"{hansom.url}{CHAT}", content=b"{not json", headers=json)
    assert answer.status_code == 400
    assert "not JSON" in error_of(answer)["message"]
    answer = httpx.post(f"{hansom.url}{CHAT}", content=b"{}")
    assert answer.status_code == 415


def test_a_compressed_body_is_read_and_a_bomb_is_not(hansom: Serving) -> None:
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    for raw, status in ((orjson.dumps(BODY | {"max_tokens": 2}), 200), (b" " * 5_000_000, 413)):
        answer = httpx.post(f"{hansom.url}{CHAT}", content=gzip.compress(raw), headers=packed)
        assert answer.status_code == status


def test_no_web_page_may_call_by_default(hansom: Serving) -> None:
    page = {"origin": "https://evil.example"}
    preflight = page | {"access-control-request-method": "POST"}
    for answer, status in (
        (httpx.options(f"{hansom.url}{CHAT}", headers=preflight), 204),
        (httpx.post(f"{hansom.url}{CHAT}", content=b"{}", headers=page), 415),
        (post(hansom, {"max_tokens": 2}, **page), 200),
    ):
        assert answer.status_code == status
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    posing = {"origin": "http://evil.example", "host": "evil.example"}
    assert post(hansom, **posing).status_code == 403


def test_a_key_is_read_from_its_header_and_nowhere_else(hansom: Serving) -> None:
    ids = []
    for name in ("api-key", "x-api-key"):
        answer = post(hansom, {"max_tokens": 2}, **{name: "sk-graph"})
        assert answer.status_code == 200
        ids.append(answer.headers["x-request-id"])
    (first,), (second,) = (hansom.lines(id_) for id_ in ids)
    assert first.tenant == second.tenant != "anonymous"
    refused = [
        post(hansom, authorization="Basic c2s="),
        httpx.post(f"{hansom.url}{CHAT}?api-key=sk-graph", json=BODY),
        httpx.get(f"{hansom.url}/v1/models/auto", headers=[("x-api-key", "a"), ("x-api-key", "b")]),
    ]
    for answer in refused:
        assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")


def test_a_body_that_is_too_large_is_refused(hansom: Serving) -> None:
    answer = post(hansom, {"messages": [{"role": "user", "content": "x" * 70_000}]})
    assert answer.status_code == 413
    assert "65536 bytes" in error_of(answer)["message"]


def test_a_call_of_high_risk_goes_to_the_dearest_tier(hansom: Serving) -> None:
    answer = post(hansom, {"max_tokens": 2}, **{"x-hansom-risk": "high"})
    assert answer.headers["x-hansom-tier"] == "large"
    assert answer.headers["x-hansom-route-reason"].startswith("risk; ")


def test_the_ledger_has_as_many_lines_as_requests_were_sent(hansom: Serving) -> None:
    run = uuid.uuid4().hex
    sent = [f"{run}-{number}" for number in range(60)]

    def ask(id_: str) -> int:
        body = {
            "max_tokens": 3,
            "stream": int(id_[-1]) % 2 == 0,
            "model": ["auto", "large"][id_[-1] > "5"],
        }
        return post(hansom, body, **{"x-request-id": id_}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, sent)) == {200}
    for id_ in sent:
        (line,) = hansom.lines(id_)
        assert (line.outcome, line.usage.output_tokens, line.attempt) == (Outcome.SUCCESS, 3, 0)
        assert line.cost_usd_micros > 0


def test_a_hit_is_a_line_of_its_own_that_costs_nothing(hansom: Serving) -> None:
    run = uuid.uuid4().hex
    asked = {"messages": [{"role": "user", "content": run}], "temperature": 0, "max_tokens": 4}
    first = post(hansom, asked, **{"x-request-id": f"{run}-0"})
    assert first.headers["x-hansom-cache"] == "miss"
    wait(lambda: post(hansom, asked).headers["x-hansom-cache"] == "exact", 10)
    again = post(hansom, asked, **{"x-request-id": f"{run}-1"})
    assert again.headers["x-hansom-cost-usd"] == "0.000000"
    (line,) = hansom.lines(f"{run}-1")
    assert (line.kind, line.cache, line.cost_usd_micros) == (Kind.CACHE_HIT, "exact", 0)
    (origin,) = hansom.lines(f"{run}-0")
    assert line.usage == origin.usage


def test_a_client_that_hangs_up_stops_the_engine_and_pays_for_what_was_made(
    hansom: Serving,
) -> None:
    id_ = uuid.uuid4().hex
    aborted = hansom.metric("hansom_simulated_aborted_requests", app="tier-large")
    asked = BODY | {"model": "large", "stream": True, "max_tokens": 1500}
    with httpx.stream(
        "POST", f"{hansom.url}{CHAT}", json=asked, headers={"x-request-id": id_}, timeout=30
    ) as answer:
        events = answer.iter_lines()
        for _ in range(10):
            next(events)
    wait(lambda: hansom.metric("hansom_simulated_running_requests", app="tier-large") == 0, 15)
    assert hansom.metric("hansom_simulated_aborted_requests", app="tier-large") == aborted + 1
    (line,) = hansom.lines(id_)
    assert (line.kind, line.outcome) == (Kind.CANCELLED, Outcome.CANCELLED)
    assert 0 < line.usage.output_tokens < 1000
    assert line.cost_usd_micros > 0


def test_a_client_that_gives_up_waiting_stops_the_engine(hansom: Serving) -> None:
    id_ = uuid.uuid4().hex
    asked = BODY | {"model": "large", "max_tokens": 200}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{hansom.url}{CHAT}", json=asked, headers={"x-request-id": id_}, timeout=1)
    (line,) = hansom.lines(id_)
    assert (line.kind, line.estimated_tokens) == (Kind.CANCELLED, False)
    assert 10 < line.usage.output_tokens == line.undelivered_tokens < 200
    wait(lambda: hansom.metric("hansom_simulated_running_requests", app="tier-large") == 0, 15)
    assert hansom.metric("hansom_requests_in_flight", app="gateway") == 0
    assert hansom.metric("hansom_requests_total", status="499") >= 1
