"""The board: a decision always comes, in time, and says when the score did not."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import DeploymentUnavailableError

from core.call import Endpoint, Risk
from core.errors import SettingsError, UnknownModel
from core.metrics import Metrics
from deployments.gateway.backends.exchange import Connections
from deployments.gateway.backends.prefix_index import read as read_prompt
from deployments.gateway.backends.tier import Replica, TierReplicas
from deployments.gateway.dispatch import (
    Dispatcher,
    conversation,
    experiment_unit,
    load_scorer,
    make_plan,
)
from router.policy.arms import Arm, RoutingPlan
from router.policy.cutoffs import spread
from router.policy.terms import Policy, Strategy, TierName
from router.score.model import Score, ScoreArtefactError, Scorer
from tests.deployments.rig import call, settings_of, tier_of
from tests.fakes import FakeRouter

UP = [Replica("r0", ("127.0.0.1", 1))]
TIERS = (TierName("small", "small-model"), TierName("large", "large-model"))


def score(need: float) -> Score:
    return Score(
        difficulty=need,
        gain=need,
        p_small=1 - need,
        p_large=1.0,
        distance=0.1,
        need=need,
        version="v1",
    )


async def board(
    router: FakeRouter,
    *,
    strategy: Strategy = Strategy.LEARNED,
    up: tuple[str, ...] = ("small", "large"),
    timeout_s: float = 0.1,
    plan: RoutingPlan | None = None,
    metrics: Metrics | None = None,
) -> Dispatcher:
    tiers = {
        tier.name: TierReplicas(
            tier.name,
            lambda name=tier.name: UP if name in up else [],  # type: ignore[misc]
            Connections(),  # never used: the board only looks
            1.0,
        )
        for tier in TIERS
    }
    return Dispatcher(
        plan or RoutingPlan(Policy(TIERS, (0.2,), strategy=strategy)),
        router,
        tiers,
        timeout_s,
        metrics or Metrics(),
    )


@pytest.mark.parametrize(("need", "tier", "code"), [(0.1, "small", "easy"), (0.6, "large", "hard")])
async def test_a_score_in_time_decides(need: float, tier: str, code: str) -> None:
    router = FakeRouter(score(need))
    decision = await (await board(router)).decide(call(requested="auto"))
    assert (decision.tier, decision.code, decision.score) == (tier, code, need)
    assert router.asked == [[{"role": "user", "content": "Hello"}]]


@pytest.mark.parametrize(
    ("left", "tier"), [(None, "large"), (1.0, "large"), (0.1, "small"), (0.0, "small")]
)
async def test_what_is_left_of_a_budget_moves_the_cut_off(left: float | None, tier: str) -> None:
    asked = call(requested="auto", budget_left=left)
    decision = await (await board(FakeRouter(score(0.3)))).decide(asked)
    assert decision.tier == tier
    assert ("of the budget left" in decision.reason) is (tier == "small")


async def test_a_tier_that_has_read_the_beginning_is_nearer() -> None:
    asked = call(requested="auto", messages=[{"role": "user", "content": "Where to? " * 99}])
    prompt = read_prompt(asked.body)
    one = await board(FakeRouter(score(0.19)))
    assert (await one.decide(asked, prompt)).tier == "small"
    one._tiers["large"]._choice.send("r0", prompt, 0.0)
    decision = await one.decide(asked, prompt)
    assert decision.tier == "large"
    assert "its prefix is cached" in decision.reason
    other = call(requested="auto", messages=[{"role": "user", "content": "How far? " * 99}])
    assert (await one.decide(other, read_prompt(other.body))).tier == "small"


@pytest.mark.parametrize(
    "failure",
    [RayActorError(), DeploymentUnavailableError("router"), TimeoutError("late")],
)
async def test_without_the_router_the_rules_decide_and_say_so(failure: Exception) -> None:
    decision = await (await board(FakeRouter(failure=failure))).decide(call(requested="auto"))
    assert (decision.tier, decision.code) == ("small", "unscored")
    assert "no score was at hand" in decision.reason


async def test_a_score_that_is_late_is_not_waited_for() -> None:
    one = await board(FakeRouter(score(0.6), wait_s=30.0))
    before_s = asyncio.get_running_loop().time()
    decision = await one.decide(call(requested="auto"))
    assert decision.code == "unscored"
    assert asyncio.get_running_loop().time() - before_s < 2.0


async def test_a_client_that_leaves_is_not_taken_for_a_late_router() -> None:
    one = await board(FakeRouter(score(0.6), wait_s=30.0), timeout_s=60.0)
    task = asyncio.create_task(one.decide(call(requested="auto")))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("changes", "strategy"),
    [
        ({"requested": "small"}, Strategy.LEARNED),
        ({"requested": "auto", "risk": Risk.HIGH}, Strategy.LEARNED),
        ({"requested": "auto"}, Strategy.HEURISTIC),
        ({"requested": "auto"}, Strategy.ALWAYS_SMALL),
        ({"requested": "auto"}, Strategy.RANDOM),
    ],
)
async def test_the_router_is_not_asked_for_what_needs_no_score(
    changes: dict[str, Any], strategy: Strategy
) -> None:
    router = FakeRouter(score(0.6))
    await (await board(router, strategy=strategy)).decide(call(**changes))
    assert router.asked == []


async def test_a_tier_without_replicas_is_not_chosen() -> None:
    one = await board(FakeRouter(score(0.1)), up=("large",))
    decision = await one.decide(call(requested="auto"))
    assert (decision.tier, decision.code) == ("large", "small_unavailable")
    assert one.signals()["small"].available is False


async def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(UnknownModel):
        await (await board(FakeRouter())).decide(call(requested="gpt-4o"))


@pytest.mark.parametrize(
    ("prompt", "text"),
    [("Hello", "Hello"), (["Hello", "you"], "Hello\nyou"), ([1, 2], ""), ([[1], [2]], "")],
)
def test_a_bare_prompt_counts_as_one_user_turn(prompt: object, text: str) -> None:
    asked = call(endpoint=Endpoint.COMPLETION, prompt=prompt)
    assert conversation(asked) == [{"role": "user", "content": text}]


def test_the_operators_threshold_outweighs_the_one_of_the_weights() -> None:
    own = settings_of(router={"strategy": "always_small", "threshold": 0.7})
    assert make_plan(own, None).main.thresholds == (0.7,)


def test_weights_are_loaded_only_for_the_strategy_that_needs_them() -> None:
    assert load_scorer(settings_of(router={"strategy": "heuristic", "weights": "nowhere"})) is None
    with pytest.raises(ScoreArtefactError, match="nowhere"):
        load_scorer(settings_of(router={"strategy": "learned", "weights": "nowhere"}))


def shadow(strategy: Strategy, share: float = 1.0) -> Arm:
    return Arm("trial", share, Policy(TIERS, (0.2,), strategy=strategy), shadow=True)


async def test_a_shadow_is_counted_and_not_followed() -> None:
    metrics = Metrics()
    plan = RoutingPlan(Policy(TIERS, (0.2,), Strategy.ALWAYS_SMALL), (shadow(Strategy.LEARNED),))
    router = FakeRouter(score(0.6))
    decision = await (await board(router, plan=plan, metrics=metrics)).decide(call())
    assert (decision.tier, decision.code, decision.arm) == ("small", "always", "")
    labels = {"arm": "trial", "tier": "large", "agrees": "no"}
    assert metrics.registry.get_sample_value("hansom_shadow_decisions_total", labels) == 1
    assert len(router.asked) == 1, "the shadow needs the score that the policy does not"


async def test_a_call_with_a_name_has_no_shadow() -> None:
    plan = RoutingPlan(Policy(TIERS, (0.2,), Strategy.ALWAYS_SMALL), (shadow(Strategy.LEARNED),))
    router = FakeRouter(score(0.6))
    await (await board(router, plan=plan)).decide(call(requested="small"))
    assert router.asked == []


async def test_an_arm_is_followed_and_named() -> None:
    arm = Arm("trial", 1.0, Policy(TIERS, (0.2,), Strategy.ALWAYS_LARGE))
    plan = RoutingPlan(Policy(TIERS, (0.2,), Strategy.ALWAYS_SMALL), (arm,))
    decision = await (await board(FakeRouter(), plan=plan)).decide(call())
    assert (decision.tier, decision.arm) == ("large", "trial")


@pytest.mark.parametrize(
    ("changes", "unit"),
    [
        ({"tenant": "anonymous"}, "r-1"),
        ({"tenant": "key-1"}, "key-1"),
        ({"tenant": "key-1", "user": "ada"}, "key-1/ada"),
        ({"tenant": "anonymous", "user": "ada"}, "anonymous/ada"),
        ({"tenant": "key-1", "user": ""}, "key-1"),
    ],
)
def test_an_experiment_keeps_a_user_else_a_key_else_a_request_together(
    changes: dict[str, Any], unit: str
) -> None:
    assert experiment_unit(call(**changes)) == unit


def test_the_settings_name_arms_shadows_and_tenants() -> None:
    router = {
        "strategy": "always_small",
        "arms": [
            {"name": "b", "percent": 10, "strategy": "heuristic"},
            {"name": "s", "percent": 50, "strategy": "random", "shadow": True},
        ],
        "tenants": {"key-1": {"strategy": "always_large"}},
        "cascade": {"doubt": 0.3, "predict": False},
    }
    plan = make_plan(settings_of(router=router), None)
    assert (plan.main.doubt, plan.main.predict) == (0.3, False)
    assert [(arm.name, arm.share, arm.shadow) for arm in plan.arms] == [
        ("b", 0.1, False),
        ("s", 0.5, True),
    ]
    assert plan.tenants["key-1"].strategy is Strategy.ALWAYS_LARGE


def test_a_promise_of_other_weights_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut-off.json"
    part = {"threshold": 0.3, "covers": []}
    told = {"router_version": "v0", "distance_limit": None, "parts": [part]}
    file.write_text(json.dumps(told))
    scorer = Scorer.load()
    learned = settings_of(router={"strategy": "learned", "promise": str(file)})
    with pytest.raises(SettingsError, match="v0"):
        make_plan(learned, scorer)
    file.write_text(json.dumps(told | {"router_version": scorer.version}))
    promise = make_plan(learned, scorer).main.promise
    assert promise is not None
    assert promise.cut_off("") == 0.3
    own = settings_of(router={"strategy": "learned", "promise": str(file), "threshold": 0.1})
    assert make_plan(own, scorer).main.promise is None, "the operator's threshold outweighs it"


def test_one_cut_off_is_spread_over_the_tiers_and_a_list_is_taken_as_it_is() -> None:
    tiers = [tier_of(name, at + 1) for at, name in enumerate(("a", "b", "c", "d"))]

    def thresholds(**router: Any) -> tuple[float, ...]:
        settings = settings_of(tiers=tiers, router={"strategy": "always_small"} | router)
        return make_plan(settings, None).main.thresholds

    assert thresholds(threshold=0.5) == spread(0.5, 4)
    assert thresholds(threshold=[0.1, 0.2, 0.3]) == (0.1, 0.2, 0.3)
    arm = {"name": "b", "percent": 10, "strategy": "learned", "threshold": [0.3, 0.4, 0.5]}
    tenants = {"key-1": {"strategy": "learned", "threshold": 0.5}}
    router = {"strategy": "always_small", "arms": [arm], "tenants": tenants}
    plan = make_plan(settings_of(tiers=tiers, router=router), None)
    assert plan.arms[0].policy.thresholds == (0.3, 0.4, 0.5)
    assert plan.tenants["key-1"].thresholds == spread(0.5, 4)


def test_a_promise_for_other_tiers_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut-off.json"
    part = {"threshold": 0.3, "covers": []}
    file.write_text(
        json.dumps({"router_version": "v3", "distance_limit": None, "parts": [part], "tiers": 4})
    )
    learned = settings_of(router={"strategy": "learned", "promise": str(file)})
    with pytest.raises(SettingsError, match="made for 4 tiers, and the settings have 2"):
        make_plan(learned, None)


async def test_a_single_tier_is_taken_without_a_score() -> None:
    router = FakeRouter(score(0.6))
    one = await board(router, plan=RoutingPlan(Policy(TIERS[:1], ())))
    assert (await one.decide(call())).tier == "small"
    assert router.asked == []
