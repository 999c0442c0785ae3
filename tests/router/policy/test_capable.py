"""A tier that lacks what a call needs is neither chosen nor asked to stand in."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.call import Risk
from core.capability import Capabilities, Needs, lacks
from core.errors import BadRequest, ContextTooLong, NotSupported, UnknownModel
from router.policy.capable import able, needs_score
from router.policy.cutoffs import spread
from router.policy.policy import decide
from router.policy.terms import AUTO, Observation, Policy, Strategy, TierName
from tests.router.policy.test_policy import rank, score_of, signals_of

NAMES = ("tiny", "small", "medium", "large")
FOUR = Policy(tuple(TierName(name, f"{name}-model") for name in NAMES), (0.1, 0.2, 0.3))
NO_TOOLS = {name: Capabilities(tools=False) for name in NAMES}


def call(
    needs: Needs, can: dict[str, Capabilities], need: float = 0.0, **more: object
) -> Observation:
    fields = {"request_id": "r", "requested": AUTO, "signals": {}, "score": score_of(need)} | more
    return Observation(**fields, needs=needs, capabilities=can)  # type: ignore[arg-type]


def test_an_easy_call_with_tools_goes_to_the_cheapest_tier_that_has_them():
    can = {"tiny": Capabilities(tools=False), "small": Capabilities(tools=True)}
    decision = decide(call(Needs(tools=True), can), FOUR)
    assert (decision.tier, decision.code) == ("small", "capability")
    assert decision.reason == (
        "need of the large model 0.000 is below 0.100; tiny has no tool calls: small instead"
    )
    assert decision.fallbacks == ("medium", "large")


def test_a_tier_that_can_is_chosen_as_ever():
    decision = decide(call(Needs(tools=True), {"large": Capabilities(tools=False)}), FOUR)
    assert (decision.tier, decision.code) == ("tiny", "easy")
    assert decision.fallbacks == ("small", "medium"), "and nothing that cannot stands in"


def test_where_no_dearer_tier_can_a_cheaper_one_with_more_context_does():
    can = {"large": Capabilities(context_tokens=1000), "medium": Capabilities(context_tokens=9000)}
    decision = decide(call(Needs(prompt_tokens=5000), can, need=0.9), FOUR)
    assert (decision.tier, decision.code) == ("medium", "capability")
    assert "large has a context of 1,000 tokens, where at least 5,001 are needed" in decision.reason


@pytest.mark.parametrize("strategy", list(Strategy))
def test_one_tier_that_is_left_needs_no_score(strategy: Strategy):
    policy = Policy(FOUR.tiers, FOUR.thresholds, strategy)
    can = {name: Capabilities(vision=False) for name in NAMES[:2]} | {
        "large": Capabilities(vision=False)
    }
    asked = call(Needs(vision=True), can, score=None)
    assert not needs_score(asked, policy)
    decision = decide(asked, policy)
    assert (decision.tier, decision.code, decision.fallbacks) == ("medium", "capability", ())
    assert "tiny has no image input; small has no image input" in decision.reason
    assert decision.reason.endswith("medium is the only tier that can")
    assert decision.doubt is None, "there is no dearer answer to be had"


def test_a_score_is_needed_where_there_is_a_choice():
    assert needs_score(call(Needs(tools=True), {"tiny": Capabilities(tools=False)}), FOUR)
    assert not needs_score(call(Needs(), {}, requested="small"), FOUR)
    assert not needs_score(call(Needs(), {}), Policy(FOUR.tiers[:1], ()))


def test_a_risky_call_goes_to_the_dearest_tier_that_can():
    can = {"large": Capabilities(vision=False)}
    decision = decide(call(Needs(vision=True), can, risk=Risk.HIGH), FOUR)
    assert (decision.tier, decision.code, decision.fallbacks) == ("medium", "capability", ())
    assert "large has no image input: medium instead" in decision.reason


def test_a_cascade_has_answers_judged_only_where_a_dearer_tier_can_answer():
    cascade = Policy(FOUR.tiers, FOUR.thresholds, Strategy.CASCADE)
    only_cheap = {name: Capabilities(tools=False) for name in ("medium", "large")}
    first = decide(call(Needs(tools=True), only_cheap), cascade)
    assert (first.tier, first.doubt, first.fallbacks) == ("tiny", 0.5, ("small",))
    last = decide(call(Needs(tools=True), only_cheap, need=0.15), cascade)
    assert (last.tier, last.doubt) == ("small", None)


def test_a_tier_that_is_named_and_cannot_is_refused_in_words():
    with pytest.raises(NotSupported, match="small has no tool calls") as caught:
        decide(call(Needs(tools=True), NO_TOOLS, requested="small"), FOUR)
    assert (caught.value.param, caught.value.code) == ("tools", "not_supported")
    assert decide(call(Needs(), NO_TOOLS, requested="small"), FOUR).tier == "small"
    with pytest.raises(UnknownModel):
        able(call(Needs(tools=True), NO_TOOLS, requested="gpt"), FOUR)


def test_where_no_tier_can_each_is_told_with_what_it_lacks():
    can = NO_TOOLS | {"large": Capabilities(tools=True, context_tokens=10)}
    with pytest.raises(NotSupported) as caught:
        decide(call(Needs(tools=True, prompt_tokens=50), can), FOUR)
    assert caught.value.message == (
        "No tier can answer this request: tiny has no tool calls; small has no tool calls; "
        "medium has no tool calls; large has a context of 10 tokens, where at least 51 are needed."
    )


def test_a_call_that_is_too_long_for_all_has_openais_code():
    can = {name: Capabilities(context_tokens=10) for name in NAMES}
    with pytest.raises(ContextTooLong) as caught:
        decide(call(Needs(prompt_tokens=50), can), FOUR)
    assert caught.value.code == "context_length_exceeded"


flags = st.none() | st.booleans()
capabilities = st.builds(
    Capabilities,
    tools=flags,
    vision=flags,
    context_tokens=st.none() | st.integers(1, 100),
    output_tokens=st.none() | st.integers(1, 100),
)
needs = st.builds(
    Needs,
    tools=st.booleans(),
    vision=st.booleans(),
    prompt_tokens=st.integers(0, 100),
    output_tokens=st.integers(0, 100),
)
ladders = st.builds(
    lambda tiers, threshold, strategy: Policy(
        tuple(TierName(f"t{place}") for place in range(tiers)), spread(threshold, tiers), strategy
    ),
    st.integers(1, 5),
    st.floats(0, 1),
    st.sampled_from(list(Strategy)),
)
observations = st.builds(
    Observation,
    request_id=st.text(max_size=4),
    requested=st.sampled_from([AUTO, AUTO, AUTO, "t0"]),
    signals=st.dictionaries(st.sampled_from(["t0", "t1", "t2", "t3", "t4"]), st.booleans()).map(
        signals_of
    ),
    score=st.none() | st.floats(0, 1).map(score_of),
    text=st.text(max_size=8),
    risk=st.sampled_from(list(Risk)),
    verdict=st.none() | st.floats(0, 1),
    needs=needs,
    capabilities=st.dictionaries(
        st.sampled_from(["t0", "t1", "t2", "t3", "t4"]), capabilities, max_size=5
    ),
)


@given(observations, ladders)
def test_only_tiers_that_can_are_chosen_or_stand_in(observation: Observation, policy: Policy):
    def can(name: str) -> bool:
        return not lacks(observation.needs, observation.capabilities.get(name, Capabilities()))

    names = [tier.name for tier in policy.tiers if observation.requested in (AUTO, tier.name)]
    try:
        decision = decide(observation, policy)
    except BadRequest as error:
        assert not any(can(name) for name in names)
        assert all(f"{name} has " in error.message for name in names)
        return
    assert all(can(name) for name in (decision.tier, *decision.fallbacks))
    assert decision == decide(observation, policy), "the same again"
    if decision.doubt is not None:
        dearer = policy.tiers[rank(policy, decision.tier) + 1 :]
        assert any(can(tier.name) for tier in dearer)


@given(observations, ladders, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_score_never_gets_a_cheaper_tier_of_those_that_can(
    observation: Observation, policy: Policy, one: float, other: float
):
    try:
        tiers = [
            rank(policy, decide(_scored(observation, need), policy).tier)
            for need in sorted((one, other))
        ]
    except BadRequest:
        return  # whether any can does not depend on the score
    assert tiers == sorted(tiers)


@given(observations, ladders)
def test_tiers_that_can_do_everything_are_chosen_as_if_nothing_was_needed(
    observation: Observation, policy: Policy
):
    plain = Observation(**{**_fields(observation), "needs": Needs(), "capabilities": {}})
    every = {tier.name: Capabilities(True, True, True, True, True) for tier in policy.tiers}
    able_ = Observation(**{**_fields(observation), "capabilities": every})
    assert decide(able_, policy) == decide(plain, policy)


@given(st.integers(1, 6), st.floats(0.01, 0.99), st.sampled_from([Strategy.LEARNED]))
def test_every_tier_is_reached_by_some_score(tiers: int, threshold: float, strategy: Strategy):
    policy = Policy(
        tuple(TierName(f"t{place}") for place in range(tiers)), spread(threshold, tiers), strategy
    )
    edges = (0.0, *policy.thresholds, 1.0)
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    found = [decide(call(Needs(), {}, need=middle), policy).tier for middle in middles]
    assert found == [tier.name for tier in policy.tiers]


def _fields(observation: Observation) -> dict[str, object]:
    return {name: getattr(observation, name) for name in Observation.__dataclass_fields__}


def _scored(observation: Observation, need: float) -> Observation:
    return Observation(**{**_fields(observation), "score": score_of(need)})  # type: ignore[arg-type]
