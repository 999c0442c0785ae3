"""Divide shared GPUs among tiers, and move calls to a tier that takes them.

One view serves the autoscaler and the router: `outlook` makes the router's `TierSignal` of each
tier out of the view that its scaling was decided from, and the numbers that `router.policy.terms`
knows already: `busy_waiting` and `busy_threshold` of its `Policy`, `deadline_s` of its
`Observation`.

    bar = cut_off + RISE * (1 - cut_off) * (1 - allowed_s / wait_s)     for wait_s > allowed_s

Promises: pure; GPUs granted never exceed the budget; no tier gets more than it wants, and none
fewer than its floor while all floors fit; a tier that wants any gets its first replica, if it must
from what another has beyond its own first; for nothing else what a tier has and still wants is
taken from it. A dearest tier that is cold or full raises the bar for sending up, never to more than
halfway between the cut-off and 1: calls that need it most still wake it. A cheapest tier whose
queue is longer than its SLO spills to a warm tier that would begin in time.
Not covered: several dearer tiers with queues of their own; the bar is that of the dearest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoscale.policy.demand import ScalingCode
from autoscale.policy.profile import EngineProfile
from autoscale.policy.signals import View, WantedReplicas
from autoscale.policy.summary import clean
from core.call import TierSignal
from core.settings.scaling import Slo

RISE = 0.5


@dataclass(frozen=True, slots=True)
class TierDemand:
    """One tier that wants GPUs. `has` are replicas that are ready or starting.

    `value` is what a replica's answers are worth, on any scale that the tiers share, such as USD an
    hour at the dearest tier's prices.
    """

    name: str
    wanted: WantedReplicas
    gpus: int
    value: float = 1.0
    has: int = 0
    floor: int = 0


@dataclass(frozen=True, slots=True)
class InSight:
    """One tier as the router is to see it; `lead_s` is the time that a replica takes to start."""

    name: str
    view: View
    profile: EngineProfile
    slo: Slo
    lead_s: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the router takes: a signal for each tier, the dearest's bar, a deadline for spilling.

    `busy_waiting` is None, and so is `deadline_s`, where there is nothing to be moved; else they
    and `busy_threshold` go in the fields of these names in `router.policy.terms`.
    """

    signals: Mapping[str, TierSignal]
    busy_waiting: int | None = None
    busy_threshold: float = 1.0
    deadline_s: float | None = None


def share(standings: Sequence[TierDemand], gpus: int) -> dict[str, WantedReplicas]:
    """What each tier gets of `gpus`: floors first, then one replica of each tier that is wanted,
    then what a tier has and still wants, then more.

    Within each of these the next replica goes where value by GPU, times the share of the wish that
    is not met, is highest; among equals to the tier that comes first.
    """
    granted = {one.name: 0 if one.gpus else one.wanted.replicas for one in standings}
    left = max(0, gpus)
    for goal in (
        {one.name: min(one.floor, one.wanted.replicas) for one in standings},
        {one.name: min(1, one.wanted.replicas) for one in standings},
        {one.name: min(one.has, one.wanted.replicas) for one in standings},
        {one.name: one.wanted.replicas for one in standings},
    ):
        while open_ := [
            one for one in standings if granted[one.name] < goal[one.name] and one.gpus <= left
        ]:
            best = max(open_, key=lambda one: _urgency(one, granted[one.name]))
            granted[best.name] += 1
            left -= best.gpus
    return {one.name: _granted(one, granted[one.name], gpus) for one in standings}


def _urgency(one: TierDemand, granted: int) -> float:
    return one.value / one.gpus * (one.wanted.replicas - granted) / one.wanted.replicas


def _granted(one: TierDemand, granted: int, gpus: int) -> WantedReplicas:
    if granted == one.wanted.replicas:
        return one.wanted
    why = f"{one.wanted.replicas} wanted, and {gpus} GPUs are shared by value"
    return WantedReplicas(granted, ScalingCode.BUDGET, f"{one.wanted.reason}; {why}")


def outlook(tiers: Sequence[InSight], cut_off: float) -> Outlook:
    """Tiers cheapest first; `cut_off` is the last of the router's policy."""
    signals = {one.name: signal(one) for one in tiers}
    if len(tiers) < 2:
        return Outlook(signals)
    dearest = signals[tiers[-1].name]
    told = Outlook(signals, deadline_s=_spill(tiers, signals))
    bar = raised(cut_off, dearest.wait_s, tiers[-1].slo.ttft_s)
    if bar <= cut_off:
        return told
    # The router compares `waiting` with it: below what waits now, the bar holds now.
    return replace(told, busy_waiting=dearest.waiting - 1, busy_threshold=bar)


def raised(cut_off: float, wait_s: float, allowed_s: float) -> float:
    """The cut-off of a tier where a call begins after `wait_s` and may wait `allowed_s`."""
    if wait_s <= allowed_s or cut_off >= 1:
        return cut_off
    return cut_off + RISE * (1 - cut_off) * (1 - allowed_s / wait_s)


def signal(one: InSight) -> TierSignal:
    """A tier for the router; those held at the gateway wait, too.

    A cold tier is available: a call that is sent there is held, and wakes it.
    """
    view, ready = one.view, one.view.ready
    known = [clean(load.kv_use_ratio) for load in ready if load.kv_use_ratio is not None]
    since_s = max((view.now_s - asked_s for asked_s in view.starting), default=0.0)
    held, tokens = view.traffic.held, view.traffic.held_tokens
    return TierSignal(
        running=int(sum(clean(load.running) for load in ready)),
        waiting=int(sum(clean(load.waiting) for load in ready) + clean(held)),
        waiting_tokens=int(sum(clean(load.waiting_tokens) for load in ready) + clean(tokens)),
        kv_use_ratio=sum(known) / len(known) if known else 0.0,
        tokens_per_s=len(ready) * one.profile.prefill_tokens_per_s,
        warm=bool(ready),
        cold_start_s=max(0.0, one.lead_s - clean(since_s)),
    )


def _spill(tiers: Sequence[InSight], signals: Mapping[str, TierSignal]) -> float | None:
    """The deadline that makes the router pass over the cheapest tier's queue; None without need."""
    allowed_s = tiers[0].slo.ttft_s
    dearer = [signals[one.name] for one in tiers[1:]]
    if signals[tiers[0].name].wait_s <= allowed_s:
        return None
    return allowed_s if any(one.warm and one.wait_s <= allowed_s for one in dearer) else None
