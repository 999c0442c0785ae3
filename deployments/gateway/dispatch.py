"""Dispatch a call: get its score, observe the tiers, apply the pure policy.

Promises: a decision always comes, within the router's deadline; when the score is late or the
router is down the policy falls back to its rules and says so (`unscored`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from core import log
from core.call import Call, Decision, Endpoint, Risk, TierSignal
from core.capability import needs_of
from core.errors import SettingsError
from core.metrics import Metrics
from core.settings.load import Settings
from core.settings.router import CutOffs
from deployments.gateway.admission import ANONYMOUS, AUTO
from deployments.gateway.backends.capabilities import KnownCapabilities
from deployments.gateway.backends.prefix_index import NO_PROMPT, Prompt
from deployments.gateway.backends.tier import TierReplicas
from deployments.gateway.outlook import Scales
from deployments.gateway.tracing import trace
from router.policy.arms import Arm, RoutingPlan, Shadow, shadowed
from router.policy.capable import needs_score
from router.policy.cutoffs import cut_offs
from router.policy.policy import decide
from router.policy.promise import Promise, load
from router.policy.terms import SCORED, Observation, Policy, RoutingCode, Strategy, TierName
from router.score.conversation import question
from router.score.model import Score, Scorer

_logger = logging.getLogger("hansom.router")
# What the small model thinks of a call's hardness, in [0, 1]; None when it did not say.
Judge = Callable[[Call, list[dict[str, object]]], Awaitable[float | None]]


def load_scorer(settings: Settings) -> Scorer | None:
    """The learned weights, where a strategy asks for them; raises `ArtefactError`."""
    if SCORED.isdisjoint(settings.router.strategies):
        return None
    return Scorer.load(settings.router.weights)


def make_plan(settings: Settings, scorer: Scorer | None) -> RoutingPlan:
    """The operator's settings as policies; the weights bring their own threshold."""
    router = settings.router
    tiers = tuple(TierName(tier.name, tier.model) for tier in settings.tiers)
    promise = load_promise(router.promise, scorer, len(tiers)) if router.promise else None
    shipped = scorer.threshold if scorer else 0.0

    def policy(strategy: str, own: CutOffs | None) -> Policy:
        return Policy(
            tiers,
            cut_offs(own, shipped, len(tiers)),
            strategy=Strategy(strategy),
            promise=promise if own is None else None,
            follow=own is None,
            doubt=router.cascade.doubt,
            predict=router.cascade.predict,
        )

    return RoutingPlan(
        policy(router.strategy, router.threshold),
        tuple(
            Arm(arm.name, arm.percent / 100, policy(arm.strategy, arm.threshold), arm.shadow)
            for arm in router.arms
        ),
        {name: policy(one.strategy, one.threshold) for name, one in router.tenants.items()},
    )


def load_promise(path: Path, scorer: Scorer | None, tiers: int) -> Promise:
    """A promise that was made with these weights for so many tiers; raises `SettingsError`."""
    promise = load(path, tiers)
    if scorer is not None and promise.version != scorer.version:
        wrong = f"was made with the weights {promise.version}, and {scorer.version} are in use"
        raise SettingsError(path, [wrong])
    return promise


def _told(decision: Decision) -> trace.Attributes:
    """A decision for the trace."""
    numbers = {
        "hansom.route.score": decision.score,
        "hansom.route.threshold": decision.threshold,
        "hansom.route.difficulty": decision.difficulty,
    }
    return {
        "hansom.tier": decision.tier,
        "hansom.route.code": decision.code,
        "hansom.route.reason": decision.reason,
        "hansom.route.fallbacks": list(decision.fallbacks),
        **{name: value for name, value in numbers.items() if value is not None},
    }


