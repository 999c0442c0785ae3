"""What the policy promises, over all calls that can be drawn."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from core.call import Risk, TierSignal, Value
from core.errors import UnknownModel
from router.policy.cutoffs import spread
from router.policy.policy import decide
from router.policy.promise import Promise, PromisePart
from router.policy.terms import AUTO, Observation, Policy, RoutingCode, Strategy, TierName
from router.score.model import Score

SMALL, LARGE = TierName("small", "tiny-model"), TierName("large", "big-model")
POLICY = Policy(tiers=(SMALL, LARGE), thresholds=(0.2,))
MIDDLE = TierName("middle", "mid-model")
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


busy = st.builds(
    TierSignal,
    available=st.booleans(),
    waiting=st.integers(0, 50),
    waiting_tokens=st.integers(0, 10_000),
    tokens_per_s=st.floats(0, 1000),
    warm=st.booleans(),
    cold_start_s=st.floats(0, 300),
    error_ratio=st.floats(0, 1),
)


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
    lambda base, strategy, waiting, predict, promise: replace(
        base,
        strategy=strategy,
        busy_waiting=waiting,
        predict=predict,
        promise=promise and replace(promise, tiers=len(base.tiers)),
    ),
    st.sampled_from([POLICY, THREE]),
    st.sampled_from(list(Strategy)),
    st.none() | st.integers(0, 20),
    st.booleans(),
    st.none()
    | st.builds(
        lambda threshold, limit: Promise((PromisePart(threshold),), limit, "test"),
        st.floats(-1, 1),
        st.none() | st.floats(0, 1),
    ),
)
shares = st.floats(0, 1)
calls = st.builds(
    Observation,
    request_id=st.text(),
    requested=st.sampled_from([AUTO, "small", "large", "big-model"]),
    signals=st.fixed_dictionaries({name: busy for name in ("small", "middle", "large")}),
    score=st.none() | needs.map(score_of),
    text=st.text(),
    risk=st.sampled_from(list(Risk)),
    value=st.sampled_from(list(Value)),
    budget_left=st.none() | shares,
    deadline_s=st.none() | st.floats(0, 300),
    resident=st.none() | st.dictionaries(st.sampled_from(["small", "large"]), shares),
    verdict=st.none() | shares,
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
    up = {
        tier.name
        for tier in policy.tiers
        if (signal := observation.signals[tier.name]).available
        and signal.error_ratio <= policy.max_error_ratio
    }
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


def ranks(policy: Policy, *observations: Observation) -> list[int]:
    return [rank(policy, decide(one, policy).tier) for one in observations]


@given(calls, policies, needs, needs)
def test_a_higher_score_never_gets_a_cheaper_tier(
    observation: Observation, policy: Policy, one: float, other: float
):
    tiers = ranks(
        policy,
        *(replace(observation, score=score_of(need)) for need in sorted((one, other))),
    )
    assert tiers == sorted(tiers)


@given(calls, policies)
def test_more_risk_or_value_never_gets_a_cheaper_tier(observation: Observation, policy: Policy):
    if observation.requested == AUTO:
        by_risk = ranks(policy, *(replace(observation, risk=risk) for risk in Risk))
        assert by_risk == sorted(by_risk)
    by_value = ranks(policy, *(replace(observation, value=value) for value in Value))
    assert by_value == sorted(by_value)


@given(calls, policies, shares, shares)
def test_a_fuller_budget_never_gets_a_cheaper_tier(
    observation: Observation, policy: Policy, one: float, other: float
):
    left = [*sorted((one, other)), None]
    tiers = ranks(policy, *(replace(observation, budget_left=share) for share in left))
    assert tiers == sorted(tiers)


@given(calls, policies)
def test_only_a_cascade_has_answers_judged_and_never_those_of_the_dearest_tier(
    observation: Observation, policy: Policy
):
    decision = decide(observation, policy)
    judged = decision.doubt is not None
    if judged:
        assert policy.strategy is Strategy.CASCADE
        assert decision.code != "explicit"
        assert rank(policy, decision.tier) < len(policy.tiers) - 1


@given(calls, policies)
def test_every_reason_is_told_in_words_and_by_a_known_code(
    observation: Observation, policy: Policy
):
    decision = decide(observation, policy)
    assert RoutingCode(decision.code)
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


def test_a_cascade_starts_cheap_unless_the_score_is_sure_that_it_is_hard():
    cascade = replace(POLICY, strategy=Strategy.CASCADE, doubt=0.4)
    easy, hard = (decide(call(need=need), cascade) for need in (0.1, 0.9))
    assert (easy.tier, easy.code, easy.doubt, easy.fallbacks) == (
        "small",
        "checked",
        0.4,
        ("large",),
    )
    assert (hard.tier, hard.code, hard.doubt) == ("large", "hard", None)
    only = replace(cascade, predict=False)
    assert decide(call(need=0.9), only).tier == "small"
    assert decide(call(need=None), cascade).code == "checked"


def test_the_small_models_verdict_decides_under_llm_and_the_rules_without_one():
    llm = replace(POLICY, strategy=Strategy.LLM)
    assert decide(replace(call(), verdict=0.8), llm).tier == "large"
    assert decide(replace(call(), verdict=0.2), llm).tier == "small"
    assert decide(call(), llm).code == "unscored"


def test_what_a_call_is_worth_moves_the_cut_off_and_the_reason_says_so():
    middling = call(need=0.25)
    assert decide(middling, POLICY).tier == "large"
    low = decide(replace(middling, value=Value.LOW), POLICY)
    assert (low.tier, low.threshold) == ("small", pytest.approx(0.3))
    assert "low value" in low.reason
    assert decide(replace(call(need=0.12), value=Value.HIGH), POLICY).tier == "large"


def test_an_empty_budget_sends_everything_down_but_what_is_risky():
    spent = replace(call(need=1.0), budget_left=0.0)
    decision = decide(spent, POLICY)
    assert (decision.tier, decision.code) == ("small", "easy")
    assert "0% of the budget left" in decision.reason
    assert decide(replace(spent, risk=Risk.HIGH), POLICY).tier == "large"
    assert decide(replace(spent, budget_left=0.5), POLICY).tier == "large"


def test_a_cached_prefix_pulls_towards_its_tier():
    assert decide(replace(call(need=0.19), resident={"large": 1.0}), POLICY).tier == "large"
    assert decide(replace(call(need=0.21), resident={"small": 1.0}), POLICY).tier == "small"
    both = {"small": 1.0, "large": 1.0}
    assert decide(replace(call(need=0.21), resident=both), POLICY).tier == "large"


def test_a_cold_tier_counts_its_start_against_the_deadline():
    cold = {"large": TierSignal(warm=False, cold_start_s=60.0)}
    waiting = Observation("r", AUTO, cold, score_of(0.9), deadline_s=10.0)
    decision = decide(waiting, POLICY)
    assert (decision.tier, decision.code) == ("small", "late")
    assert "would begin after the deadline" in decision.reason
    assert decision.fallbacks == ("large",)
    assert decide(replace(waiting, deadline_s=90.0), POLICY).tier == "large"
    assert decide(replace(waiting, risk=Risk.HIGH), POLICY).tier == "large"


def test_a_queue_counts_its_tokens_against_the_deadline_and_lateness_everywhere_changes_nothing():
    full = {"large": TierSignal(waiting_tokens=5000, tokens_per_s=100.0)}
    waiting = Observation("r", AUTO, full, score_of(0.9), deadline_s=10.0)
    assert decide(waiting, POLICY).code == "late"
    both = full | {"small": TierSignal(warm=False, cold_start_s=99.0)}
    assert decide(replace(waiting, signals=both), POLICY).tier == "large"


def test_a_tier_whose_calls_fail_counts_as_down():
    failing = {"small": TierSignal(error_ratio=0.9)}
    decision = decide(Observation("r", AUTO, failing, score_of(0.0)), POLICY)
    assert (decision.tier, decision.code) == ("large", "small_unavailable")


def test_the_cut_off_that_a_score_brings_is_followed_where_the_operator_set_none():
    taught = replace(call(need=0.3), score=replace(score_of(0.3), threshold=0.4))
    assert decide(taught, POLICY).tier == "large"
    decision = decide(taught, replace(POLICY, follow=True))
    assert (decision.tier, decision.threshold) == ("small", 0.4)


PROMISE = Promise((PromisePart(0.3, ("maths",)), PromisePart(0.6, ("law", "trivia"))), 0.8, "test")


@pytest.mark.parametrize(
    ("domain", "need", "tier", "code"),
    [
        ("maths", 0.29, "small", "easy"),
        ("maths", 0.3, "large", "hard"),
        ("law", 0.5, "small", "easy"),
        ("cooking", 0.0, "large", "far"),
        ("", 0.0, "large", "far"),
    ],
)
def test_a_promise_has_its_own_cut_off_for_a_domain_and_none_for_what_it_never_saw(
    domain: str, need: float, tier: str, code: str
):
    decision = decide(replace(call(need=need), domain=domain), replace(POLICY, promise=PROMISE))
    assert (decision.tier, decision.code) == (tier, code)


def test_a_promise_does_not_reach_further_than_its_prompts():
    policy = replace(POLICY, promise=replace(PROMISE, parts=(PromisePart(0.9),)))
    near = call(need=0.1)
    far = replace(near, score=replace(score_of(0.1), distance=0.81))
    assert decide(near, policy).tier == "small"
    decision = decide(far, policy)
    assert (decision.tier, decision.code) == ("large", "far")
    assert "beyond the promise's 0.800" in decision.reason


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


FOUR = Policy(tuple(TierName(name) for name in ("t0", "t1", "t2", "t3")), spread(0.4, 4))


def places(policy: Policy, *observations: Observation) -> list[str]:
    return [decide(one, policy).tier for one in observations]


def test_chance_gives_each_of_four_tiers_an_equal_part():
    policy = replace(FOUR, strategy=Strategy.RANDOM)
    found = places(policy, *(call(request_id=f"r-{i}") for i in range(4000)))
    assert all(0.22 < found.count(name) / len(found) < 0.28 for name in ("t0", "t1", "t2", "t3"))
    only = Policy(FOUR.tiers[:1], (), Strategy.RANDOM)
    assert places(only, call()) == ["t0"]


def test_a_verdict_has_as_many_levels_as_there_are_tiers():
    policy = replace(FOUR, strategy=Strategy.LLM)
    verdicts = (0.1, 0.4, 0.6, 0.9)
    assert places(policy, *(replace(call(), verdict=one) for one in verdicts)) == [
        "t0", "t1", "t2", "t3",
    ]  # fmt: skip


def test_a_cascade_of_four_starts_where_the_score_places_a_call():
    cascade = replace(FOUR, strategy=Strategy.CASCADE)
    started = [decide(call(need=need), cascade) for need in (0.1, 0.3, 0.45, 0.9)]
    assert [one.tier for one in started] == ["t0", "t1", "t2", "t3"]
    assert [one.doubt for one in started] == [0.5, 0.5, 0.5, None]
    assert "t2's answer is checked" in started[2].reason
    always = replace(cascade, predict=False)
    assert places(always, *(call(need=need) for need in (0.1, 0.45, 0.9))) == ["t0"] * 3


def test_the_cut_off_of_a_score_or_a_promise_is_spread_over_the_tiers():
    promise = Promise((PromisePart(0.4),), None, "test", tiers=4)
    taught = [replace(score_of(need), threshold=0.4) for need in (0.1, 0.3, 0.45, 0.9)]
    calls_ = [replace(call(), score=score) for score in taught]
    wrong = replace(FOUR, thresholds=(0.91, 0.92, 0.93))
    assert places(replace(wrong, follow=True), *calls_) == ["t0", "t1", "t2", "t3"]
    assert places(replace(wrong, promise=promise), *calls_) == ["t0", "t1", "t2", "t3"]


def test_a_promise_for_another_number_of_tiers_makes_no_policy():
    with pytest.raises(ValueError, match="a promise for 2 tiers is none for 4"):
        replace(FOUR, promise=Promise((PromisePart(0.4),), None, "test"))


def test_of_several_tiers_the_next_dearer_stands_in_and_a_full_dearest_gives_one_down():
    assert decide(call(need=0.3, up={"t1": False}), FOUR).tier == "t2"
    assert decide(call(need=0.3, up={"t1": False}), FOUR).fallbacks == ("t3", "t0")
    busy = replace(FOUR, busy_waiting=1, busy_threshold=0.8)
    waiting = {"t3": TierSignal(waiting=5)}
    assert decide(Observation("r", AUTO, waiting, score_of(0.6)), busy).tier == "t2"
