"""The official client against the real graph: it finds what it expects, errors included."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from deployments.edge import VALID
from tests.deployments.serving import Serving, wait

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello!"}]
CABS = " cab" * 5


def new_id() -> dict[str, str]:
    return {"x-request-id": f"test-{uuid.uuid4().hex}"}


def test_a_model_is_found_by_its_name(hansom: Serving) -> None:
    models = hansom.client().models
    for one in models.list():
        assert models.retrieve(one.id) == one
    with pytest.raises(openai.NotFoundError):
        models.retrieve("gpt-4o")


def test_a_chat_is_answered_and_says_how(hansom: Serving) -> None:
    raw = hansom.client().chat.completions.with_raw_response.create(
        model="auto", messages=HELLO, max_tokens=5
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == CABS
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert raw.headers["x-hansom-tier"] in ("small", "large")
    assert raw.headers["x-hansom-model"] == f"simulated-{raw.headers['x-hansom-tier']}"
    assert raw.headers["x-hansom-route-reason"].partition(";")[0] in ("easy", "hard")
    assert 0 <= float(raw.headers["x-hansom-difficulty"]) <= 1
    assert raw.headers["x-hansom-cache"] == "miss"
    assert float(raw.headers["x-hansom-cost-usd"]) > 0
    assert VALID.fullmatch(raw.headers["x-request-id"].encode())


@pytest.mark.parametrize("include_usage", [False, True])
def test_a_stream_ends_with_tier_cost_and_cache_state(hansom: Serving, include_usage: bool) -> None:
    extra: dict[str, Any] = {"stream_options": {"include_usage": True}} if include_usage else {}
    raw = hansom.client().chat.completions.with_raw_response.create(
        model="small", messages=HELLO, max_tokens=5, stream=True, extra_headers=new_id(), **extra
    )
    chunks = list(raw.parse())
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == CABS
    *before, last = chunks
    assert [chunk.usage for chunk in before] == [None] * len(before)
    assert (last.usage is not None) is include_usage
    end = (last.model_extra or {})["hansom"]
    assert float(end.pop("cost_usd")) > 0
    assert end == {
        "request_id": raw.headers["x-request-id"],
        "tier": "small",
        "model": "simulated-small",
        "cache": "miss",
        "cached": False,
    }
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert raw.headers["x-hansom-tier"] == "small"
    assert raw.headers["x-hansom-route-reason"].startswith("explicit; ")


def test_tokens_arrive_as_they_are_made(hansom: Serving) -> None:
    chunks = hansom.client().chat.completions.create(
        model="large", messages=HELLO, max_tokens=100, stream=True
    )
    next(iter(chunks))
    assert hansom.metric("hansom_simulated_running_requests", app="tier-large") >= 1
    assert len(list(chunks)) >= 50


@pytest.mark.parametrize("stream", [False, True])
def test_text_completions_are_answered(hansom: Serving, stream: bool) -> None:
    answer = hansom.client().completions.create(
        model="auto", prompt="Once upon a time", max_tokens=5, stream=stream
    )
    if isinstance(answer, openai.Stream):
        assert "".join(chunk.choices[0].text for chunk in answer if chunk.choices) == CABS
    else:
        assert answer.choices[0].text == CABS


def test_models_are_listed(hansom: Serving) -> None:
    names = [model.id for model in hansom.client().models.list()]
    tiers = ["small", "simulated-small", "large", "simulated-large"]
    assert names == ["auto", *tiers, "all-MiniLM-L6-v2"]


def test_embeddings_are_the_same_in_both_encodings(hansom: Serving) -> None:
    client = hansom.client()
    texts = ["The capital of France", "What is France's capital?", "A recipe for soup"]
    by_default = client.embeddings.create(model="all-MiniLM-L6-v2", input=texts)
    floats = client.embeddings.create(
        model="all-MiniLM-L6-v2", input=texts, encoding_format="float"
    )
    first, second, third = (item.embedding for item in floats.data)
    assert [item.embedding for item in by_default.data] == [
        pytest.approx(item, abs=1e-6) for item in (first, second, third)
    ]
    assert len(first) == 384
    assert sum(x * x for x in first) == pytest.approx(1, abs=1e-3)
    alike = sum(x * y for x, y in zip(first, second, strict=True))
    unlike = sum(x * y for x, y in zip(first, third, strict=True))
    assert alike > unlike


def test_an_unknown_model_is_the_clients_not_found_error(hansom: Serving) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        hansom.client().chat.completions.create(model="gpt-4o", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "`simulated-large`" in caught.value.message


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"temperature": 9}, "temperature"), ({"messages": []}, "messages"), ({"n": 0}, "n")],
)
def test_a_wrong_field_is_the_clients_bad_request_error(
    hansom: Serving, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        hansom.client().chat.completions.create(**{"model": "auto", "messages": HELLO} | changes)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_refused_with_both_token_counts(
    hansom: Serving, stream: bool
) -> None:
    long: list[ChatCompletionMessageParam] = [{"role": "user", "content": "word " * 2000}]
    with pytest.raises(openai.BadRequestError) as caught:
        hansom.client().chat.completions.create(
            model="auto", messages=long, max_tokens=77, stream=stream
        )
    assert caught.value.code == "context_length_exceeded"
    assert "a context of 2,048 tokens" in caught.value.message
    assert "at least 2,077 are needed" in caught.value.message


def test_one_request_too_many_is_the_clients_rate_limit_error(hansom: Serving) -> None:
    client = hansom.client()
    asked = threading.Barrier(16)

    def ask(_: int) -> str | None:
        asked.wait()
        try:
            client.chat.completions.create(model="large", messages=HELLO, max_tokens=100)
        except openai.RateLimitError as error:
            assert error.type == "rate_limit_error"
            return error.response.headers["retry-after"]
        return None

    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(ask, range(16)))
    assert told.count(None) >= 12, "the limit is not below what is set"
    assert set(told) == {None, "3"}
    wait(lambda: ask_once(hansom), 10)


def ask_once(hansom: Serving) -> bool:
    """Whether there is room again."""
    return bool(hansom.client().chat.completions.create(model="small", messages=HELLO).choices)


@pytest.mark.parametrize("id_", ["mine-1.2:3_4", "0" * 128])
def test_a_valid_request_id_is_kept(hansom: Serving, id_: str) -> None:
    for stream in (False, True):
        raw = hansom.client().chat.completions.with_raw_response.create(
            model="small", messages=HELLO, stream=stream, extra_headers={"x-request-id": id_}
        )
        assert raw.headers["x-request-id"] == id_
    lines = hansom.lines(id_, count=2)
    assert len({line.call_id for line in lines}) == 2, "one id, two calls, both in the ledger"


@pytest.mark.parametrize("id_", ["with space", "<script>", "0" * 129, "-x"])
def test_an_invalid_request_id_is_replaced(hansom: Serving, id_: str) -> None:
    answer = httpx.get(f"{hansom.url}/healthz", headers={"x-request-id": id_})
    assert answer.headers["x-request-id"] != id_
    assert VALID.fullmatch(answer.headers["x-request-id"].encode())


@pytest.mark.parametrize("first", [False, True], ids=["plain first", "stream first"])
def test_the_same_question_again_is_an_exact_hit_in_either_form(
    hansom: Serving, first: bool
) -> None:
    client = hansom.client()
    question: list[ChatCompletionMessageParam] = [{"role": "user", "content": uuid.uuid4().hex}]

    def ask(stream: bool) -> tuple[str, str]:
        raw = client.chat.completions.with_raw_response.create(
            model="auto", messages=question, temperature=0, max_tokens=5, stream=stream
        )
        answer = raw.parse()
        if isinstance(answer, openai.Stream):
            parts = [one.choices[0].delta.content or "" for one in answer if one.choices]
            return raw.headers["x-hansom-cache"], "".join(parts)
        return raw.headers["x-hansom-cache"], answer.choices[0].message.content or ""

    assert ask(first) == ("miss", CABS)
    wait(lambda: ask(first)[0] == "exact", 10)  # the write is off the request's path
    assert ask(not first) == ("exact", CABS)
    assert ask(first) == ("exact", CABS)


def test_two_keys_never_share_an_answer(hansom: Serving) -> None:
    question: list[ChatCompletionMessageParam] = [{"role": "user", "content": uuid.uuid4().hex}]

    def ask(key: str) -> str:
        return hansom.client(key).chat.completions.with_raw_response.create(
            model="small", messages=question, temperature=0, max_tokens=5
        ).headers["x-hansom-cache"]  # fmt: skip

    assert ask("alice") == "miss"
    wait(lambda: ask("alice") == "exact", 10)
    assert ask("bob") == "miss"
