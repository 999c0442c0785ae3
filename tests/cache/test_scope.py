"""The scope: whatever else than the last words differs keeps answers apart."""

from typing import Any

import pytest

from cache.exact.key import exact_key
from cache.scope import Scope, scope

BODY: dict[str, Any] = {
    "model": "m1",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How old is he?"},
    ],
    "temperature": 0,
}


def of(body: dict[str, Any], tenant: str = "t1", policy: str = "p1") -> Scope | None:
    return scope(body, endpoint="chat/completions", tenant=tenant, policy_version=policy)


def asking(text: object) -> dict[str, Any]:
    return {**BODY, "messages": [BODY["messages"][0], {"role": "user", "content": text}]}


def test_other_words_share_the_scope():
    one, other = of(BODY), of(asking("What is his age?"))
    assert one and other
    assert one.key == other.key
    assert (one.text, other.text) == ("How old is he?", "What is his age?")


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "m2"},
        {"messages": BODY["messages"][1:]},
        {"messages": [{"role": "system", "content": "Be long."}, BODY["messages"][1]]},
        {
            "messages": [
                *BODY["messages"],
                {"role": "assistant", "content": "ok"},
                BODY["messages"][1],
            ]
        },
        {"tools": [{"type": "function", "function": {"name": "search"}}]},
        {"response_format": {"type": "json_object"}},
        {"max_tokens": 16},
        {"stop": ["."]},
        {"logprobs": True},
        {"temperature": 0.5},
        {"a_field_of_next_year": 1},
    ],
)
def test_anything_else_parts_it(changed: dict[str, Any]):
    one, other = of(BODY), of({**BODY, **changed})
    assert one and other
    assert one.key != other.key


def test_tenants_and_policies_are_apart():
    keys = {
        found.key for found in (of(BODY), of(BODY, tenant="t2"), of(BODY, policy="p2")) if found
    }
    assert len(keys) == 3


def test_a_scope_is_no_exact_key():
    found = of(BODY)
    assert found
    exact = exact_key(BODY, endpoint="chat/completions", tenant="t1", policy_version="p1")
    assert found.key.startswith("hansom:scope:{")
    assert found.key.split(":")[-1] != exact.split(":")[-1]


def test_ways_of_writing_one_text_are_one():
    one, other = of(BODY), of(asking([{"type": "text", "text": "How old is he?"}]))
    assert one == other


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, "messages": []},
        {**BODY, "messages": [{"role": "assistant", "content": "ok"}]},
        {"model": "m1", "prompt": "Once"},
        asking("  "),
        asking([{"type": "image_url", "image_url": {"url": "x"}}]),
        asking(None),
    ],
)
def test_what_is_not_a_users_text_has_no_scope(body: dict[str, Any]):
    assert of(body) is None
