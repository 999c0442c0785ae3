"""The official `openai` client, sync and async (also tests/live/test_openai_client.py)."""

import time

import openai
import pytest

from tests.deployments.serving import Serving, wait

pytestmark = [pytest.mark.clients, pytest.mark.ray]

HELLO = [{"role": "user", "content": "Hello!"}]
CABS = " cab" * 5


def asynchronous(hansom: Serving, key: str = "test", **options: object) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{hansom.url}/v1", api_key=key, max_retries=0, **options)


async def test_the_async_client_is_answered_plain_and_streamed(hansom: Serving) -> None:
    async with asynchronous(hansom) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="auto", messages=HELLO, max_tokens=5
        )
        assert raw.parse().choices[0].message.content == CABS
        assert float(raw.headers["x-hansom-cost-usd"]) > 0
        stream = await client.chat.completions.create(
            model="small", messages=HELLO, max_tokens=5, stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(pieces) == CABS


async def test_the_stream_helper_adds_up_to_the_whole_answer(hansom: Serving) -> None:
    async with (
        asynchronous(hansom) as client,
        client.chat.completions.stream(
            model="small",
            messages=HELLO,
            max_tokens=5,
            stream_options={"include_usage": True},
        ) as stream,
    ):
        found = await stream.get_final_completion()
    assert found.choices[0].message.content == CABS
    assert found.choices[0].finish_reason == "stop"
    assert found.usage is not None and found.usage.completion_tokens == 5


def test_messages_of_an_answer_go_back_as_they_were_dumped(hansom: Serving) -> None:
    """With all the nulls that the client's own model has."""
    client = hansom.client()
    first = client.chat.completions.create(model="small", messages=HELLO, max_tokens=5)
    turns = [*HELLO, first.choices[0].message.model_dump(), *HELLO]
    again = client.chat.completions.create(model="small", messages=turns, max_tokens=5)
    assert again.choices[0].message.content == CABS


def test_models_are_listed_and_retrieved(hansom: Serving) -> None:
    client = hansom.client()
    for model in client.models.list():
        assert client.models.retrieve(model.id).id == model.id
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


def test_an_embedding_of_tokens_is_that_of_their_text(hansom: Serving) -> None:
    client = hansom.client()
    both = client.embeddings.create(model="all-MiniLM-L6-v2", input=[[9906, 1917], [9906]])
    text = client.embeddings.create(model="all-MiniLM-L6-v2", input="Hello world")
    assert both.data[0].embedding == text.data[0].embedding
    assert (text.model_extra or {})["hansom"]["truncated"] == []
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        client.embeddings.create(model="all-MiniLM-L6-v2", input=[200_000])


def test_errors_are_the_clients_own(hansom: Serving, poor_key: str) -> None:
    def ask(key: str = "test", **changes: object) -> None:
        asked = {"model": "small", "messages": HELLO, "max_tokens": 2} | changes
        hansom.client(key).chat.completions.create(**asked)

    with pytest.raises(openai.BadRequestError) as bad:
        ask(temperature=9)
    assert (bad.value.param, bad.value.type) == ("temperature", "invalid_request_error")
    with pytest.raises(openai.AuthenticationError) as unknown:
        ask("hk-" + "x" * 43)
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as missing:
        ask(model="gpt-4o")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.RateLimitError) as limited:
        ask(poor_key)
    assert 0 < int(limited.value.response.headers["retry-after"]) <= 86_400
    for error in (bad, unknown, missing, limited):
        assert error.value.request_id


def test_a_timeout_is_the_clients_and_ends_the_work(hansom: Serving) -> None:
    client = hansom.client(timeout=0.5)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="large", messages=HELLO, max_tokens=200)
    assert_idle(hansom)


async def test_a_stream_that_is_left_ends_the_work(hansom: Serving) -> None:
    async with asynchronous(hansom) as client:
        stream = await client.chat.completions.create(
            model="large", messages=HELLO, max_tokens=1000, stream=True
        )
        started_s = time.monotonic()
        async for _ in stream:
            break
        await stream.close()
    assert time.monotonic() - started_s < 10, "closed before its 30 seconds are over"
    assert_idle(hansom)


def assert_idle(hansom: Serving) -> None:
    """The engine runs nothing, long before what was asked would have ended."""
    wait(lambda: not hansom.metric("hansom_simulated_running_requests", app="tier-large"), 4)
