"""The main job on real models: vLLM, two tiers, Redis and the ledger, started by one command.

Weights are prepared once under HANSOM_HOME (default ~/.cache/hansom) and shared by all runs;
everything else of a run is its own.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import psutil
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from core.free_port import free_port
from deployments import environment
from tests.deployments.serving import ROOT, Serving, command

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

FRANCE = "What is the capital of France?"
PROOF = "Prove that there are infinitely many primes congruent to 3 mod 4."
CASCADE_KEY = "checks-its-answers"
CASCADER = "key-" + hashlib.sha256(CASCADE_KEY.encode()).hexdigest()[:16]
CODE = "Write a Python function that merges overlapping intervals and give its complexity."


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "config" / "laptop.yaml").read_text())
    config["server"] = {"port": free_port()}
    config["router"] |= {
        "tenants": {CASCADER: {"strategy": "cascade", "threshold": 1.0}},
        "cascade": {"perplexity": 50.0, "streams": "prefix", "prefix_tokens": 8},
    }
    running = Serving(config, models=environment.home() / "models", start_s=800)
    try:
        running.start()
        yield running
        _, left = running.interrupt()
        assert not left, [command(one) for one in left]
    finally:
        running.end()


@pytest.fixture(scope="module")
def client(serving: Serving) -> openai.OpenAI:
    return serving.client(timeout=180)


def _ask(serving: Serving, prompt: str, *options: str) -> dict[str, object]:
    out = serving.hansom("ask", prompt, "--json", "--max-tokens", "24", *options)
    asked: dict[str, object] = json.loads(out)
    return asked


def _running_requests(serving: Serving, tier: str) -> float:
    """vLLM's own count of running requests, asked at the replica's port: no scrape is cached."""
    replica = serving.process(f"ServeReplica:tier-{tier}")
    (port,) = [
        found.laddr.port
        for found in replica.net_connections("tcp")
        if found.status == psutil.CONN_LISTEN and 30_000 <= found.laddr.port <= 31_000
    ]
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        if family.name == "vllm:num_requests_running"
        for sample in family.samples
    )


def test_an_easy_question_goes_to_the_small_model_and_is_answered(serving: Serving) -> None:
    asked = _ask(serving, FRANCE)
    assert (asked["tier"], asked["cache"]) == ("small", "miss")
    assert "Paris" in str(asked["text"])
    assert int(str(asked["output_tokens"])) > 0


@pytest.mark.parametrize("prompt", [PROOF, CODE])
def test_a_hard_question_goes_to_the_large_model(serving: Serving, prompt: str) -> None:
    asked = _ask(serving, prompt)
    assert asked["tier"] == "large"
    assert str(asked["reason"]).startswith("hard;")


def test_the_same_question_again_is_an_exact_hit_and_costs_nothing(serving: Serving) -> None:
    _ask(serving, FRANCE)
    again = _ask(serving, FRANCE)
    assert (again["cache"], float(str(again["cost_usd"]))) == ("exact", 0.0)


def test_the_report_shows_both_tiers_the_hit_and_what_was_saved(serving: Serving) -> None:
    for prompt in (FRANCE, PROOF, FRANCE):
        _ask(serving, prompt)
    end_s = time.monotonic() + 10
    while True:
        report = json.loads(serving.hansom("ledger", "report", "--json"))
        if {"small", "large"} <= set(report["by_tier"]) and report["cache_hits"]:
            break
        assert time.monotonic() < end_s, report
    assert report["cost_usd_micros"] > 0
    assert report["saved_usd_micros"] > 0
    assert report["usage"]["output_tokens"] > 0


def test_streams_carry_usage_and_cost(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": "Count to five."}],
        max_tokens=16,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    last = chunks[-1]
    assert last.usage is not None and 0 < last.usage.completion_tokens <= 16
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert (last.model_extra or {})["hansom"]["tier"] == "small"


def test_a_tool_is_called(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="large",
        messages=[{"role": "user", "content": "What is the weather in Paris? Use the tool."}],
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Weather of a city",
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    },
                },
            }
        ],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        temperature=0,
        max_tokens=48,
    )
    calls = answer.choices[0].message.tool_calls
    assert calls and calls[0].function.name == "weather"
    assert "Paris" in json.loads(calls[0].function.arguments)["city"]


def test_an_answer_keeps_to_a_json_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "capital": {"type": "boolean"}},
        "required": ["city", "capital"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="large",
        messages=[{"role": "user", "content": "Is Paris a capital? Answer as JSON."}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        },
        temperature=0,
        max_tokens=64,
    )
    found = json.loads(answer.choices[0].message.content or "")
    assert set(found) == {"city", "capital"} and isinstance(found["capital"], bool)


def test_logprobs_stop_seed_and_n_are_vllms(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": "Say: one two three four"}],
        logprobs=True,
        top_logprobs=2,
        n=2,
        seed=7,
        temperature=0.7,
        stop=["four"],
        max_tokens=12,
    )
    assert len(answer.choices) == 2
    for choice in answer.choices:
        assert choice.logprobs and choice.logprobs.content
        assert len(choice.logprobs.content[0].top_logprobs) == 2
        assert "four" not in (choice.message.content or "")


def test_a_completion_and_an_embedding_are_answered(client: openai.OpenAI) -> None:
    text = client.completions.create(model="small", prompt="The sky is", max_tokens=4)
    assert text.choices[0].text
    vector = client.embeddings.create(model="all-MiniLM-L6-v2", input="a cab").data[0].embedding
    assert len(vector) == 384 and abs(sum(x * x for x in vector) - 1) < 1e-3


def test_too_long_a_prompt_is_told_with_both_token_counts(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="small", messages=[{"role": "user", "content": "word " * 6000}], max_tokens=8
        )
    assert caught.value.code == "context_length_exceeded"
    assert "4096 tokens" in caught.value.message  # what fits
    assert "4097 input tokens" in caught.value.message  # vLLM stops counting when it is too long


def test_a_client_that_hangs_up_frees_the_engine_within_a_second(serving: Serving) -> None:
    body = {
        "model": "large",
        "messages": [{"role": "user", "content": "Count up from one."}],
        "max_tokens": 1500,
        "ignore_eos": True,
        "stream": True,
    }
    with httpx.stream(
        "POST", f"{serving.url}/v1/chat/completions", json=body, timeout=120
    ) as answer:
        lines = answer.iter_lines()
        for _ in range(8):
            next(lines)
        assert _running_requests(serving, "large") == 1
    left_s = time.monotonic()
    while _running_requests(serving, "large"):
        assert time.monotonic() - left_s < 1.0
        time.sleep(0.02)
    (line,) = serving.lines(answer.headers["x-request-id"])
    assert line.kind == "cancelled"
    assert 0 < line.usage.output_tokens < 1500
    assert line.cost_usd_micros > 0


def test_a_killed_engine_is_replaced_and_the_other_tier_answers_meanwhile(
    serving: Serving, client: openai.OpenAI
) -> None:
    engines = [
        child
        for process in serving.processes()
        if "ServeReplica:tier-small" in command(process)
        for child in process.children(recursive=True)
        if "VLLM::" in command(child)
    ]
    assert engines
    for process in engines:
        process.kill()
    answer = client.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": "What is the capital of Spain?"}],
        max_tokens=8,
    )
    assert answer.headers["x-hansom-tier"] == "large"
    assert answer.parse().choices[0].message.content
    end_s = time.monotonic() + 300
    while True:
        try:
            client.chat.completions.create(
                model="small", messages=[{"role": "user", "content": "Hello"}], max_tokens=4
            )
            return
        except openai.APIStatusError as error:
            assert error.status_code in (502, 503), error
            assert time.monotonic() < end_s
            time.sleep(1)


def test_a_cascade_keeps_what_small_knows_and_has_large_answer_what_it_does_not(
    serving: Serving,
) -> None:
    client = serving.client(timeout=180).with_options(api_key=CASCADE_KEY)

    def ask(text: str) -> tuple[httpx.Headers, bytes]:
        raw = client.chat.completions.with_raw_response.create(
            model="auto",
            max_tokens=40,
            temperature=0,
            messages=[{"role": "user", "content": text}],
        )
        return httpx.Headers(raw.headers), raw.content

    headers, body = ask(FRANCE)
    assert headers["x-hansom-tier"] == "small", headers["x-hansom-route-reason"]
    assert headers["x-hansom-route-reason"].startswith("checked; ")
    assert b'"logprobs":null' in body, "asked for to judge by, and not shown"
    lines = {line.kind: line for line in serving.lines(headers["x-request-id"], 2)}
    assert set(lines) == {"answer", "classifier"}, "large read what small wrote, in one prefill"
    assert (lines["classifier"].tier, lines["classifier"].outcome) == ("large", "success")
    assert lines["classifier"].usage.output_tokens == 1
    headers, _ = ask(
        "A baker sells 48 loaves at 3 dollars and 17 cakes at 12 dollars. He pays 95 dollars for "
        "flour and shares the rest equally among 4 helpers. How many dollars does each helper get?"
    )
    assert headers["x-hansom-tier"] == "large", headers["x-hansom-route-reason"]
    assert headers["x-hansom-route-reason"].startswith("escalated; ")
    small, large = sorted(serving.lines(headers["x-request-id"], 2), key=lambda one: one.attempt)
    assert (small.kind, large.kind) == ("answer", "escalation")
    cost_usd = (small.cost_usd_micros + large.cost_usd_micros) / 1e6
    assert headers["x-hansom-cost-usd"] == f"{cost_usd:.6f}"


def test_a_streams_first_tokens_are_judged_by_log_probabilities_that_nobody_sees(
    serving: Serving,
) -> None:
    url, key = f"{serving.url}/v1/chat/completions", {"authorization": f"Bearer {CASCADE_KEY}"}
    body = {
        "model": "auto",
        "max_tokens": 32,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "messages": [{"role": "user", "content": "Count from one to forty in words."}],
    }
    with httpx.stream("POST", url, json=body, headers=key, timeout=180) as answer:
        *lines, done = [line for line in answer.iter_lines() if line]
    assert done == "data: [DONE]"
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    choices = [choice for event in events for choice in event["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices)
    assert all(choice.get("logprobs") is None for choice in choices)
    reason = answer.headers["x-hansom-route-reason"]
    assert "first" in reason, reason
    escalated = answer.headers["x-hansom-tier"] == "large"
    attempts = serving.lines(answer.headers["x-request-id"], 1 + escalated)
    small = next(line for line in attempts if line.tier == "small")
    assert 8 <= small.usage.output_tokens <= 32
    assert (small.usage.output_tokens == 32) is not escalated
    cost_usd = sum(line.cost_usd_micros for line in attempts) / 1e6
    assert events[-1]["hansom"]["cost_usd"] == f"{cost_usd:.6f}"
