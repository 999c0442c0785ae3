from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

from wire.whole import DONE, assemble, replay

TEXT = st.text(min_size=1, max_size=40)
ENTRY = st.fixed_dictionaries(
    {"token": TEXT, "logprob": st.floats(-9, 0), "bytes": st.none(), "top_logprobs": st.just([])}
)
CALL = st.fixed_dictionaries(
    {
        "id": TEXT,
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": TEXT, "arguments": st.text(max_size=60)}),
    }
)
REASONING = st.sampled_from(["reasoning", "reasoning_content", "refusal"])


@st.composite
def chat_choices(draw: st.DrawFn, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | TEXT)}
    if draw(st.booleans()):
        message[draw(REASONING)] = draw(TEXT)
    if calls := draw(st.lists(CALL, max_size=3)):
        message["tool_calls"] = calls
    if len(message) == 2 and message["content"] is None:
        message["content"] = ""
    logprobs = draw(st.none() | st.fixed_dictionaries({"content": st.lists(ENTRY, max_size=9)}))
    choice: dict[str, Any] = {"index": index, "message": message, "logprobs": logprobs}
    choice["finish_reason"] = draw(st.sampled_from(["stop", "length", "tool_calls"]))
    if draw(st.booleans()):
        choice["stop_reason"] = draw(st.integers(0, 9) | TEXT)
    if draw(st.booleans()):
        choice["token_ids"] = draw(st.lists(st.integers(0, 99), max_size=9))
    return choice


@st.composite
def text_choices(draw: st.DrawFn, index: int) -> dict[str, Any]:
    tokens = draw(st.lists(TEXT, max_size=9))
    logprobs = {
        "tokens": tokens,
        "token_logprobs": [-0.5] * len(tokens),
        "text_offset": list(range(len(tokens))),
        "top_logprobs": None,
    }
    return {
        "index": index,
        "text": draw(st.text(max_size=90)),
        "logprobs": draw(st.none() | st.just(logprobs)),
        "finish_reason": draw(st.sampled_from(["stop", "length"])),
    }


@st.composite
def responses(draw: st.DrawFn) -> dict[str, Any]:
    chat = draw(st.booleans())
    kind = chat_choices if chat else text_choices
    response = {
        "id": draw(TEXT),
        "object": "chat.completion" if chat else "text_completion",
        "created": 1_700_000_000,
        "model": draw(TEXT),
        "choices": [draw(kind(at)) for at in range(draw(st.integers(1, 3)))],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }
    if draw(st.booleans()):
        response["system_fingerprint"] = "fp"
    return response


def chunks(events: list[bytes]) -> list[dict[str, Any]]:
    assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in events)
    assert events[-1] == DONE
    return [orjson.loads(event[6:]) for event in events[:-1]]


@given(responses(), st.integers(1, 50))
def test_a_replayed_answer_is_the_answer(response: dict[str, Any], piece_chars: int) -> None:
    events = list(replay(response, include_usage=True, piece_chars=piece_chars))
    assert assemble(events) == response
    assert assemble([b"".join(events)]) == response


@given(responses())
def test_the_openai_client_can_read_every_chunk(response: dict[str, Any]) -> None:
    kind = ChatCompletionChunk if response["object"] == "chat.completion" else Completion
    for chunk in chunks(list(replay(response, include_usage=True))):
        kind.model_validate(chunk)


def chat(content: str, **message: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"total_tokens": 5},
    }


def test_a_stream_begins_with_the_role_and_ends_with_the_reason() -> None:
    found = chunks(list(replay(chat("abcdef"), include_usage=False, piece_chars=4)))
    assert [chunk["choices"][0]["delta"] for chunk in found] == [
        {"role": "assistant", "content": ""},
        {"content": "abcd"},
        {"content": "ef"},
        {},
    ]
    assert found[-1]["choices"][0]["finish_reason"] == "stop"
    assert {chunk["object"] for chunk in found} == {"chat.completion.chunk"}
    assert {chunk["id"] for chunk in found} == {"c1"}


def test_usage_comes_only_when_asked_for_and_in_a_chunk_of_its_own() -> None:
    assert not any("usage" in chunk for chunk in chunks([*replay(chat("a"), include_usage=False)]))
    last = chunks(list(replay(chat("a"), include_usage=True)))[-1]
    assert (last["choices"], last["usage"]) == ([], {"total_tokens": 5})


def test_tool_calls_in_pieces_are_put_together_by_index() -> None:
    def delta(**fields: Any) -> bytes:
        choice = {"index": 0, "delta": fields, "finish_reason": fields.pop("end", None)}
        chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    def call(index: int, **fields: Any) -> bytes:
        return delta(tool_calls=[{"index": index, **fields}])

    found = assemble(
        [
            delta(role="assistant", content=""),
            call(1, id="b", type="function", function={"name": "g", "arguments": ""}),
            call(0, id="a", type="function", function={"name": "f"}),
            call(1, function={"arguments": '{"x":'}),
            call(0, function={"arguments": "{}"}),
            call(1, function={"arguments": "1}"}),
            delta(end="tool_calls"),
            DONE,
        ]
    )
    assert found["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"x":1}'}},
        ],
    }
    assert found["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    "events",
    [
        [],
        list(replay(chat("cut"), include_usage=True))[:-1],
        [b'data: {"error": {"message": "out of memory"}}\n\n', DONE],
        [b"data: {not json}\n\n", DONE],
        [b"data: 7\n\n", DONE],
        [b'data: {"choices": [{}]}\n\n', DONE],
    ],
)
def test_a_stream_that_failed_or_was_cut_is_no_answer(events: list[bytes]) -> None:
    with pytest.raises(ValueError):
        assemble(events)


def test_comments_that_keep_a_connection_alive_are_passed_over() -> None:
    events = [b": ping\n\n", *replay(chat("a"), include_usage=True)]
    assert assemble(events) == chat("a")


@pytest.mark.parametrize(
    "response",
    [
        {"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "a" * 300}}]},
        {"object": "text_completion", "choices": [{"index": 0, "text": "a" * 300}]},
    ],
)
def test_every_chunk_has_the_fields_that_typed_clients_demand(response: dict[str, Any]) -> None:
    response["choices"][0]["finish_reason"] = "stop"
    *events, _ = replay(response, include_usage=False)
    choices = [orjson.loads(event.removeprefix(b"data: "))["choices"][0] for event in events]
    assert [choice["finish_reason"] for choice in choices] == [*[None] * (len(choices) - 1), "stop"]
    assert all("logprobs" in choice for choice in choices)
