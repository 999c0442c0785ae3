"""What is wrong with a setting is said without a word of pydantic's own."""

import pytest
from pydantic_core import ErrorDetails, PydanticKnownError
from pydantic_core._pydantic_core import list_all_errors

from core.settings.allowed import allowed, plain

KINDS = [item for item in list_all_errors() if item["type"] != "custom"]
IDIOMS = ("Input", "a valid ", "Field required", "type=", "further information", "pydantic", "{")


@pytest.mark.parametrize("item", KINDS, ids=lambda item: str(item["type"]))
def test_no_kind_of_error_shows_an_idiom(item: ErrorDetails) -> None:
    context = item.get("example_context") or {}
    error = PydanticKnownError(item["type"], context or None)  # type: ignore[arg-type]  # any kind
    words = allowed(
        {"type": item["type"], "loc": (), "msg": error.message(), "input": 0, "ctx": context}
    )
    assert words and [idiom for idiom in IDIOMS if idiom in words] == []


@pytest.mark.parametrize(
    ("kind", "context", "words"),
    [
        ("greater_than_equal", {"ge": 1.0}, "must be 1 or more"),
        ("less_than", {"lt": 0.5}, "must be below 0.5"),
        ("literal_error", {"expected": "'a' or 'b'"}, "must be 'a' or 'b'"),
        ("value_error", {"error": ValueError("min must not be above max")}, "min must not be abo"),
    ],
)
def test_bounds_and_own_checks_are_told(kind: str, context: dict[str, object], words: str) -> None:
    item: ErrorDetails = {"type": kind, "loc": (), "msg": "", "input": 0, "ctx": context}
    assert allowed(item).startswith(words)


def test_an_unknown_kind_keeps_its_meaning() -> None:
    assert plain("Input should be a valid URL, no host") == "must be a URL, no host"
