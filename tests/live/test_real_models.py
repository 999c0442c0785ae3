"""The main job on real models: vLLM, two tiers, Redis and the ledger, started by one command."""

import json
import time
import uuid
from typing import Any

import httpx
import openai
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cache.semantic.question import question
from core.ledger_line import Outcome
from deployments.gateway.cascade.small_model_verdict import yes_or_no, yes_share
from tests.conftest import CASCADE_KEY, LEAST_YES, REFUNDS
from tests.deployments.serving import Serving, command

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

FRANCE = "What is the capital of France?"
PROOF = "Prove that there are infinitely many primes congruent to 3 mod 4."
WEATHER: Any = {
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
CODE = "Write a Python function that merges overlapping intervals and give its complexity."


@pytest.fixture
def serving(laptop: Serving) -> Serving:
    return laptop


@pytest.fixture
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
        tools=[WEATHER],
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


LOOP = {"x": {"$ref": "#/$defs/x"}}
NESTED_LOOP = {"type": "object", "properties": {"a": LOOP["x"]}, "required": ["a"], "$defs": LOOP}
DEEP_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[" * 50_000}}
NEVER: dict[str, dict[str, Any]] = {
    "a schema that is only itself": {"schema": {"$ref": "#"}},
    "a property that is only itself": {"schema": NESTED_LOOP},
    "a type that is none": {"schema": {"type": "foo"}},
    "what xgrammar does not enforce": {"schema": {"type": "integer", "multipleOf": 5}},
    "a regular expression that is none": {"structured_outputs": {"regex": "("}},
    "a class without a character": {"structured_outputs": {"regex": r"[^\s\S]"}},
    "a grammar that is only itself": {"structured_outputs": {"grammar": "root ::= root"}},
    "no choice": {"structured_outputs": {"choice": []}},
    "a token that is none": {"logit_bias": {"999999999": 5}},
    "arguments that are too deep": {
        "messages": [
            {"role": "user", "content": "Go on."},
            {"role": "assistant", "content": None, "tool_calls": [DEEP_CALL]},
        ]
    },
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("what", NEVER)
def test_what_the_engine_can_never_do_is_a_400_that_is_tried_once(
    serving: Serving, what: str, stream: bool
) -> None:
    body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": FRANCE}]}
    body |= NEVER[what] | {"stream": stream, "max_tokens": 8}
    if schema := body.pop("schema", None):
        form = {"name": "answer", "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    id_ = uuid.uuid4().hex
    answer = httpx.post(
        f"{serving.url}/v1/chat/completions", json=body, headers={"x-request-id": id_}, timeout=60
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert [line.outcome for line in serving.lines(id_)] == [Outcome.REFUSED]


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
    assert "small has a context of 1,024 tokens" in caught.value.message
    assert "at least 6,008 are needed" in caught.value.message


def routed(client: openai.OpenAI, prompt: str, **asked: Any) -> tuple[str, str]:
    """The tier that answered `auto`, and why."""
    messages: Any = [{"role": "user", "content": prompt}]
    options = {"max_tokens": 16, "temperature": 0} | asked
    made = client.chat.completions.with_raw_response.create(
        model="auto", messages=messages, extra_headers={"x-hansom-cache": "off"}, **options
    )
    assert made.parse().usage
    return made.headers["x-hansom-tier"], made.headers["x-hansom-route-reason"]


def test_an_easy_question_goes_to_the_tier_that_can_do_what_it_needs(
    client: openai.OpenAI,
) -> None:
    tier, why = routed(client, FRANCE)
    assert tier == "small", why
    tier, why = routed(client, FRANCE, tools=[WEATHER])
    assert (tier, why.startswith("capability; small has no tool calls")) == ("large", True)
    tier, why = routed(client, FRANCE, max_tokens=2000)
    assert tier == "large"
    assert "small has a context of 1,024 tokens, where at least 2,006 are needed" in why


def test_a_prompt_that_only_its_engine_can_count_goes_on_when_it_refuses(
    client: openai.OpenAI,
) -> None:
    tier, why = routed(client, "Hello " + "😀😀😀😀😀😀 " * 150)
    assert "is below" in why, "it is easy by its score: small was asked first"
    assert tier == "large"
    assert why.startswith("refused") and "small refused (context_length_exceeded)" in why


def test_a_tier_that_is_named_and_cannot_says_what_it_lacks(client: openai.OpenAI) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    refused = {
        "small has no tool calls": {"model": "small", "tools": [WEATHER]},
        "small has no image input; large has no image input": {
            "model": "auto", "messages": [{"role": "user", "content": [image]}],
        },
    }  # fmt: skip
    for words, asked in refused.items():
        messages: Any = [{"role": "user", "content": FRANCE}]
        whole: Any = {"messages": messages} | asked
        with pytest.raises(openai.BadRequestError, match=words) as caught:
            client.chat.completions.create(**whole)
        assert caught.value.code == "not_supported"


def test_a_question_in_quite_other_words_is_served_if_the_large_model_says_so(
    serving: Serving, client: openai.OpenAI
) -> None:
    """The two are far by cosine, so the trees refuse the second; this model is .25 sure of it."""
    policy, money = "What is our refund policy?", "How do I get my money back?"
    sure = yes_share(
        client.chat.completions.create(
            model="large", **yes_or_no(question(policy, money))
        ).model_dump()
    )
    assert sure is not None
    headers, first = _refund(client, policy)
    assert headers["x-hansom-cache"] == "miss"
    headers, second = _refund(client, money)
    reason = f"{headers['x-hansom-route-reason']} (the model is {sure:.3f} sure)"
    assert (headers["x-hansom-cache"] == "semantic") is (sure >= LEAST_YES), reason
    (asked,) = [
        line
        for line in serving.lines(headers["x-request-id"], 2)
        if line.route_code == "cache_verify"
    ]
    assert (asked.kind, asked.tier, asked.outcome) == ("classifier", "large", "success")
    if sure >= LEAST_YES:
        assert "judged" in reason and second == first


def test_the_large_models_word_is_a_line_of_its_own_and_a_gate_comes_before_it(
    serving: Serving, client: openai.OpenAI
) -> None:
    shop = "You work for a shop. Answer in one short sentence."  # a scope of its own
    _refund(client, "How long does a refund of 20 dollars take?", shop)
    headers, _ = _refund(client, "When do I get my 20 dollars back?", shop)
    lines = {line.kind: line for line in serving.lines(headers["x-request-id"], 2)}
    asked = lines["classifier"]
    assert (asked.tier, asked.route_code, asked.outcome) == ("large", "cache_verify", "success")
    assert asked.usage.output_tokens == 1 and asked.cost_usd_micros > 0
    headers, _ = _refund(client, "When do I get my 30 dollars back?", shop)
    assert headers["x-hansom-cache"] == "miss"
    assert {line.kind for line in serving.lines(headers["x-request-id"])} == {"answer"}


def _refund(
    client: openai.OpenAI, text: str, system: str = "Answer in one short sentence."
) -> tuple[httpx.Headers, str]:
    raw = client.chat.completions.with_raw_response.create(
        model="large",
        messages=[
            {"role": "system", "content": system},
            {"role": "user", "content": text},
        ],
        temperature=0,
        max_tokens=80,
        extra_headers={"x-hansom-domain": REFUNDS},
    )
    return httpx.Headers(raw.headers), raw.parse().choices[0].message.content or ""


def test_a_second_question_on_a_long_context_reads_it_from_the_prefix_cache(
    client: openai.OpenAI,
) -> None:
    context = " ".join(f"Rule {at}: parcel {at} goes to shelf {at * 7 % 90}." for at in range(140))
    first = _on(client, context, "To which shelf does parcel 3 go?")
    second = _on(client, context, "How many rules are there?")
    for ttft_s, usage in (first, second):
        assert usage.prompt_tokens > 2000 and ttft_s > 0
    cached = [usage.prompt_tokens_details.cached_tokens for _, usage in (first, second)]
    assert cached[0] < 200 and cached[1] > 1800, cached
    assert second[0] < first[0] / 2, (first, second)


def _on(client: openai.OpenAI, context: str, question: str) -> tuple[float, Any]:
    """The time to the first token, seconds, and the usage."""
    begun_s = time.monotonic()
    stream = client.chat.completions.create(
        model="large",
        messages=[{"role": "system", "content": context}, {"role": "user", "content": question}],
        max_tokens=8,
        stream=True,
        stream_options={"include_usage": True},
    )
    ttft_s, usage = 0.0, None
    for chunk in stream:
        if not ttft_s and chunk.choices and chunk.choices[0].delta.content:
            ttft_s = time.monotonic() - begun_s
        usage = chunk.usage or usage
    return ttft_s, usage


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
