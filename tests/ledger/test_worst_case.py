"""The worst case of a call is never below what it comes to."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.call import Call, Endpoint, Risk, Usage
from core.settings import Settings
from ledger.limits import Amount
from ledger.worst_case import embedding_worst_case, output_tokens, prompt_tokens, worst_case
from tests.deployments.rig import call, settings_of

NOW_S = 1_795_190_400.0


def tier(
    name: str, price: int, engine: dict[str, Any], cached: int | None = None
) -> dict[str, Any]:
    return {
        "name": name,
        "model": f"{name}-model",
        "source": {"kind": "path", "path": "models/x"},
        "engine": engine,
        "price": {
            "input_usd_per_million_tokens": price,
            "output_usd_per_million_tokens": 4 * price,
            "cached_input_usd_per_million_tokens": cached,
        },
    }


def vllm(**changes: Any) -> Settings:
    """Two real engines, the small one with a context of 1,000 tokens."""
    small = tier("small", 1, {"kind": "vllm", "args": {"max_model_len": 1000}})
    large = tier("large", 10, {"kind": "vllm"})
    return settings_of(tiers=[small, large], **changes)


def worst(settings: Settings, asked: Call) -> Amount:
    return worst_case(settings, asked, len(orjson.dumps(asked.body)), NOW_S)


SETTINGS = vllm()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(st.lists(TEXT, min_size=1, max_size=5), TEXT)
def test_a_prompt_has_no_more_tokens_than_bytes(texts: list[str], tool: str) -> None:
    body: dict[str, object] = {"messages": [{"role": "user", "content": text} for text in texts]}
    found = prompt_tokens(body, 0)
    # The worst tokenizer there is: one token a byte, and ten for each turn's marks.
    assert found >= sum(len(text.encode()) + 10 for text in texts)
    offered = prompt_tokens(body | {"tools": [{"name": tool}]}, 0)
    assert offered >= found + 2 * len(tool.encode())


def test_a_body_that_cannot_be_written_again_counts_whole() -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    assert prompt_tokens({"messages": [{"role": "user", "content": deep}]}, 5000) >= 5000


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"max_tokens": 7}, 7),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"max_tokens": 7, "n": None}, 7),
        ({}, 4096),
        ({"max_tokens": None}, 4096),
    ],
)
def test_an_answer_is_bounded_by_what_the_client_says_or_by_the_setting(
    body: dict[str, Any], tokens: int
) -> None:
    assert output_tokens(SETTINGS, call(**body), SETTINGS.tiers[1]) == tokens


def test_an_answer_is_no_longer_than_the_context_where_that_is_known() -> None:
    small = SETTINGS.tiers[0]
    assert output_tokens(SETTINGS, call(), small) == 1000
    assert output_tokens(SETTINGS, call(max_tokens=5000, n=2), small) == 2000
    changed = vllm(accounts={"reserve_output_tokens": 100})
    assert output_tokens(changed, call(), small) == 100
    simulated = settings_of()
    assert output_tokens(simulated, call(), simulated.tiers[0]) == 50


def test_every_prompt_of_a_completion_has_answers_of_its_own() -> None:
    def of(prompt: object) -> int:
        asked = call(endpoint=Endpoint.COMPLETION, prompt=prompt, max_tokens=5, n=2)
        return output_tokens(SETTINGS, asked, SETTINGS.tiers[1])

    assert [of("a"), of(["a"]), of(["a", "b", "c"])] == [10, 10, 30]
    assert [of([1, 2, 3]), of([[1, 2], [3]])] == [10, 20]


USAGES = st.tuples(st.integers(0, 64), st.integers(0, 20), st.integers(0, 20))


@given(USAGES, st.sampled_from(["auto", "small", "large", "large-model"]), st.booleans())
def test_no_tier_that_may_answer_costs_more(
    told: tuple[int, int, int], requested: str, cached_is_dearer: bool
) -> None:
    settings = settings_of(
        tiers=[
            tier("small", 1, {"kind": "vllm"}, 3 if cached_is_dearer else None),
            tier("large", 2, {"kind": "vllm"}),
        ]
    )
    usage = Usage(*told)
    bound = worst(settings, call(requested=requested, max_tokens=20))
    tiers = [one for one in settings.tiers if requested in ("auto", one.name, one.model)]
    for one in tiers:
        cost = settings.price(one, NOW_S).cost_usd_micros(usage)
        assert bound.usd_micros >= cost
    assert bound.tokens >= usage.total_tokens


def test_a_named_tier_and_a_risky_call_are_bounded_by_one_tier() -> None:
    small = worst(SETTINGS, call(requested="small", max_tokens=10))
    large = worst(SETTINGS, call(requested="large", max_tokens=10))
    assert worst(SETTINGS, call(max_tokens=10)).usd_micros == large.usd_micros
    # The price alone is ten times that of the small one, the rest is the length of the name.
    assert 9 < large.usd_micros / small.usd_micros < 11


def test_a_cascade_may_cost_both_answers_and_each_second_look() -> None:
    small = worst(SETTINGS, call(requested="small", max_tokens=10)).usd_micros
    large = worst(SETTINGS, call(requested="large", max_tokens=10)).usd_micros

    def of(**cascade: Any) -> int:
        router = {"strategy": "cascade", "cascade": cascade}
        return worst(vllm(router=router), call(max_tokens=10)).usd_micros

    assert of() == small + large
    assert of(second_sample=True) == 2 * small + large
    assert of(perplexity=5.0) > small + large + large // 2
    risky = call(max_tokens=10, risk=Risk.HIGH)
    assert worst(vllm(router={"strategy": "cascade"}), risky).usd_micros == large


def test_the_strategy_llm_asks_one_question_more() -> None:
    plain = worst(SETTINGS, call(max_tokens=10))
    asks = worst(vllm(router={"strategy": "llm"}), call(max_tokens=10))
    assert plain.usd_micros < asks.usd_micros < plain.usd_micros + 1000
    assert asks.tokens > plain.tokens + 512
    named = call(requested="large", max_tokens=10)
    assert worst(vllm(router={"strategy": "llm"}), named) == worst(SETTINGS, named)


def test_an_embedding_costs_nothing_and_takes_a_token_a_byte_at_most() -> None:
    assert embedding_worst_case(3, 100) == Amount(0, 106)
