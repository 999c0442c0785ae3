"""The dispatch board as the gateway sees it: a score from the router, live tiers, a pure policy.

Promises: a decision always comes, within the router's deadline; when the score is late or the
router is down the policy falls back to its rules and says so (`unscored`).
"""

import asyncio
import logging

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from core import log
from core.call import Call, Decision, Endpoint, Risk, TierSignal
from core.settings import Settings
from deployments.admission import AUTO
from deployments.handles import TierReplicas
from router.conversation import question
from router.policy import Observation, Policy, Strategy, Tier, decide
from router.score import Score, Scorer

_logger = logging.getLogger("hansom.router")


def load_scorer(settings: Settings) -> Scorer | None:
    """The learned weights, where the strategy asks for them; raises `ArtefactError`."""
    if Strategy(settings.router.strategy) is not Strategy.LEARNED:
        return None
    return Scorer.load(settings.router.weights)


def make_policy(settings: Settings, scorer: Scorer | None) -> Policy:
    """The operator's settings as a policy; the weights bring their own threshold."""
    own = settings.router.threshold
    threshold = own if own is not None else scorer.threshold if scorer else 0.0
    tiers = tuple(Tier(tier.name, tier.model) for tier in settings.tiers)
    return Policy(
        tiers, (threshold,) * (len(tiers) - 1), strategy=Strategy(settings.router.strategy)
    )


class Board:
    """Decides where calls go; one per gateway replica."""

    def __init__(
        self,
        policy: Policy,
        router: DeploymentHandle,
        tiers: dict[str, TierReplicas],
        timeout_s: float,
    ) -> None:
        self._policy = policy
        self._router = router
        self._tiers = tiers
        self._timeout_s = timeout_s

    async def decide(self, call: Call) -> Decision:
        """The tier of one call, and why."""
        messages = conversation(call)
        observation = Observation(
            request_id=call.request_id,
            requested=call.requested,
            signals=self.signals(),
            score=await self._score(call, messages),
            text=question(messages) if self._needs_text(call) else "",
            risk=call.risk,
        )
        return decide(observation, self._policy)

    def signals(self) -> dict[str, TierSignal]:
        """Each tier's state, from what this gateway knows without asking anyone."""
        return {
            name: TierSignal(available=bool(replicas.running()), running=replicas.in_flight)
            for name, replicas in self._tiers.items()
        }

    def _needs_text(self, call: Call) -> bool:
        return call.requested == AUTO and self._policy.strategy in (
            Strategy.LEARNED,
            Strategy.HEURISTIC,
        )

    async def _score(self, call: Call, messages: list[dict[str, object]]) -> Score | None:
        """The router's score, or None when none is needed or none came in time."""
        if (
            call.requested != AUTO
            or call.risk is Risk.HIGH
            or self._policy.strategy is not Strategy.LEARNED
        ):
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                score: Score = await self._router.score.remote(messages)
                return score
        except (TimeoutError, RayError, RayServeException) as error:
            log.event(_logger, "router_late", request_id=call.request_id, error=repr(error)[:200])
            return None


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
