"""The request bodies: a wrong field is named, an unknown one is let through."""

from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming as TextParams
from openai.types.embedding_create_params import EmbeddingCreateParams
from pydantic import BaseModel

from core.call import Endpoint
from core.errors import BadRequest
from core.parameters import Parameters
from wire.requests import (
    MAX_CHOICES,
    MAX_SEQUENCES,
    ChatBody,
    CompletionBody,
    EmbeddingsBody,
    check,
    normal,
    parameters,
)

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
    *(
        (kind, raw | {name: value}, name)
        for kind, raw in ((ChatBody, CHAT), (CompletionBody, TEXT))
        for name, value in (
            *(("n", value) for value in (0, -1, True, 1.0, 1.5, "8", "", [1], {}, 129, 10**9, 1e9)),
            *(("max_tokens", value) for value in (-1, True, 8.0, "8", [8], 2**31, 10**20)),
            *(("temperature", value) for value in (True, "0", [0], -0.1)),
            *(("stream", value) for value in (1, 0, "true", "false")),
            ("tools", {"name": "f"}),
            ("user", 7),
        )
    ),
    (ChatBody, CHAT | {"max_completion_tokens": "8"}, "max_completion_tokens"),
    (ChatBody, CHAT | {"max_completion_tokens": False}, "max_completion_tokens"),
    (ChatBody, CHAT | {"logprobs": 1}, "logprobs"),
    (
        ChatBody,
        CHAT | {"stream_options": {"continuous_usage_stats": 1}},
        "stream_options.continuous_usage_stats",
    ),
    (CompletionBody, TEXT | {"logprobs": True}, "logprobs"),
    (CompletionBody, TEXT | {"echo": "no"}, "echo"),
    (CompletionBody, TEXT | {"best_of": "2"}, "best_of"),
    (CompletionBody, TEXT | {"prompt": []}, "prompt"),
    (CompletionBody, {"model": "auto"}, "prompt"),
    (EmbeddingsBody, {"model": "auto"}, "input"),
    (EmbeddingsBody, VECTOR | {"encoding_format": "int8"}, "encoding_format"),
]


@pytest.mark.parametrize(
    ("kind", "raw", "field"),
    WRONG,
    ids=[f"{w[0].__name__}-{w[2]}-{at}" for at, w in enumerate(WRONG)],
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
        (CompletionBody, TEXT | {"min_tokens": "3", "use_beam_search": 1}),
        (EmbeddingsBody, VECTOR | {"input": ["a", "b"], "dimensions": 384}),
    ],
)
def test_what_the_gateway_does_not_read_passes(kind: type[BaseModel], raw: object) -> None:
    check(kind, raw)


def of_chat(**fields: Any) -> Parameters:
    return parameters(Endpoint.CHAT, CHAT | fields)


def of_text(**fields: Any) -> Parameters:
    return parameters(Endpoint.COMPLETION, TEXT | fields)


def test_a_body_that_asks_for_nothing_asks_for_one_whole_answer() -> None:
    nulls = {"n": None, "max_tokens": None, "stream": None, "temperature": None, "tools": None}
    assert of_chat() == of_text() == of_chat(**nulls) == of_text(**nulls) == Parameters("auto")


