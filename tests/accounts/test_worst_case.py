"""The worst case of a call is never below what it comes to."""

from dataclasses import replace
from typing import Any
from unicodedata import normalize

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.limits import Amount
from accounts.worst_case import (
    embedding_worst_case,
    output_caps,
    output_tokens,
    prompt_tokens,
    worst_case,
)
from core.call import Call, Endpoint, Risk, Usage
from core.money import Price
from core.settings.load import Settings, Tier
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


def of_prompt(asked: Call, body_bytes: int = 0) -> int:
    return prompt_tokens(SETTINGS, asked, body_bytes)


def of_answer(asked: Call, at: int = 1, settings: Settings = SETTINGS) -> int:
    return output_tokens(settings, asked, settings.tiers[at], prompt_tokens(settings, asked, 0))


@given(st.lists(TEXT, min_size=1, max_size=5), TEXT)
def test_a_prompt_has_no_more_tokens_than_bytes(texts: list[str], tool: str) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    found = of_prompt(call(messages=messages))
    # The worst tokenizer there is: one token a byte, and ten for each turn's marks.
    for form in ("NFC", "NFKC"):
        said = [normalize(form, text).encode() for text in texts]
        assert found >= sum(len(one) + 10 for one in said)
    offered = of_prompt(call(messages=messages, tools=[{"name": tool}]))
    assert offered >= found + 2 * len(tool.encode()) + 500  # and what explains them


@pytest.mark.parametrize("letter", ["\U0001d160", "\ufdfa", "\u0958", "\ufb2c"])
def test_what_a_tokenizer_makes_longer_before_it_counts_is_counted_so(letter: str) -> None:
    longest = max(len(normalize(form, letter * 100).encode()) for form in ("NFC", "NFKC"))
    assert longest > len((letter * 100).encode())
    assert of_prompt(call(messages=[{"role": "user", "content": letter * 100}])) >= longest


@pytest.mark.parametrize("field", ["documents", "chat_template_kwargs", "response_format", "x"])
def test_every_field_may_reach_the_prompt(field: str) -> None:
    plain = of_prompt(call())
    assert of_prompt(call(**{field: {"text": "word" * 500}})) >= plain + 2000


def test_what_is_no_text_counts_for_more_than_its_address() -> None:
    def with_parts(*kinds: str) -> int:
        parts = [{"type": kind, kind: "x"} for kind in kinds]
        return of_prompt(call(messages=[{"role": "user", "content": parts}]))

    one = with_parts("text")
    assert with_parts("image_url", "input_audio") > one + 2 * 16_000
    assert with_parts("refusal") < one + 100


def test_the_bytes_of_an_image_are_no_tokens() -> None:
    def sent(url: str) -> int:
        image = {"type": "image_url", "image_url": {"url": url}}
        parts = [{"type": "text", "text": "word" * 100}, image]
        return of_prompt(call(messages=[{"role": "user", "content": parts}]))

    assert sent("data:image/png;base64," + "A" * 1_000_000) == sent("") > 16_384 + 400


def test_what_the_template_adds_is_the_operators_to_say() -> None:
    roomy = vllm(accounts={"reserve_template_tokens": 5000})
    assert prompt_tokens(roomy, call(), 0) == of_prompt(call()) - 256 + 5000


def test_a_body_that_cannot_be_written_again_counts_whole() -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    nested = call(messages=[{"role": "user", "content": "x"}])
    body: dict[str, object] = {**nested.body, "metadata": deep}
    assert of_prompt(replace(nested, body=body), 5000) >= 5000


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"max_tokens": 7}, 7),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 9, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"max_tokens": 7, "n": None}, 7),
        ({}, 4096),
        ({"n": 3}, 3 * 4096),
        ({"max_tokens": None}, 4096),
    ],
)
def test_an_answer_is_bounded_by_what_the_client_says_or_by_the_setting(
    body: dict[str, Any], tokens: int
) -> None:
    assert of_answer(call(**body)) == tokens


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"max_tokens": 7, "max_completion_tokens": 2}, 7),
        ({"max_completion_tokens": 2}, 16),
        ({}, 16),
        ({"n": 2, "prompt": ["a", "b", "c"]}, 96),
        ({"max_tokens": 0, "echo": True}, 1),
    ],
)
def test_a_completion_is_bounded_as_the_engine_reads_it(body: dict[str, Any], tokens: int) -> None:
    asked = call(endpoint=Endpoint.COMPLETION, **({"prompt": "Hello"} | body))
    assert of_answer(asked) == tokens
    assert output_caps(SETTINGS, asked, 0) == {}, "the engine has a limit of its own"


