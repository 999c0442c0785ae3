"""The request bodies: a wrong field is named, an unknown one is let through."""

from typing import Any

import pytest
from pydantic import BaseModel

from core.errors import BadRequest
from core.wire import ChatBody, CompletionBody, EmbeddingsBody, check

TURN = [{"role": "user", "content": "Hello"}]
CHAT: dict[str, Any] = {"model": "auto", "messages": TURN}
TEXT: dict[str, Any] = {"model": "auto", "prompt": "Hello"}
VECTOR: dict[str, Any] = {"model": "auto", "input": "Hello"}

WRONG = [
    (ChatBody, {"messages": TURN}, "model"),
    (ChatBody, CHAT | {"model": ""}, "model"),
    (ChatBody, CHAT | {"model": 3}, "model"),
    (ChatBody, {"model": "auto"}, "messages"),
    (ChatBody, CHAT | {"messages": []}, "messages"),
    (ChatBody, CHAT | {"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
    (ChatBody, CHAT | {"temperature": 3}, "temperature"),
    (ChatBody, CHAT | {"temperature": "hot"}, "temperature"),
    (ChatBody, CHAT | {"top_p": 0}, "top_p"),
    (ChatBody, CHAT | {"n": 0}, "n"),
    (ChatBody, CHAT | {"max_tokens": 0}, "max_tokens"),
    (ChatBody, CHAT | {"max_completion_tokens": -1}, "max_completion_tokens"),
    (ChatBody, CHAT | {"stream": "yes please"}, "stream"),
    (ChatBody, CHAT | {"stream_options": {"include_usage": 7}}, "stream_options.include_usage"),
    (CompletionBody, {"model": "auto"}, "prompt"),
    (EmbeddingsBody, {"model": "auto"}, "input"),
    (EmbeddingsBody, VECTOR | {"encoding_format": "int8"}, "encoding_format"),
]


@pytest.mark.parametrize(
    ("kind", "raw", "field"), WRONG, ids=[f"{w[0].__name__}-{w[2]}" for w in WRONG]
)
def test_a_wrong_field_is_named(kind: type[BaseModel], raw: object, field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check(kind, raw)
    assert caught.value.param == field
    assert caught.value.message.startswith(f"`{field}`: ")


@pytest.mark.parametrize("raw", [None, [], "text", 3, [CHAT]])
def test_a_body_that_is_no_object_is_refused(raw: object) -> None:
    with pytest.raises(BadRequest, match="must be a JSON object"):
        check(ChatBody, raw)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (ChatBody, CHAT | {"chat_template_kwargs": {"thinking": False}, "guided_json": "{}"}),
        (ChatBody, CHAT | {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}),
        (ChatBody, CHAT | {"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
        (ChatBody, CHAT | {"temperature": None, "n": None, "stream": None}),
        (CompletionBody, TEXT | {"prompt": [[1, 2], [3]]}),
        (CompletionBody, TEXT | {"prompt": ["a", "b"], "best_of": 2}),
        (EmbeddingsBody, VECTOR | {"input": ["a", "b"], "dimensions": 384}),
    ],
)
def test_what_the_gateway_does_not_read_passes(kind: type[BaseModel], raw: object) -> None:
    check(kind, raw)
