"""`litellm` with the provider `openai/` and Hansom as its base URL."""

from typing import Any

import pytest

from tests.deployments.serving import Serving

pytestmark = [pytest.mark.clients, pytest.mark.ray]

HELLO = [{"role": "user", "content": "Hello!"}]
CABS = " cab" * 5


def options(hansom: Serving, model: str = "auto", **changes: Any) -> dict[str, Any]:
    at = {"model": f"openai/{model}", "api_base": f"{hansom.url}/v1", "api_key": "test"}
    return at | {"max_tokens": 5, "max_retries": 0} | changes


def test_a_chat_is_answered_with_usage_and_headers(litellm: Any, hansom: Serving) -> None:
    found = litellm.completion(messages=HELLO, **options(hansom))
    assert found.choices[0].message.content == CABS
    assert found.choices[0].finish_reason == "stop"
    assert found.usage.completion_tokens == 5
    headers = found._hidden_params["additional_headers"]
    assert float(headers["llm_provider-x-hansom-cost-usd"]) > 0


def test_a_stream_adds_up(litellm: Any, hansom: Serving) -> None:
    chunks = [
        *litellm.completion(
            messages=HELLO, stream=True, stream_options={"include_usage": True}, **options(hansom)
        )
    ]
    whole = litellm.stream_chunk_builder(chunks, messages=HELLO)
    assert whole.choices[0].message.content == CABS
    assert whole.usage.completion_tokens == 5


async def test_an_async_call_is_answered(litellm: Any, hansom: Serving) -> None:
    found = await litellm.acompletion(messages=HELLO, **options(hansom))
    assert found.choices[0].message.content == CABS


def test_an_older_completion_is_answered(litellm: Any, hansom: Serving) -> None:
    found = litellm.text_completion(prompt="Hello", **options(hansom, "small"))
    assert found.choices[0].text == CABS


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_an_embedding_is_answered_with_any_encoding(
    litellm: Any, hansom: Serving, encoding: str | None
) -> None:
    asked = options(hansom, "all-MiniLM-L6-v2")
    del asked["max_tokens"]
    found = litellm.embedding(input=["a cab"], encoding_format=encoding, **asked)
    assert found.usage.prompt_tokens == 4
    assert len(found.data[0]["embedding"]) in (384, 384 * 4 * 4 // 3)


def test_errors_are_its_own(litellm: Any, hansom: Serving, poor_key: str) -> None:
    def ask(**changes: Any) -> None:
        litellm.completion(messages=HELLO, **options(hansom, **changes))

    with pytest.raises(litellm.BadRequestError):
        ask(temperature=9)
    with pytest.raises(litellm.NotFoundError):
        ask(model="gpt-4o")
    with pytest.raises(litellm.AuthenticationError):
        ask(api_key="hk-" + "x" * 43)
    with pytest.raises(litellm.RateLimitError):
        ask(api_key=poor_key)