@pytest.mark.parametrize(
    ("read", "fields", "expected"),
    [
        (of_chat, {"n": MAX_CHOICES}, {"choices": MAX_CHOICES}),
        (of_chat, {"max_tokens": 3}, {"max_output_tokens": 3}),
        (of_chat, {"max_tokens": 3, "max_completion_tokens": 9}, {"max_output_tokens": 9}),
        (of_chat, {"max_tokens": 9, "max_completion_tokens": 3}, {"max_output_tokens": 3}),
        (of_text, {"max_tokens": 9, "max_completion_tokens": 3}, {"max_output_tokens": 9}),
        (of_text, {"max_completion_tokens": 3}, {}),
        (of_text, {"max_tokens": 0, "echo": True}, {"max_output_tokens": 1, "echo": True}),
        (of_chat, {"logprobs": True}, {"logprobs": True}),
        (of_chat, {"logprobs": False}, {}),
        (of_text, {"logprobs": 0}, {"logprobs": True}),
        (of_chat, {"tools": []}, {}),
        (of_chat, {"tools": [{}]}, {"tools": True}),
        (of_chat, {"functions": [{}]}, {"tools": True}),
        (of_chat, {"temperature": 0}, {"temperature": 0}),
        (of_chat, {"user": "u-1"}, {"user": "u-1"}),
        (of_text, {"prompt": ["a"]}, {"prompts": 1}),
        (of_text, {"prompt": ["a", "b", "c"], "n": 2}, {"prompts": 3, "choices": 2}),
        (of_text, {"prompt": [1, 2, 3]}, {"prompts": 1}),
        (of_text, {"prompt": [[1, 2], [3]]}, {"prompts": 2}),
        (of_text, {"best_of": 1}, {}),
        (of_text, {"best_of": 4, "n": 4}, {"choices": 4}),
        (
            of_chat,
            {"stream": True, "stream_options": {"include_usage": True}},
            {"stream": True, "include_usage": True},
        ),
        (
            of_chat,
            {"stream": True, "stream_options": {"continuous_usage_stats": True}},
            {"stream": True, "usage_per_chunk": True},
        ),
    ],
)
def test_each_field_is_read_once_and_as_an_engine_reads_it(
    read: Any, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert read(**fields) == Parameters("auto", **expected)


def test_media_are_counted_wherever_they_stand() -> None:
    picture = {"type": "image_url", "image_url": {"url": "http://x/y.png"}}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "See"}, picture, picture]},
        {"role": "assistant", "content": "Well."},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}, {"text": "x"}]},
        {"role": "user", "content": [{"image_url": "http://x/y.png"}]},  # vLLM takes it so, too
    ]
    assert of_chat(messages=turns).media_parts == 4


def test_prompts_times_choices_are_bounded() -> None:
    most = MAX_SEQUENCES // MAX_CHOICES
    assert of_text(prompt=["a"] * most, n=MAX_CHOICES).sequences == MAX_SEQUENCES
    with pytest.raises(BadRequest, match="2,048 answers") as caught:
        of_text(prompt=["a"] * (most + 1), n=MAX_CHOICES)
    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"best_of": 4}, "best_of"),
        ({"best_of": 4, "n": 2}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 0, "echo": False}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_what_no_engine_would_do_as_it_is_asked_is_refused(
    fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        of_text(**fields)
    assert caught.value.param == field


KNOWN = (
    CompletionCreateParamsNonStreaming.__annotations__
    | TextParams.__annotations__
    | EmbeddingCreateParams.__annotations__
)
OPTIONAL = sorted({"a_field_of_next_year", *KNOWN} - CHAT.keys())


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_null_is_a_field_that_was_left_out(name: str) -> None:
    assert normal(CHAT | {name: None}) == CHAT


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"stream_options": {"include_usage": None}}, {}),
        ({"stream_options": {}}, {}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"strict": None}}},
            {"response_format": {"type": "json_schema", "json_schema": {}}},
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": None}}]},
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
        ),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]},
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "a": None}]}]},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        ),
        (
            {"messages": [{"role": "assistant", "content": "x", "refusal": None, "audio": None}]},
            {"messages": [{"role": "assistant", "content": "x"}]},
        ),
    ],
)
def test_a_null_inside_is_a_field_that_was_left_out(
    given: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert normal(CHAT | given) == CHAT | wanted


@pytest.mark.parametrize(
    "given",
    [
        {"response_format": {"json_schema": {"schema": {"enum": ["a", None], "default": None}}}},
        {"tools": [{"function": {"parameters": {"properties": {"x": {"const": None}}}}}]},
        {"structured_outputs": {"json": {"default": None}}},
        {"chat_template_kwargs": {"date": None}},
        {"stop": ["a", None]},
        {"metadata": {"a": None}},
    ],
)
def test_a_null_in_the_callers_own_json_stays(given: dict[str, Any]) -> None:
    assert normal(CHAT | given) == CHAT | given


def test_instructions_of_the_developer_reach_a_template_that_knows_system_only() -> None:
    turns = [{"role": "developer", "content": "Be brief."}, *TURN]
    assert normal(CHAT | {"messages": turns})["messages"] == [
        {"role": "system", "content": "Be brief."},
        *TURN,
    ]


def test_a_body_is_not_changed_by_reading_it_and_any_depth_is_borne() -> None:
    deep: Any = {"role": "user", "content": None}
    for _ in range(900):
        deep = [deep]
    body = CHAT | {"messages": [deep], "user": None}
    assert normal(body)["messages"] == [deep]
    assert body["user"] is None
