"""Where a call goes: a pure function of what is observed and what the operator set.

Promises: the same observation and policy give the same decision; no I/O, no clock, no environment.
A tier or model asked for by name is obeyed, and nothing stands in for it: who names a model does
not want another's answer. A call of high risk never goes below the dearest tier, not even when
that tier is down. Any other call goes to a tier that is up, if one is, and the reason says when it
is not the wanted one. With all else equal, a higher score, value or budget never gets a cheaper
tier.
Not covered: what a cut-off promises (`router.guarantee`), and judging an answer (`router.cascade`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from core.call import Decision, Risk, TierSignal
from core.errors import UnknownModel
from router.cutoffs import Cutoffs, adjusted
from router.heuristic import complexity
from router.promise import Promise
from router.score import Score
from router.terms import AUTO, Code, Observation, Policy, Strategy


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
    up = _up(observation, policy, wish)
    chosen = _first_in_time(observation, policy, wish, up)
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
        fallbacks=tuple(policy.tiers[tier].name for tier in up if tier != chosen),
        doubt=policy.doubt if _is_judged(wish, chosen, policy) else None,
        version=score.version if score else "",
    )


def _up(observation: Observation, policy: Policy, wish: _Wish) -> list[int]:
    """The tiers that may answer and can, the wanted one first."""
    order = (
        [wish.tier]
        if wish.code is Code.EXPLICIT
        else _order(wish.tier, len(policy.tiers), observation.risk)
    )
    return [tier for tier in order if _usable(observation, policy, tier)]


def _first_in_time(observation: Observation, policy: Policy, wish: _Wish, up: list[int]) -> int:
    """The first tier that would begin in time; when none would, the first; else the wanted one."""
    in_time = [tier for tier in up if _in_time(observation, policy, tier)]
    named = wish.code is Code.EXPLICIT
    return next(iter(up if named or not in_time else in_time), wish.tier)


def _is_judged(wish: _Wish, chosen: int, policy: Policy) -> bool:
    """Whether the answer is judged: by a cascade, unless nobody dearer is left to ask."""
    cascade = policy.strategy is Strategy.CASCADE and wish.code is not Code.EXPLICIT
    return cascade and chosen < len(policy.tiers) - 1


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
        case Strategy.CASCADE:
            return _checked(observation, policy)
        case Strategy.LLM:
            return _by_verdict(observation, policy)
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
    need, dearest = score.need, len(policy.tiers) - 1
    if policy.promise and (beyond := _beyond(policy.promise, score, observation.domain)):
        return _Wish(dearest, Code.FAR, f"{beyond}: the dearest tier", need)
    cut = _cutoffs(observation, policy)
    tier = cut.place(need)
    wish = _placed(tier, "need of the large model", need, cut)
    if tier == dearest > 0 and need < policy.busy_threshold:
        waiting = _signal(observation, policy, tier).waiting
        if policy.busy_waiting is not None and waiting > policy.busy_waiting:
            reason = f"{wish.reason}, but {waiting} calls wait there: one tier down"
            return _Wish(tier - 1, Code.LARGE_BUSY, reason, need, policy.busy_threshold)
    return wish


def _beyond(promise: Promise, score: Score, domain: str) -> str:
    return promise.beyond(score.distance, domain, score.version)


def _checked(observation: Observation, policy: Policy) -> _Wish:
    """Start cheap and have the answer judged; what the score calls hard may skip that."""
    wish = _learned(observation, policy)
    if wish.tier == len(policy.tiers) - 1 and policy.predict and observation.score is not None:
        return wish
    reason = f"{wish.reason}; the cheapest tier's answer is checked"
    return _Wish(0, Code.CHECKED, reason, wish.score, wish.threshold)


def _by_verdict(observation: Observation, policy: Policy) -> _Wish:
    if observation.verdict is None:
        rules = _by_rules(observation, policy)
        reason = f"the small model gave no verdict; by the rules {rules.reason}"
        return _Wish(rules.tier, Code.UNSCORED, reason, rules.score, rules.threshold)
    dearest = len(policy.tiers) - 1
    cut = Cutoffs((0.5,) * dearest)
    return _placed(cut.place(observation.verdict), "the small model's verdict",
                   observation.verdict, cut)  # fmt: skip


def _by_rules(observation: Observation, policy: Policy) -> _Wish:
    value = complexity(observation.text)
    cut = Cutoffs((policy.heuristic_threshold,) * (len(policy.tiers) - 1))
    return _placed(cut.place(value), "complexity", value, cut)


def _by_chance(observation: Observation, policy: Policy) -> _Wish:
    value = draw(observation.request_id)
    tier = len(policy.tiers) - 1 if value < policy.random_large_share else 0
    reason = f"drawn {value:.3f}, below {policy.random_large_share:.3f} is the dearest tier"
    return _Wish(tier, Code.RANDOM, reason, value, policy.random_large_share)


def draw(unit: str) -> float:
    """A number in [0, 1) that is always the same for the same text."""
    digest = hashlib.blake2b(unit.encode("utf-8", "replace"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") / 2**64


def _cutoffs(observation: Observation, policy: Policy) -> Cutoffs:
    """The policy's cut-offs for this call: value, budget and a warm prefix move them."""
    resident = observation.resident or {}
    shares = [resident.get(tier.name, 0.0) for tier in policy.tiers]
    thresholds, score = policy.thresholds, observation.score
    if policy.follow and score is not None and score.threshold is not None:
        thresholds = (score.threshold,) * len(thresholds)
    if policy.promise:
        thresholds = (policy.promise.cut_off(observation.domain),) * len(thresholds)
    return adjusted(thresholds, observation.value, observation.budget_left, shares)


