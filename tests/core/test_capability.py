"""What a request needs is read without its tokenizer, and what is not known is never lacking."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.call import Endpoint
from core.capability import (
    UNKNOWN,
    Capabilities,
    Lack,
    Needs,
    lacks,
    needs_of,
    not_supported,
)
from core.errors import ContextTooLong, NotSupported

TOOL = {"type": "function", "function": {"name": "f"}}
NOTHING = Capabilities(False, False, False, False, False, 0, 1, 1)


def chat(**body: Any) -> Needs:
    messages = [{"role": "user", "content": "Hello there"}]
    return needs_of(Endpoint.CHAT, {"messages": messages} | body)


def parts(*content: object) -> Needs:
    return chat(messages=[{"role": "user", "content": list(content)}])


@pytest.mark.parametrize(
    ("body", "tools"),
    [
        ({"tools": [TOOL]}, True),
        ({"tools": [TOOL], "tool_choice": "required"}, True),
        ({"tools": [TOOL], "tool_choice": "none"}, False),
        ({"tools": []}, False),
        ({"tools": None}, False),
        ({}, False),
    ],
)
def test_tools_are_needed_where_they_may_be_called(body: dict[str, Any], tools: bool) -> None:
    assert chat(**body).tools is tools


@pytest.mark.parametrize(
    ("body", "structured"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, True),
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "text"}}, False),
        ({"response_format": None}, False),
        ({"response_format": "json"}, False),
        ({"structured_outputs": {"regex": "a+"}}, True),
        ({}, False),
    ],
)
def test_structured_output_is_needed_where_a_form_is_asked_for(
    body: dict[str, Any], structured: bool
) -> None:
    assert chat(**body).structured_output is structured
    assert needs_of(Endpoint.COMPLETION, {"prompt": "Hi"} | body).structured_output is structured


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "data:,"}}, "vision"),
        ({"image_url": {"url": "data:,"}}, "vision"),
        ({"type": "input_image", "image_url": "data:,"}, "vision"),
        ({"type": "image_embeds", "image_embeds": ""}, "vision"),
        ({"type": "input_audio", "input_audio": {}}, "audio"),
        ({"type": "audio_url", "audio_url": {}}, "audio"),
        ({"type": "video_url", "video_url": {}}, "video"),
    ],
)
def test_a_part_that_is_no_text_needs_its_input(part: dict[str, Any], kind: str) -> None:
    needs = parts({"type": "text", "text": "What is this image of a video?"}, part)
    assert {name for name in ("vision", "audio", "video") if getattr(needs, name)} == {kind}


def test_words_are_the_fewest_tokens_that_a_prompt_can_have() -> None:
    assert chat().prompt_tokens == 2
    assert parts({"type": "text", "text": "one two  three\n"}, {"type": "text"}).prompt_tokens == 3
    completion = {
        "one two three": 3,
        ("one two", "three"): 2,
        (1, 2, 3, 4): 4,
        ((1, 2), (3, 4, 5)): 3,
        (): 0,
    }
    for prompt, tokens in completion.items():
        given: Any = prompt
        if isinstance(prompt, tuple):
            given = [list(one) if isinstance(one, tuple) else one for one in prompt]
        assert needs_of(Endpoint.COMPLETION, {"prompt": given}).prompt_tokens == tokens


def test_a_prompt_that_is_cut_is_never_too_long() -> None:
    assert chat(truncate_prompt_tokens=1).prompt_tokens == 0


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7, "max_tokens": 5}, 7),
        ({"max_completion_tokens": None, "max_tokens": 5}, 5),
        ({"max_tokens": True}, 0),
        ({}, 0),
    ],
)
def test_the_newer_limit_outweighs_the_older(body: dict[str, Any], tokens: int) -> None:
    assert chat(**body).output_tokens == tokens


def test_log_probabilities_are_counted_as_each_endpoint_asks_for_them() -> None:
    assert chat(logprobs=True, top_logprobs=5).logprobs == 5
    assert chat(top_logprobs=5).logprobs == 0
    assert chat(logprobs=True).logprobs == 0
    assert needs_of(Endpoint.COMPLETION, {"prompt": "a", "logprobs": 3}).logprobs == 3
    assert chat(prompt_logprobs=9).logprobs == 9


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = (
    "messages", "prompt", "tools", "tool_choice", "response_format", "logprobs", "max_tokens",
    "top_logprobs", "structured_outputs", "max_completion_tokens",
)  # fmt: skip


@given(st.sampled_from(Endpoint), st.dictionaries(st.sampled_from(NAMES), json))
def test_no_body_breaks_the_reading(endpoint: Endpoint, body: dict[str, Any]) -> None:
    needs = needs_of(endpoint, body)
    assert needs.prompt_tokens >= 0
    assert needs.output_tokens >= 0
    assert not lacks(needs, UNKNOWN)


def test_what_is_lacking_is_told_in_words_with_its_numbers() -> None:
    needs = Needs(tools=True, vision=True, logprobs=5, prompt_tokens=1000, output_tokens=2000)
    can = Capabilities(tools=False, vision=True, logprobs=2, context_tokens=1024, output_tokens=512)
    assert lacks(needs, can) == {
        Lack.TOOLS: "no tool calls",
        Lack.LOGPROBS: "2 log-probabilities a token at most, where 5 are wanted",
        Lack.OUTPUT: "an output limit of 512 tokens, where 2,000 are asked for",
        Lack.CONTEXT: "a context of 1,024 tokens, where at least 3,000 are needed",
    }
    assert len(lacks(Needs(True, True, True, True, True, 1, 1, 2), NOTHING)) == len(Lack)


@pytest.mark.parametrize(
    ("prompt", "output", "fits"),
    [(24, 1000, True), (25, 1000, False), (1023, 0, True), (1024, 0, False)],
)
def test_prompt_and_answer_may_fill_the_context(prompt: int, output: int, fits: bool) -> None:
    needs = Needs(prompt_tokens=prompt, output_tokens=output)
    assert (not lacks(needs, Capabilities(context_tokens=1024))) is fits


def test_what_is_not_known_is_taken_from_the_other() -> None:
    stated, told = Capabilities(tools=False), Capabilities(tools=True, context_tokens=8)
    assert stated.over(told) == Capabilities(tools=False, context_tokens=8)
    assert UNKNOWN.over(told) == told


def test_a_context_that_is_too_small_has_openais_code() -> None:
    error = not_supported("too long", [Lack.CONTEXT])
    assert isinstance(error, ContextTooLong)
    assert (error.code, error.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("lacking", "param"),
    [
        ([Lack.CONTEXT, Lack.TOOLS], "tools"),
        ([Lack.STRUCTURED_OUTPUT], "response_format"),
        ([Lack.VISION], "messages"),
        ([Lack.OUTPUT], "max_tokens"),
        ([Lack.LOGPROBS], "top_logprobs"),
    ],
)
def test_anything_else_names_the_field_that_asks_for_it(lacking: list[Lack], param: str) -> None:
    error = not_supported("cannot", lacking)
    assert isinstance(error, NotSupported)
    assert (error.code, error.param) == ("not_supported", param)