def test_an_answer_is_no_longer_than_the_context_where_that_is_known() -> None:
    assert of_answer(call(), at=0) == 1000
    assert of_answer(call(max_tokens=5000, n=2), at=0) == 2000
    assert of_answer(call(), at=0, settings=vllm(accounts={"reserve_output_tokens": 100})) == 100
    assert of_answer(call(), at=0, settings=settings_of()) == 50


def test_an_engine_is_told_the_limit_that_was_reserved_unless_its_context_is_one() -> None:
    """One that does not fit beside the prompt would be refused."""
    assert output_caps(SETTINGS, call(), 0) == {"large": 4096}
    assert output_caps(SETTINGS, call(max_tokens=5), 0) == {}
    tight = vllm(accounts={"reserve_output_tokens": 500})
    assert output_caps(tight, call(), 0) == {"small": 500, "large": 500}
    long = call(messages=[{"role": "user", "content": "x" * 600}])
    assert output_caps(tight, long, 0) == {"large": 500}
    assert of_answer(long, at=0, settings=tight) == 1000
    assert output_caps(settings_of(), call(), 0) == {}


def test_every_prompt_of_a_completion_has_answers_of_its_own() -> None:
    def of(prompt: object) -> int:
        asked = call(endpoint=Endpoint.COMPLETION, prompt=prompt, max_tokens=5, n=2)
        return of_answer(asked)

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


def test_a_cascade_may_climb_over_all_its_tiers() -> None:
    tiers = [tier(name, at + 1, {"kind": "vllm"}) for at, name in enumerate(("s", "m", "l"))]
    each = [
        worst(settings_of(tiers=tiers), call(requested=name, max_tokens=10)).usd_micros
        for name in ("s", "m", "l")
    ]

    def of(**cascade: Any) -> int:
        settings = settings_of(tiers=tiers, router={"strategy": "cascade", "cascade": cascade})
        return worst(settings, call(max_tokens=10)).usd_micros

    assert of() == sum(each)
    assert of(second_sample=True) == sum(each) + each[0] + each[1]
    assert of(perplexity=5.0) > sum(each) + each[2]


def test_a_cascade_beside_the_strategy_llm_asks_the_question_too() -> None:
    router = {
        "strategy": "cascade",
        "arms": [{"name": "judged", "percent": 10, "strategy": "llm"}],
    }
    both = worst(vllm(router=router), call(max_tokens=10))
    cascade = worst(vllm(router={"strategy": "cascade"}), call(max_tokens=10))
    assert both.tokens > cascade.tokens + 512


class Dearer(Settings):
    """Prices that double at `NOW_S`."""

    def price(self, tier: Tier, wall_s: float) -> Price:
        now = super().price(tier, wall_s)
        factor = 2 if wall_s >= NOW_S else 1
        return replace(now, input_usd_per_million_tokens=now.input_usd_per_million_tokens * factor)


def test_a_price_that_changes_before_the_deadline_is_counted_at_its_dearer() -> None:
    settings = Dearer.model_validate(SETTINGS.model_dump())
    asked = call(requested="small", max_tokens=10)
    early, just_before, after = (
        worst_case(settings, asked, 0, NOW_S + ago_s).usd_micros for ago_s in (-3600, -5, 5)
    )
    assert early < just_before == after


def test_the_strategy_llm_asks_one_question_more() -> None:
    plain = worst(SETTINGS, call(max_tokens=10))
    asks = worst(vllm(router={"strategy": "llm"}), call(max_tokens=10))
    assert plain.usd_micros < asks.usd_micros < plain.usd_micros + 1000
    assert asks.tokens > plain.tokens + 512
    named = call(requested="large", max_tokens=10)
    assert worst(vllm(router={"strategy": "llm"}), named) == worst(SETTINGS, named)


def test_an_embedding_costs_nothing_and_takes_a_token_a_byte_at_most() -> None:
    assert embedding_worst_case(["a" * 50, "b" * 40, "c"]) == Amount(0, 101 + 6)
    assert embedding_worst_case(["\ufdfa"]).tokens >= len(normalize("NFKC", "\ufdfa").encode()) + 2