def _placed(tier: int, measure: str, value: float, cut: Cutoffs) -> _Wish:
    """The wish of a measured call: hard above the cut-off below its tier, else easy."""
    if not cut.values:
        return _Wish(0, Code.EASY, "there is one tier only", value)
    code = Code.HARD if tier else Code.EASY
    threshold = cut.values[max(tier - 1, 0)]
    side = "reaches" if tier else "is below"
    reason = f"{measure} {value:.3f} {side} {threshold:.3f}{cut.because}"
    return _Wish(tier, code, reason, value, threshold)


def _order(wanted: int, tiers: int, risk: Risk) -> list[int]:
    """Tiers to try: the wanted one, dearer ones, then cheaper ones unless the risk forbids it."""
    down = [] if risk is Risk.HIGH else list(range(wanted - 1, -1, -1))
    return [*range(wanted, tiers), *down]


def _after_fallback(wish: _Wish, chosen: int, up: list[int], policy: Policy) -> tuple[Code, str]:
    wanted = policy.tiers[wish.tier].name
    if not up:
        reason = f"{wish.reason}; {wanted} is down and no other tier may stand in"
        return Code.NONE_AVAILABLE, reason
    if chosen == wish.tier:
        return wish.code, wish.reason
    instead = f"{policy.tiers[chosen].name} instead"
    if wish.tier in up:
        return Code.LATE, f"{wish.reason}; {wanted} would begin after the deadline: {instead}"
    code = Code.SMALL_UNAVAILABLE if chosen > wish.tier else Code.LARGE_UNAVAILABLE
    return code, f"{wish.reason}; {wanted} is down: {instead}"


def _usable(observation: Observation, policy: Policy, tier: int) -> bool:
    signal = _signal(observation, policy, tier)
    return signal.available and signal.error_ratio <= policy.max_error_ratio


def _in_time(observation: Observation, policy: Policy, tier: int) -> bool:
    """Whether a tier would begin to answer before the deadline; a cold one starts first."""
    wait_s = _signal(observation, policy, tier).wait_s
    return observation.deadline_s is None or wait_s <= observation.deadline_s


def _signal(observation: Observation, policy: Policy, tier: int) -> TierSignal:
    return observation.signals.get(policy.tiers[tier].name, TierSignal())
