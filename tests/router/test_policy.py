"""What the policy promises, over all calls that can be drawn."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from core.call import Risk, TierSignal
from core.errors import UnknownModel
from router.policy import AUTO, Code, Observation, Policy, Strategy, Tier, decide
from router.score import Score

SMALL, LARGE = Tier("small", "tiny-model"), Tier("large", "big-model")
POLICY = Policy(tiers=(SMALL, LARGE), thresholds=(0.2,))
MIDDLE = Tier("middle", "mid-model")
THREE = Policy(tiers=(SMALL, MIDDLE, LARGE), thresholds=(0.2, 0.5))


def score_of(need: float) -> Score:
    return Score(
        difficulty=need,
        gain=need,
        p_small=1 - need,
        p_large=1.0,
        distance=0.5,
        need=need,
        version="test",
    )


def signals_of(up: dict[str, bool]) -> dict[str, TierSignal]:
    return {name: TierSignal(available=available) for name, available in up.items()}


def call(
    need: float | None = 0.1,
    requested: str = AUTO,
    risk: Risk = Risk.NORMAL,
    up: dict[str, bool] | None = None,
    text: str = "",
    request_id: str = "r-1",
) -> Observation:
    return Observation(
        request_id=request_id,
        requested=requested,
        signals=signals_of(up or {}),
        score=None if need is None else score_of(need),
        text=text,
        risk=risk,
    )


needs = st.floats(0, 1)
policies = st.builds(
    lambda base, strategy: Policy(base.tiers, base.thresholds, strategy),
    st.sampled_from([POLICY, THREE]),
    st.sampled_from(list(Strategy)),
)
ups = st.fixed_dictionaries({name: st.booleans() for name in ("small", "middle", "large")})
calls = st.builds(
    call,
    need=st.none() | needs,
    requested=st.sampled_from([AUTO, "small", "large", "big-model"]),
    risk=st.sampled_from(list(Risk)),
    up=ups,
    text=st.text(),
    request_id=st.text(),
)


def rank(policy: Policy, name: str) -> int:
    return [tier.name for tier in policy.tiers].index(name)


@given(calls, policies)
def test_same_call_and_policy_give_the_same_decision(observation: Observation, policy: Policy):
    assert decide(observation, policy) == decide(observation, policy)


@given(calls, policies)
def test_no_call_goes_to_a_tier_that_is_down_while_one_it_may_use_is_up(
    observation: Observation, policy: Policy
):
    decision = decide(observation, policy)
    up = {tier.name for tier in policy.tiers if observation.signals[tier.name].available}
    if observation.risk is Risk.NORMAL and observation.requested == AUTO and up:
        assert decision.tier in up
    assert set(decision.fallbacks) <= up - {decision.tier}


@given(calls, policies)
def test_high_risk_never_goes_below_what_it_would_have(observation: Observation, policy: Policy):
    if observation.risk is Risk.NORMAL:
        return
    decision = decide(observation, policy)
    asked = {AUTO: "large", "big-model": "large"}.get(observation.requested, observation.requested)
    for name in (decision.tier, *decision.fallbacks):
        assert rank(policy, name) >= rank(policy, asked)


@given(calls, policies, needs, needs)
def test_a_higher_score_never_gets_a_cheaper_tier(
    observation: Observation, policy: Policy, one: float, other: float
):
    tiers = [
        decide(
            Observation(
                observation.request_id,
                observation.requested,
                observation.signals,
                score_of(need),
                observation.text,
                observation.risk,
            ),
            policy,
        ).tier
        for need in sorted((one, other))
    ]
    assert rank(policy, tiers[0]) <= rank(policy, tiers[1])


@given(calls, policies)
def test_every_reason_is_told_in_words_and_by_a_known_code(
    observation: Observation, policy: Policy
):
    decision = decide(observation, policy)
    assert Code(decision.code)
    assert len(decision.reason.split()) > 3


@pytest.mark.parametrize("requested", ["large", "big-model"])
def test_a_tier_or_model_asked_for_by_name_is_obeyed(requested: str):
    decision = decide(call(need=0.0, requested=requested), POLICY)
    assert (decision.tier, decision.code) == ("large", "explicit")


def test_an_unknown_name_is_refused():
    with pytest.raises(UnknownModel, match="gpt-99"):
        decide(call(requested="gpt-99"), POLICY)


def test_need_at_the_threshold_is_hard_and_below_it_easy():
    assert decide(call(need=0.2), POLICY).code == "hard"
    below = decide(call(need=0.19), POLICY)
    assert (below.tier, below.code, below.threshold) == ("small", "easy", 0.2)


def test_risk_goes_to_the_dearest_tier_whatever_the_strategy():
    policy = Policy((SMALL, LARGE), (0.2,), Strategy.ALWAYS_SMALL)
    decision = decide(call(need=0.0, risk=Risk.HIGH), policy)
    assert (decision.tier, decision.code) == ("large", "risk")


def test_a_fallback_says_which_tier_was_down():
    decision = decide(call(need=0.9, up={"large": False}), POLICY)
    assert (decision.tier, decision.code) == ("small", "large_unavailable")
    assert "large is down" in decision.reason
    decision = decide(call(need=0.0, up={"small": False}), POLICY)
    assert (decision.tier, decision.code) == ("large", "small_unavailable")


def test_risk_waits_for_the_large_tier_rather_than_go_down():
    decision = decide(call(risk=Risk.HIGH, up={"large": False}), POLICY)
    assert (decision.tier, decision.code, decision.fallbacks) == ("large", "none_available", ())


def test_nothing_stands_in_for_a_tier_asked_for_by_name():
    decision = decide(call(requested="large", up={"large": False}), POLICY)
    assert (decision.tier, decision.code, decision.fallbacks) == ("large", "none_available", ())


def test_a_middling_call_goes_down_while_the_large_queue_is_long():
    policy = Policy((SMALL, LARGE), (0.2,), busy_waiting=8, busy_threshold=0.6)
    waiting = {"large": TierSignal(waiting=9)}
    assert decide(Observation("r", AUTO, waiting, score_of(0.4)), policy).code == "large_busy"
    assert decide(Observation("r", AUTO, waiting, score_of(0.7)), policy).tier == "large"
    assert decide(Observation("r", AUTO, {}, score_of(0.4)), policy).tier == "large"


def test_without_a_score_the_rules_decide():
    plain = decide(call(need=None, text="Say hi"), POLICY)
    asking = "Explain and compare this and that and those, or why? " * 5
    assert (plain.tier, plain.code) == ("small", "unscored")
    assert decide(call(need=None, text=asking), POLICY).tier == "large"


def test_chance_is_stable_by_request_and_near_its_share():
    policy = Policy((SMALL, LARGE), (0.2,), Strategy.RANDOM, random_large_share=0.3)
    tiers = [decide(call(request_id=f"r-{i}"), policy).tier for i in range(2000)]
    assert tiers == [decide(call(request_id=f"r-{i}"), policy).tier for i in range(2000)]
    assert 0.26 < tiers.count("large") / len(tiers) < 0.34


def test_three_tiers_are_cut_by_two_thresholds():
    assert [decide(call(need=need), THREE).tier for need in (0.1, 0.3, 0.6)] == [
        "small",
        "middle",
        "large",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"tiers": (), "thresholds": ()},
        {"tiers": (SMALL, LARGE), "thresholds": ()},
        {"tiers": (SMALL, MIDDLE, LARGE), "thresholds": (0.5, 0.2)},
        {"tiers": (SMALL, LARGE), "thresholds": (0.5,), "busy_threshold": 0.1},
    ],
)
def test_a_policy_that_could_not_decide_is_refused(arguments):
    with pytest.raises(ValueError, match=r"threshold"):
        Policy(**arguments)
