"""Decide a call's tier: a pure function of observations and settings.

Promises: the same observation and policy give the same decision; no I/O, no clock, no environment.
A tier or model asked for by name is obeyed, and nothing stands in for it: who names a model does
not want another's answer. Only tiers that can do what the call needs are chosen or stand in; where
none can, `NotSupported` or `ContextTooLong` says what each of them lacks. A call of high risk never
goes below the dearest of them, not even when that tier is down. Any other call goes to a tier that
is up, if one is, and the reason says when it is not the wanted one. With all else equal, a higher
score, value or budget never gets a cheaper tier.
Not covered: what a cut-off promises (`router.tuning.guarantee`), and judging an answer
(`router.cascade`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from core.call import Decision, Risk, TierSignal
from router.policy.capable import Able, able
from router.policy.cutoffs import Cutoffs, adjusted, spread
from router.policy.promise import Promise
from router.policy.terms import AUTO, Observation, Policy, RoutingCode, Strategy
from router.score.heuristic import complexity
from router.score.model import Score


@dataclass(frozen=True, slots=True)
class _Wish:
    """The tier a call would have, were every tier up."""

    tier: int
    code: RoutingCode
    reason: str
    score: float | None = None
    threshold: float | None = None


def decide(observation: Observation, policy: Policy) -> Decision:
    """The tier of one call, and why.

    Raises `UnknownModel` for a name that no tier has, `NotSupported` or `ContextTooLong` where no
    tier that may answer can do what the call needs.
    """
    can = able(observation, policy)
    wish = _able_to(_wish(observation, policy, can), can, policy)
    up = _up(observation, policy, wish, can)
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
        doubt=policy.doubt if _is_judged(wish, chosen, policy, can) else None,
        version=score.version if score else "",
    )


def _able_to(wish: _Wish, can: Able, policy: Policy) -> _Wish:
    """The wish, moved to a tier that can do what the call needs."""
    tier = can.nearest(wish.tier)
    if tier == wish.tier:
        return wish
    instead = f"{policy.tiers[tier].name} instead"
    reason = f"{wish.reason}; {can.lacking[wish.tier]}: {instead}"
    return replace(wish, tier=tier, code=RoutingCode.CAPABILITY, reason=reason)


def _up(observation: Observation, policy: Policy, wish: _Wish, can: Able) -> list[int]:
    """The tiers that may answer, can and are up, the wanted one first."""
    order = _order(wish.tier, len(policy.tiers), observation.risk)
    return [tier for tier in order if tier in can.tiers and _usable(observation, policy, tier)]


def _first_in_time(observation: Observation, policy: Policy, wish: _Wish, up: list[int]) -> int:
    """The first tier that would begin in time; when none would, the first; else the wanted one."""
    in_time = [tier for tier in up if _in_time(observation, policy, tier)]
    named = wish.code is RoutingCode.EXPLICIT
    return next(iter(up if named or not in_time else in_time), wish.tier)


def _is_judged(wish: _Wish, chosen: int, policy: Policy, can: Able) -> bool:
    """Whether the answer is judged: by a cascade, unless no dearer tier is left to ask."""
    cascade = policy.strategy is Strategy.CASCADE and wish.code is not RoutingCode.EXPLICIT
    return cascade and chosen < can.tiers[-1]


def _wish(observation: Observation, policy: Policy, can: Able) -> _Wish:
    if observation.requested != AUTO:
        return _Wish(
            can.tiers[0], RoutingCode.EXPLICIT, f"the caller asked for {observation.requested}"
        )
    dearest = len(policy.tiers) - 1
    if observation.risk is Risk.HIGH:
        return _Wish(dearest, RoutingCode.RISK, "a wrong answer would be costly: the dearest tier")
    if can.only is not None:
        name = policy.tiers[can.only].name
        return _Wish(
            can.only, RoutingCode.CAPABILITY, f"{can.words}: {name} is the only tier that can"
        )
    match policy.strategy:
        case Strategy.LEARNED:
            return _learned(observation, policy)
        case Strategy.CASCADE:
            return _checked(observation, policy)
        case Strategy.LLM:
            return _by_verdict(observation, policy)
        case Strategy.HEURISTIC:
            return _by_rules(observation, policy)
        case Strategy.RANDOM:
            return _by_chance(observation, policy)
        case Strategy.ALWAYS_SMALL | Strategy.ALWAYS_LARGE:
            return _always(policy)


def _always(policy: Policy) -> _Wish:
    small = policy.strategy is Strategy.ALWAYS_SMALL
    which = "cheapest" if small else "dearest"
    reason = f"the policy sends every call to the {which} tier"
    return _Wish(0 if small else len(policy.tiers) - 1, RoutingCode.ALWAYS, reason)


def _learned(observation: Observation, policy: Policy) -> _Wish:
    score = observation.score
    if score is None:
        rules = _by_rules(observation, policy)
        reason = f"no score was at hand; by the rules {rules.reason}"
        return _Wish(rules.tier, RoutingCode.UNSCORED, reason, rules.score, rules.threshold)
    need, dearest = score.need, len(policy.tiers) - 1
    if policy.promise and (beyond := _beyond(policy.promise, score, observation.domain)):
        return _Wish(dearest, RoutingCode.FAR, f"{beyond}: the dearest tier", need)
    cut = _cutoffs(observation, policy)
    tier = cut.place(need)
    wish = _placed(tier, "need of the large model", need, cut)
    if tier == dearest > 0 and need < policy.busy_threshold:
        waiting = _signal(observation, policy, tier).waiting
        if policy.busy_waiting is not None and waiting > policy.busy_waiting:
            reason = f"{wish.reason}, but {waiting} calls wait there: one tier down"
            return _Wish(tier - 1, RoutingCode.LARGE_BUSY, reason, need, policy.busy_threshold)
    return wish


def _beyond(promise: Promise, score: Score, domain: str) -> str:
    return promise.beyond(score.distance, domain, score.version)


def _checked(observation: Observation, policy: Policy) -> _Wish:
    """Start cheap and have the answer judged; what the score calls hard may skip that."""
    wish = _learned(observation, policy)
    if wish.tier == len(policy.tiers) - 1 and policy.predict and observation.score is not None:
        return wish
    # A call that the score places between the ends starts there: below, an answer is doubtful.
    start = max(0, min(wish.tier, len(policy.tiers) - 2)) if policy.predict else 0
    whose = f"{policy.tiers[start].name}'s" if start else "the cheapest tier's"
    reason = f"{wish.reason}; {whose} answer is checked"
    return _Wish(start, RoutingCode.CHECKED, reason, wish.score, wish.threshold)


def _by_verdict(observation: Observation, policy: Policy) -> _Wish:
    if observation.verdict is None:
        rules = _by_rules(observation, policy)
        reason = f"the small model gave no verdict; by the rules {rules.reason}"
        return _Wish(rules.tier, RoutingCode.UNSCORED, reason, rules.score, rules.threshold)
    cut = Cutoffs(spread(0.5, len(policy.tiers)))
    return _placed(cut.place(observation.verdict), "the small model's verdict",
                   observation.verdict, cut)  # fmt: skip


def _by_rules(observation: Observation, policy: Policy) -> _Wish:
    value = complexity(observation.text)
    cut = Cutoffs(spread(policy.heuristic_threshold, len(policy.tiers)))
    return _placed(cut.place(value), "complexity", value, cut)


def _by_chance(observation: Observation, policy: Policy) -> _Wish:
    """The dearest tier gets its share of two, by the number of tiers; the others equal parts."""
    value, dearest = draw(observation.request_id), len(policy.tiers) - 1
    large = policy.random_large_share * 2 / (dearest + 1) if dearest else 1.0
    tier = dearest if value < large else int((value - large) / (1 - large) * dearest)
    reason = f"drawn {value:.3f}, below {large:.3f} is the dearest tier"
    return _Wish(tier, RoutingCode.RANDOM, reason, value, large)


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
        thresholds = spread(score.threshold, len(policy.tiers))
    if policy.promise:
        thresholds = spread(policy.promise.cut_off(observation.domain), len(policy.tiers))
    return adjusted(thresholds, observation.value, observation.budget_left, shares)


def _placed(tier: int, measure: str, value: float, cut: Cutoffs) -> _Wish:
    """The wish of a measured call: hard above the cut-off below its tier, else easy."""
    if not cut.values:
        return _Wish(0, RoutingCode.EASY, "there is one tier only", value)
    code = RoutingCode.HARD if tier else RoutingCode.EASY
    threshold = cut.values[max(tier - 1, 0)]
    side = "reaches" if tier else "is below"
    reason = f"{measure} {value:.3f} {side} {threshold:.3f}{cut.because}"
    return _Wish(tier, code, reason, value, threshold)


def _order(wanted: int, tiers: int, risk: Risk) -> list[int]:
    """Tiers to try: the wanted one, dearer ones, then cheaper ones unless the risk forbids it."""
    down = [] if risk is Risk.HIGH else list(range(wanted - 1, -1, -1))
    return [*range(wanted, tiers), *down]


def _after_fallback(
    wish: _Wish, chosen: int, up: list[int], policy: Policy
) -> tuple[RoutingCode, str]:
    wanted = policy.tiers[wish.tier].name
    if not up:
        reason = f"{wish.reason}; {wanted} is down and no other tier may stand in"
        return RoutingCode.NONE_AVAILABLE, reason
    if chosen == wish.tier:
        return wish.code, wish.reason
    instead = f"{policy.tiers[chosen].name} instead"
    if wish.tier in up:
        return (
            RoutingCode.LATE,
            f"{wish.reason}; {wanted} would begin after the deadline: {instead}",
        )
    code = RoutingCode.SMALL_UNAVAILABLE if chosen > wish.tier else RoutingCode.LARGE_UNAVAILABLE
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
