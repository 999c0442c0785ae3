"""Where a call goes: a pure function of what is observed and what the operator set.

Promises: the same observation and policy give the same decision; no I/O, no clock, no environment.
A tier or model asked for by name is obeyed, and nothing stands in for it: who names a model does
not want another's answer. A call of high risk never goes below the dearest tier, not even when
that tier is down. Any other call goes to a tier that is up, if one is, and the reason says when it
is not the wanted one. With all else equal, a higher score never gets a cheaper tier.
Not covered: budgets and escalation after an answer; they act before and after this decision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.call import Decision, Risk, TierSignal
from core.errors import UnknownModel
from router.heuristic import complexity
from router.score import Score

AUTO = "auto"


class Strategy(StrEnum):
    """How a call that names no tier is placed."""

    LEARNED = "learned"
    HEURISTIC = "heuristic"
    ALWAYS_SMALL = "always_small"
    ALWAYS_LARGE = "always_large"
    RANDOM = "random"


class Code(StrEnum):
    """Why a call went where it went, for metrics and the response header."""

    EXPLICIT = "explicit"
    RISK = "risk"
    EASY = "easy"
    HARD = "hard"
    ALWAYS = "always"
    RANDOM = "random"
    UNSCORED = "unscored"
    LARGE_BUSY = "large_busy"
    SMALL_UNAVAILABLE = "small_unavailable"
    LARGE_UNAVAILABLE = "large_unavailable"
    NONE_AVAILABLE = "none_available"


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier's name and the model it serves; a caller may ask for either."""

    name: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator set.

    `tiers` run from cheap to dear, with one ascending cut-off between each two.
    `busy_threshold` replaces the last cut-off while the dearest tier has more than `busy_waiting`
    calls in its queue; None leaves the queue out of it.
    """

    tiers: tuple[Tier, ...]
    thresholds: tuple[float, ...]
    strategy: Strategy = Strategy.LEARNED
    heuristic_threshold: float = 0.7
    random_large_share: float = 0.5
    busy_waiting: int | None = None
    busy_threshold: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a policy that could not decide."""
        if not self.tiers or len(self.thresholds) != len(self.tiers) - 1:
            raise ValueError(f"{len(self.tiers)} tiers want one threshold fewer than tiers")
        if list(self.thresholds) != sorted(self.thresholds):
            raise ValueError(f"thresholds must ascend with the tiers: {self.thresholds}")
        if self.thresholds and self.busy_threshold < self.thresholds[-1]:
            raise ValueError("busy_threshold must not be below the last threshold")


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of one call. A tier without a signal counts as up and idle."""

    request_id: str
    requested: str
    signals: Mapping[str, TierSignal]
    score: Score | None = None
    text: str = ""
    risk: Risk = Risk.NORMAL


@dataclass(frozen=True, slots=True)
class _Wish:
    """The tier a call would have, were every tier up."""

    tier: int
    code: Code
    reason: str
    score: float | None = None
    threshold: float | None = None


def decide(observation: Observation, policy: Policy) -> Decision:
    """The tier of one call, and why. Raises `UnknownModel` for a name that no tier has."""
    wish = _wish(observation, policy)
    named = wish.code is Code.EXPLICIT
    order = [wish.tier] if named else _order(wish.tier, len(policy.tiers), observation.risk)
    up = [tier for tier in order if _signal(observation, policy, tier).available]
    chosen = up[0] if up else wish.tier
    code, reason = _after_fallback(wish, chosen, up, policy)
    score = observation.score
    return Decision(
        tier=policy.tiers[chosen].name,
        code=code.value,
        reason=reason,
        score=wish.score,
        threshold=wish.threshold,
        difficulty=score.difficulty if score else None,
        gain=score.gain if score else None,
        fallbacks=tuple(policy.tiers[tier].name for tier in up[1:]),
    )


def _wish(observation: Observation, policy: Policy) -> _Wish:
    if observation.requested != AUTO:
        tier = _named(observation.requested, policy)
        return _Wish(tier, Code.EXPLICIT, f"the caller asked for {observation.requested}")
    dearest = len(policy.tiers) - 1
    if observation.risk is Risk.HIGH:
        return _Wish(dearest, Code.RISK, "a wrong answer would be costly: the dearest tier")
    match policy.strategy:
        case Strategy.LEARNED:
            return _learned(observation, policy)
        case Strategy.HEURISTIC:
            return _by_rules(observation, policy)
        case Strategy.ALWAYS_SMALL:
            return _Wish(0, Code.ALWAYS, "the policy sends every call to the cheapest tier")
        case Strategy.ALWAYS_LARGE:
            return _Wish(dearest, Code.ALWAYS, "the policy sends every call to the dearest tier")
        case Strategy.RANDOM:
            return _by_chance(observation, policy)


def _named(requested: str, policy: Policy) -> int:
    for index, tier in enumerate(policy.tiers):
        if requested in (tier.name, tier.model):
            return index
    raise UnknownModel(f"no tier serves '{requested}'", param="model")


def _learned(observation: Observation, policy: Policy) -> _Wish:
    score = observation.score
    if score is None:
        rules = _by_rules(observation, policy)
        reason = f"no score was at hand; by the rules {rules.reason}"
        return _Wish(rules.tier, Code.UNSCORED, reason, rules.score, rules.threshold)
    need = score.need
    tier = sum(need >= threshold for threshold in policy.thresholds)
    wish = _placed(tier, "need of the large model", need, policy.thresholds)
    if tier == len(policy.tiers) - 1 > 0 and need < policy.busy_threshold:
        waiting = _signal(observation, policy, tier).waiting
        if policy.busy_waiting is not None and waiting > policy.busy_waiting:
            reason = f"{wish.reason}, but {waiting} calls wait there: one tier down"
            return _Wish(tier - 1, Code.LARGE_BUSY, reason, need, policy.busy_threshold)
    return wish


def _by_rules(observation: Observation, policy: Policy) -> _Wish:
    value = complexity(observation.text)
    dearest = len(policy.tiers) - 1
    tier = dearest if value >= policy.heuristic_threshold else 0
    return _placed(tier, "complexity", value, (policy.heuristic_threshold,) * dearest)


def _by_chance(observation: Observation, policy: Policy) -> _Wish:
    digest = hashlib.blake2b(observation.request_id.encode("utf-8", "replace"), digest_size=8)
    draw = int.from_bytes(digest.digest(), "big") / 2**64
    tier = len(policy.tiers) - 1 if draw < policy.random_large_share else 0
    reason = f"drawn {draw:.3f}, below {policy.random_large_share:.3f} is the dearest tier"
    return _Wish(tier, Code.RANDOM, reason, draw, policy.random_large_share)


def _placed(tier: int, measure: str, value: float, thresholds: tuple[float, ...]) -> _Wish:
    """The wish of a measured call: hard above the cut-off below its tier, else easy."""
    if not thresholds:
        return _Wish(0, Code.EASY, "there is one tier only", value)
    code = Code.HARD if tier else Code.EASY
    threshold = thresholds[max(tier - 1, 0)]
    side = "reaches" if tier else "is below"
    return _Wish(tier, code, f"{measure} {value:.3f} {side} {threshold:.3f}", value, threshold)


def _order(wanted: int, tiers: int, risk: Risk) -> list[int]:
    """Tiers to try: the wanted one, dearer ones, then cheaper ones unless the risk forbids it."""
    down = [] if risk is Risk.HIGH else list(range(wanted - 1, -1, -1))
    return [*range(wanted, tiers), *down]


def _after_fallback(wish: _Wish, chosen: int, up: list[int], policy: Policy) -> tuple[Code, str]:
    wanted = policy.tiers[wish.tier].name
    if not up:
        return (
            Code.NONE_AVAILABLE,
            f"{wish.reason}; {wanted} is down and no other tier may stand in",
        )
    if chosen == wish.tier:
        return wish.code, wish.reason
    code = Code.SMALL_UNAVAILABLE if chosen > wish.tier else Code.LARGE_UNAVAILABLE
    return code, f"{wish.reason}; {wanted} is down: {policy.tiers[chosen].name} instead"


def _signal(observation: Observation, policy: Policy, tier: int) -> TierSignal:
    return observation.signals.get(policy.tiers[tier].name, TierSignal())
