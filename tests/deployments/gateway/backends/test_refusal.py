"""An engine's refusal is known by its status, `param` and `code`, whatever its words are."""

from typing import Any

import orjson
import pytest

from core.errors import (
    BadRequest,
    ContextTooLong,
    EngineFailed,
    HansomError,
    NotSupported,
    Unavailable,
)
from deployments.gateway.backends.refusal import read, refused_by_all


def told(status: int, **error: Any) -> HansomError:
    return read(status, orjson.dumps({"error": {"message": "nein"} | error}), "small")


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"param": "input_tokens"}, ContextTooLong),
        (400, {"param": "input_text"}, ContextTooLong),
        (400, {"code": "context_length_exceeded"}, ContextTooLong),
        (400, {"param": "seed"}, BadRequest),
        (400, {"message": "This model's maximum context length is 9 tokens"}, BadRequest),
        (422, {}, BadRequest),
        (429, {}, Unavailable),
        (503, {}, Unavailable),
        (500, {}, EngineFailed),
    ],
)
def test_the_kind_is_not_read_from_the_words(
    status: int, error: dict[str, Any], kind: type[HansomError]
) -> None:
    assert type(told(status, **error)) is kind


def test_the_engines_words_and_field_are_passed_on() -> None:
    error = told(400, param="seed")
    assert (error.message, error.param) == ("nein", "seed")
    assert told(400, param=["a"]).param is None


@pytest.mark.parametrize("raw", [b"", b"oops", b"[]", b'{"error": "oops"}', b'{"error": null}'])
def test_a_body_of_another_form_is_a_refusal_too(raw: bytes) -> None:
    error = read(400, raw, "small")
    assert type(error) is BadRequest
    assert error.message


def test_one_refusal_is_told_as_it_is_and_several_with_their_tiers() -> None:
    long = ContextTooLong("9 tokens", param="messages", code="context_length_exceeded")
    tools = NotSupported("no parser", param="tools", code="not_supported")
    assert refused_by_all({"small": long}) is long
    both = refused_by_all({"small": long, "large": tools})
    assert (type(both), both.code) == (NotSupported, "not_supported")
    assert both.message == "No tier can answer this request. small: 9 tokens large: no parser"
    again = refused_by_all({"small": long, "large": long})
    assert (type(again), again.code) == (ContextTooLong, "context_length_exceeded")
