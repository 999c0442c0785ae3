from typing import Any

import pytest

from cache.exact.eligible import (
    AnswerFacts,
    Directives,
    Eligibility,
    directives,
    eligible,
    storable,
)
from core.call import Endpoint
from core.errors import BadRequest
from core.parameters import Parameters
from core.settings.cache import CacheRules
from wire.requests import parameters

ZERO: dict[str, Any] = {"temperature": 0}


def asked(**fields: Any) -> Parameters:
    """A chat with these fields, as it is read from the wire."""
    turns = [{"role": "user", "content": "Hello"}]
    return parameters(Endpoint.CHAT, {"model": "auto", "messages": turns} | fields)


TOOLS = [{"type": "function", "function": {"name": "now"}}]


@pytest.mark.parametrize(
    "body", [ZERO, {"temperature": 0.0, "n": 1}, {"temperature": 0, "n": None}]
)
def test_a_deterministic_request_uses_the_cache(body: dict[str, Any]) -> None:
    assert eligible(asked(**body), Directives()) == Eligibility(True, True, "deterministic")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "not deterministic"),
        ({"temperature": None}, "not deterministic"),
        ({"temperature": 0.2}, "not deterministic"),
        (ZERO | {"n": 2}, "several choices"),
    ],
)
def test_others_only_when_they_opt_in(body: dict[str, Any], reason: str) -> None:
    assert eligible(asked(**body), Directives()) == Eligibility(False, False, reason)
    assert eligible(asked(**body), Directives(opted=True)) == Eligibility(True, True, "opted in")


@pytest.mark.parametrize("body", [ZERO | {"tools": TOOLS}, ZERO | {"functions": TOOLS}])
def test_tools_only_where_the_settings_allow_them(body: dict[str, Any]) -> None:
    refused = Eligibility(False, False, "tools")
    assert eligible(asked(**body), Directives()) == refused
    assert eligible(asked(**body), Directives(opted=True)) == refused
    assert eligible(asked(**body), Directives(), CacheRules(tool_calls=True)).lookup


def test_a_class_that_allows_sampled_answers_needs_no_opt_in() -> None:
    assert eligible(asked(), Directives(), CacheRules(sampled=True)) == Eligibility(
        True, True, "sampled"
    )
    assert not eligible(asked(n=2), Directives(), CacheRules(sampled=True)).lookup


def test_what_is_switched_off_stays_off() -> None:
    off = CacheRules(exact=False)
    assert eligible(asked(**ZERO), Directives(opted=True), off).reason == "switched off"


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("max-age=60", Directives(max_age_s=60)),
        ("max-age=60, max-age=5", Directives(max_age_s=5)),
        ("max-age=0", Directives(no_cache=True)),
        ("max-age=soon", Directives(no_cache=True)),
        ("max-age=-5", Directives(no_cache=True)),
        ("public", Directives()),
    ],
)
def test_the_age_that_a_caller_accepts(header: str, wanted: Directives) -> None:
    assert directives({"cache-control": header}) == wanted


def test_off_and_no_store_outweigh_everything() -> None:
    assert eligible(asked(**ZERO), Directives(opted=False)).reason == "opted out"
    assert eligible(asked(**ZERO), Directives(opted=True, no_store=True)).reason == "no-store"


def test_no_cache_asks_for_a_fresh_answer_that_may_be_kept() -> None:
    assert eligible(asked(**ZERO), Directives(no_cache=True)) == Eligibility(
        False, True, "no-cache"
    )
    assert not eligible(asked(), Directives(no_cache=True)).store


def test_a_stream_with_usage_in_every_chunk_is_not_replayed() -> None:
    body = ZERO | {"stream": True, "stream_options": {"continuous_usage_stats": True}}
    assert eligible(asked(**body), Directives()) == Eligibility(False, True, "usage per chunk")


def test_headers_are_read_leniently_but_a_mistyped_wish_is_refused() -> None:
    assert directives({}) == Directives()
    assert directives({"x-hansom-cache": " ON "}) == Directives(opted=True)
    assert directives({"x-hansom-cache": "off"}) == Directives(opted=False)
    found = directives({"cache-control": "max-age=0, No-Cache,no-store"})
    assert found == Directives(no_cache=True, no_store=True)
    with pytest.raises(BadRequest, match="x-hansom-cache"):
        directives({"x-hansom-cache": "of"})


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (AnswerFacts(200, ["stop"], 10), "complete"),
        (AnswerFacts(200, ["length", "tool_calls"], 100), "complete"),
        (AnswerFacts(200, ["stop"], 101), "too large"),
        (AnswerFacts(200, [None], 10), "not complete"),
        (AnswerFacts(200, ["stop", "abort"], 10), "not complete"),
        (AnswerFacts(200, [], 10), "not complete"),
        (AnswerFacts(500, ["stop"], 10), "not a success"),
    ],
)
def test_only_complete_answers_of_a_fair_size_are_kept(facts: AnswerFacts, reason: str) -> None:
    found = storable(facts, max_bytes=100)
    assert (found.store, found.reason) == (reason == "complete", reason)
