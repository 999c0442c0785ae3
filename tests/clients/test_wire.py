"""What official clients read off the wire: the shapes, and what they send without being asked."""

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.deployments.serving import Serving

pytestmark = [pytest.mark.clients, pytest.mark.ray]

BODY: dict[str, Any] = {
    "model": "small",
    "messages": [{"role": "user", "content": "Hello!"}],
    "max_tokens": 3,
}
NULLS = dict.fromkeys(
    ("stream", "stream_options", "tools", "tool_choice", "user", "n", "stop", "temperature"), None
)


def post(hansom: Serving, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{hansom.url}/v1/{path}", json=body, timeout=60)


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """A stream's events; it ends as OpenAI's does."""
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *parts, last, end = answer.content.split(b"\n\n")
    assert (last, end) == (b"data: [DONE]", b"")
    return [json.loads(part.removeprefix(b"data: ")) for part in parts]


def test_a_chat_has_openais_fields(hansom: Serving) -> None:
    answer = post(hansom, "chat/completions", **BODY)
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert (body["object"], body["model"]) == ("chat.completion", "simulated-small")
    assert body["id"] and body["created"] > 1_700_000_000
    (choice,) = body["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert choice["message"]["role"] == "assistant"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("usage", [True, False, None])
def test_a_stream_has_openais_events(hansom: Serving, usage: bool | None) -> None:
    options = {"stream_options": {"include_usage": usage}}
    found = events(post(hansom, "chat/completions", **BODY, stream=True, **options))
    assert {event["object"] for event in found} == {"chat.completion.chunk"}
    assert len({event["id"] for event in found}) == 1
    if usage:
        *found, last = found
        assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 3)
    assert all(event.get("usage") is None for event in found)
    choices = [choice for event in found for choice in event["choices"]]
    assert len(choices) == len(found), "no event without a choice but that of the usage"
    assert [choice["delta"].get("role") for choice in choices] == ["assistant", *[None] * 3]
    reasons = [choice["finish_reason"] for choice in choices]
    assert reasons == [*[None] * 3, "stop"]


def test_a_stored_answer_is_streamed_with_the_same_events(hansom: Serving) -> None:
    asked = BODY | {"messages": [{"role": "user", "content": uuid.uuid4().hex}], "temperature": 0}
    post(hansom, "chat/completions", **asked)
    for _ in range(50):
        answer = post(hansom, "chat/completions", **asked, stream=True)
        if answer.headers["x-hansom-cache"] == "exact":
            break
    assert answer.headers["x-hansom-cache"] == "exact"
    choices = [choice for event in events(answer) for choice in event["choices"]]
    roles = [choice["delta"].get("role") for choice in choices]
    assert roles[0] == "assistant" and set(roles[1:]) == {None}
    reasons = [choice["finish_reason"] for choice in choices]
    assert reasons == [*[None] * (len(reasons) - 1), "stop"]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == " cab" * 3


def test_requests_that_differ_by_nulls_share_an_answer(hansom: Serving) -> None:
    asked = BODY | {"messages": [{"role": "user", "content": uuid.uuid4().hex}]}
    plain = asked | {"temperature": 0}
    nulls = asked | NULLS | {"temperature": 0, "messages": [asked["messages"][0] | {"name": None}]}
    assert post(hansom, "chat/completions", **nulls).headers["x-hansom-cache"] == "miss"
    for _ in range(50):
        answer = post(hansom, "chat/completions", **plain)
        if answer.headers["x-hansom-cache"] == "exact":
            return
    raise AssertionError("a null is another request to the cache")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", BODY | NULLS),
        ("completions", {"model": "small", "prompt": "Hello", "max_tokens": 3} | NULLS),
        (
            "embeddings",
            {"model": "all-MiniLM-L6-v2", "input": "Hello", "encoding_format": None,
             "dimensions": None, "user": None},
        ),
    ],
)  # fmt: skip
def test_nulls_are_served(hansom: Serving, path: str, body: dict[str, Any]) -> None:
    assert post(hansom, path, **body).status_code == 200


def test_an_embedding_that_was_cut_says_so(hansom: Serving) -> None:
    texts = ["a cab", "cab " * 400]
    answer = post(hansom, "embeddings", model="all-MiniLM-L6-v2", input=texts)
    body = answer.json()
    assert body["hansom"]["tokens"] == [4, 256]
    assert body["hansom"]["truncated"] == [1]
    assert answer.headers["x-hansom-truncated"] == "1"
    assert body["usage"] == {"prompt_tokens": 260, "total_tokens": 260}


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbf", b""], ids=["with a byte order mark", "without"])
def test_a_body_may_begin_with_a_byte_order_mark(hansom: Serving, raw: bytes) -> None:
    """Some .NET clients send one."""
    sent = {"content-type": "application/json; charset=utf-8"}
    url = f"{hansom.url}/v1/chat/completions"
    assert httpx.post(url, content=raw + json.dumps(BODY).encode(), headers=sent).is_success


def test_a_body_may_come_in_chunks(hansom: Serving) -> None:
    raw = json.dumps(BODY).encode()
    sent = {"content-type": "application/json"}
    url = f"{hansom.url}/v1/chat/completions"
    assert httpx.post(url, content=iter([raw[:9], raw[9:]]), headers=sent).is_success


@pytest.mark.parametrize("path", ["chat/nothing", "responses"])
def test_a_path_that_is_not_there_is_an_error_in_openais_form(hansom: Serving, path: str) -> None:
    answer = post(hansom, path, model="small")
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
