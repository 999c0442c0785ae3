from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.exact.key import FIELDS_WITHOUT_EFFECT, exact_key, owner
from core.errors import BadRequest

CHAT = "chat/completions"
BASE: dict[str, Any] = {
    "model": "auto",
    "messages": [{"role": "user", "content": "What is 7 x 8?"}],
    "temperature": 0,
}

TEXT = st.text(max_size=20)
SCALAR = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | TEXT
BODIES = st.fixed_dictionaries(
    {"model": TEXT, "messages": st.lists(st.fixed_dictionaries({"role": TEXT, "content": TEXT}))},
    optional={
        "temperature": st.sampled_from([0, 0.0, 0.7, 1, 1.0]),
        "max_tokens": st.integers(1, 99),
        "seed": st.integers(0, 9),
        "stop": st.lists(TEXT, max_size=2),
        "tools": st.lists(st.dictionaries(TEXT, SCALAR, max_size=2), max_size=2),
        "logprobs": st.booleans(),
    },
)


def key(body: Mapping[str, object], **changes: str) -> str:
    known = {"endpoint": CHAT, "tenant": "acme", "policy_version": "v1"} | changes
    return exact_key(body, **known)


@pytest.mark.parametrize(
    "same",
    [
        {"temperature": 0.0},
        {"seed": None, "stop": None, "tools": None},
        {"n": 1},
        {"stop": []},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is 7 x 8?"}]}]},
        {"messages": [{"content": "What is 7 x 8?", "role": "user", "name": None}]},
        *({field: "anything"} for field in sorted(FIELDS_WITHOUT_EFFECT)),
    ],
)
def test_one_meaning_has_one_key(same: dict[str, Any]) -> None:
    assert key(BASE | same) == key(BASE)


def test_both_names_of_the_output_limit_are_one() -> None:
    assert key(BASE | {"max_tokens": 9}) == key(BASE | {"max_completion_tokens": 9})
    both = BASE | {"max_tokens": 5, "max_completion_tokens": 9}
    assert key(both) == key(BASE | {"max_completion_tokens": 9})
    text = {"model": "m", "prompt": "x"}
    old, new = text | {"max_tokens": 9}, text | {"max_completion_tokens": 9}
    assert key(old, endpoint="completions") != key(new, endpoint="completions")


def test_one_stop_or_one_prompt_may_be_a_list() -> None:
    assert key(BASE | {"stop": "\n"}) == key(BASE | {"stop": ["\n"]})
    assert key({"prompt": "x"}) == key({"prompt": ["x"]})
    assert key({"prompt": [1, 2]}) == key({"prompt": [[1, 2]]})
    assert key({"prompt": [1]}) != key({"prompt": "1"})


@pytest.mark.parametrize(
    "other",
    [
        {"model": "large"},
        {"temperature": 0.5},
        {"seed": 1},
        {"n": 2},
        {"logprobs": True},
        {"max_tokens": 8},
        {"stop": ["."]},
        {"logit_bias": {"5": 1}},
        {"response_format": {"type": "json_object"}},
        {"cache_salt": "mine"},
        {"a_field_of_next_year": 1},
        {"messages": [{"role": "system", "content": "What is 7 x 8?"}]},
        {"messages": [{"role": "user", "content": "What is 7 x 9?"}]},
        {"messages": [{"role": "user", "content": "What is 7 x 8?", "name": "ann"}]},
        {"messages": BASE["messages"] * 2},
    ],
)
def test_another_meaning_has_another_key(other: dict[str, Any]) -> None:
    assert key(BASE | other) != key(BASE)


def test_what_reaches_the_prompt_is_taken_to_the_letter() -> None:
    def tool(default: object) -> dict[str, Any]:
        return BASE | {"tools": [{"function": {"parameters": {"default": default}}}]}

    keys = {key(tool(default)) for default in (0, 0.0, None, False, "0")}
    assert len(keys) == 5


@given(BODIES)
def test_the_order_of_fields_and_absent_nulls_do_not_matter(body: dict[str, Any]) -> None:
    turned = dict(reversed(body.items())) | {"top_p": None, "stream": True}
    assert key(turned) == key(body)


@given(BODIES, BODIES)
def test_different_questions_never_share_a_key(one: dict[str, Any], two: dict[str, Any]) -> None:
    if one["messages"] != two["messages"] or one["model"] != two["model"]:
        assert key(one) != key(two)


@given(BODIES, st.lists(TEXT, min_size=2, max_size=2, unique=True))
def test_never_across_tenants_policies_or_endpoints(body: dict[str, Any], two: list[str]) -> None:
    for name in ("tenant", "policy_version", "endpoint"):
        one, other = (key(body, **{name: value}) for value in two)
        # The digest alone must do it: the tenant's hash before it has 64 bits only.
        assert one.rpartition(":")[2] != other.rpartition(":")[2]


def test_names_that_run_into_one_another_are_kept_apart() -> None:
    assert key(BASE, tenant="a", policy_version="bc") != key(BASE, tenant="ab", policy_version="c")


def test_the_key_shows_neither_tenant_nor_text() -> None:
    found = key(BASE)
    assert found.startswith("hansom:exact:{")
    assert "acme" not in found
    assert len(found) < 110


def test_an_absurdly_nested_body_is_refused_and_a_deep_one_is_not() -> None:
    def nested(levels: int) -> dict[str, Any]:
        value: Any = "x"
        for _ in range(levels):
            value = [value]
        return BASE | {"tools": value}

    assert key(nested(300)) == key(nested(300)) != key(nested(301))
    with pytest.raises(BadRequest):
        key(nested(100_000))


@given(TEXT, TEXT, TEXT, TEXT, TEXT, TEXT)
def test_owners_never_cross_tenants_unless_everything_is_shared(
    tenant: str, other: str, team: str, other_team: str, one: str, two: str
) -> None:
    for scope in ("tenant", "team", "key"):
        mine = owner(scope, tenant=tenant, team=team, key=one)
        theirs = owner(scope, tenant=other, team=other_team, key=two)
        assert (mine == theirs) <= (tenant == other)
    assert owner("shared", tenant=tenant, team=team, key=one) == owner(
        "shared", tenant=other, team=other_team, key=two
    )
    same = owner("team", tenant=tenant, team=team, key=one)
    assert same == owner("team", tenant=tenant, team=team, key=two)
    assert (same == owner("team", tenant=tenant, team=other_team, key=one)) == (team == other_team)