class Dispatcher:
    """Decides where calls go; one per gateway replica. `judge` asks the small model.

    With `scales` it sees what the scaling policies see: queues, and tiers that are cold.
    `capabilities` tell what each tier can do; without them every tier can do everything.
    """

    def __init__(
        self,
        plan: RoutingPlan,
        router: DeploymentHandle,
        tiers: dict[str, TierReplicas],
        timeout_s: float,
        metrics: Metrics,
        judge: Judge | None = None,
        scales: Scales | None = None,
        capabilities: KnownCapabilities | None = None,
    ) -> None:
        self._scales = scales
        self._capabilities = capabilities
        self._plan = plan
        self._router = router
        self._tiers = tiers
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._judge = judge

    @trace.step("route", _told)
    async def decide(self, call: Call, prompt: Prompt = NO_PROMPT) -> Decision:
        """The tier of one call, and why; a tier that holds the beginning of `prompt` is nearer.

        Raises what `router.policy.policy.decide` raises.
        """
        unit = experiment_unit(call)
        policy, arm = self._plan.policy_for(call.tenant, unit)
        shadows = self._plan.shadows_for(unit) if call.requested == AUTO else ()
        policy, deadline_s = self._moved(policy, call)
        messages = conversation(call)
        observation = Observation(
            request_id=call.request_id,
            requested=call.requested,
            signals=self.signals(),
            text=question(messages) if call.requested == AUTO else "",
            risk=call.risk,
            value=call.value,
            budget_left=call.budget_left,
            deadline_s=deadline_s,
            domain=call.domain,
            needs=needs_of(call.endpoint, call.body),
            capabilities=self._capabilities.now() if self._capabilities else {},
        )
        # Where one tier is left, no score is needed.
        free = needs_score(observation, policy) and call.risk is not Risk.HIGH
        if free and self._plan.needs_score(policy, shadows):
            score = await self._score(call, messages)
            observation = replace(observation, score=score, resident=self._resident(prompt))
        if free and policy.strategy is Strategy.LLM and self._judge is not None:
            observation = replace(observation, verdict=await self._judge(call, messages))
        decision = decide(observation, policy)
        if decision.code == RoutingCode.LATE:
            self._wake(decision.tier)
        for shadow in shadowed(observation, decision, shadows):
            self._tell(call, shadow)
        return replace(decision, arm=arm) if arm else decision

    def signals(self) -> dict[str, TierSignal]:
        """Each tier's state, from what this gateway knows without asking anyone."""
        if self._scales is not None:
            return self._scales.signals()
        return {
            name: TierSignal(available=bool(replicas.running()), running=replicas.in_flight)
            for name, replicas in self._tiers.items()
        }

    def _resident(self, prompt: Prompt) -> dict[str, float]:
        """The share of the prompt that each tier has read before."""
        return {name: replicas.resident(prompt) for name, replicas in self._tiers.items()}

    def _wake(self, chosen: str) -> None:
        """A cheaper tier was passed over: if it is cold, the next calls are to find it warm."""
        for name, replicas in self._tiers.items():
            if name == chosen:
                return
            if replicas.wake_queue is not None and not replicas.running():
                replicas.wake_queue.warm_up()

    def _moved(self, policy: Policy, call: Call) -> tuple[Policy, float | None]:
        """The policy with the bar of a cold or full dearest tier, and the deadline to spill by."""
        if self._scales is None:
            return policy, call.ttft_deadline_s
        seen, deadline_s = self._scales.outlook, call.ttft_deadline_s
        if seen.busy_waiting is not None:
            bar = max(seen.busy_threshold, *policy.thresholds)
            policy = replace(policy, busy_waiting=seen.busy_waiting, busy_threshold=bar)
        return policy, seen.deadline_s if deadline_s is None else deadline_s

    def _tell(self, call: Call, shadow: Shadow) -> None:
        tier = shadow.decision.tier
        agrees = "yes" if shadow.agrees else "no"
        self._metrics.shadows.labels(shadow.arm, tier, agrees).inc()
        log.event(
            _logger, "shadow", request_id=call.request_id, arm=shadow.arm, tier=tier,
            code=shadow.decision.code, agrees=shadow.agrees,
        )  # fmt: skip

    async def _score(self, call: Call, messages: list[dict[str, object]]) -> Score | None:
        """The router's score, or None when none came in time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                score: Score = await self._router.score.remote(
                    messages, call.tenant, call.request_id
                )
                return score
        except (TimeoutError, RayError, RayServeException) as error:
            log.event(_logger, "router_late", request_id=call.request_id, error=repr(error)[:200])
            return None


def experiment_unit(call: Call) -> str:
    """Return what stays in one arm: the user of the request, its key, or the request alone."""
    if call.asked.user:
        return f"{call.tenant}/{call.asked.user}"
    return call.tenant if call.tenant != ANONYMOUS else call.request_id


def conversation(call: Call) -> list[dict[str, object]]:
    """The messages of a chat; a bare prompt counts as one user turn."""
    if call.endpoint is Endpoint.CHAT:
        messages = call.body["messages"]
        assert isinstance(messages, list)
        return messages
    prompt = call.body["prompt"]
    text = (
        prompt
        if isinstance(prompt, str)
        else "\n".join(item for item in prompt if isinstance(item, str))
        if isinstance(prompt, list)
        else ""
    )
    return [{"role": "user", "content": text}]
