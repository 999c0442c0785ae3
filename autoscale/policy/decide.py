"""Decide a tier's number of replicas: a pure function, run live and in replay alike.

The load asks for a number (`autoscale.policy.demand`). Up: at once, by a step that is capped for
each `up_period_s`. Down: to the most that was asked for within the hold, backlogs apart, in small
steps. The hold is `hold_s`, and twice the time that a replica takes to start, as it is learned
from those that did: what is taken away sooner than it can be had back is paid for and never
serves. Traffic whose peaks pass its mean by `burst_ratio` is held for `burst_hold_s`. In calm
traffic, which the next minutes hardly surprise, most of the room that is kept for surprises is not.

Promises: the same view, memory, rules and profile give the same decision; no I/O, no clock; never
raises, whatever the numbers in the view. The bounds hold always: `min_replicas` first, then cost
and `max_replicas`, then floors. With all else equal more arrivals, waiting tokens or KV use never
want fewer replicas. While a replica that is starting is younger than its lead none is taken away,
as Serve cancels those first. A tier goes to zero only when it was idle for `idle_s` and no known
peak is near, and is woken by one held call. Without news of the traffic the number stays.
Not covered: what tiers share (`autoscale.policy.gpu_share`), and where replicas land
(`autoscale.capacity.nodes`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from autoscale.policy.demand import Demand, ScalingCode, terms
from autoscale.policy.memory import FINE_S, PolicyMemory
from autoscale.policy.profile import EngineProfile
from autoscale.policy.room import Room
from autoscale.policy.rules import ScalingRules
from autoscale.policy.signals import View, WantedReplicas
from autoscale.policy.summary import Summary, see
from autoscale.policy.update import bursty, calm, learn
from core.settings.scaling import Scaling

__all__ = ["PolicyMemory", "ScalingCode", "decide"]

PATIENCE = 0.1
"""For what share of a replica's lead a backlog must last to count, and how long at the most:"""
LONGEST_PATIENCE_S = 30.0
CALM_ROOM = 0.4
"""What calm traffic leaves of the room above `utilisation`; of the forecast's it leaves none."""


@dataclass(frozen=True, slots=True)
class _Scene:
    """All that a decision looks at. `hold_s` and `lead_s` are as learned before this view."""

    seen: Summary
    memory: PolicyMemory
    rules: ScalingRules
    terms: Demand
    need: int
    keep: int
    hold_s: float
    lead_s: float


def decide(
    view: View, memory: PolicyMemory, rules: ScalingRules, profile: EngineProfile
) -> tuple[WantedReplicas, PolicyMemory]:
    """Replicas wanted now, and what to remember; `PolicyMemory.new()` begins."""
    scaling = rules.scaling
    seen = see(view, memory.now_s or 0.0, scaling, profile)
    lead_s, known = memory.lead_s(profile.lead_s), memory.now_s is not None
    hold_s = max(scaling.hold_s, 2 * lead_s)
    # By what was known before: else a call more could end the burst that it belongs to, or make
    # traffic calm, and ask for less.
    still = calm(memory.forecast)
    if bursty(memory.bursts, scaling.burst_ratio):
        hold_s = max(hold_s, scaling.burst_hold_s)
    room = Room.of(memory, scaling, profile)
    grows = seen.target < rules.ceiling(profile)
    memory, costs = learn(memory, seen, view, scaling, profile, grows=grows)
    asked = terms(seen, memory, costs, room, _busier(scaling) if still else scaling, profile)
    # A queue that drains by itself before a replica could start is no reason to ask for one.
    lasts_s = min(LONGEST_PATIENCE_S, PATIENCE * lead_s)
    lows = memory.lows.after(-asked.backlog, seen.now_s, lasts_s, FINE_S)
    asked = replace(asked, backlog=-lows.since(seen.now_s - lasts_s))
    if not asked.backlog:
        asked = replace(asked, queue=0.0)
    # A new memory holds what there is, as if it had been asked for just now.
    asked_for = asked.lasting if known else max(asked.lasting, seen.target)
    highs = memory.highs.after(asked_for, seen.now_s, max(hold_s, scaling.burst_hold_s))
    memory = replace(memory, highs=highs, lows=lows)
    slack = scaling.hysteresis_replicas
    scene = _Scene(
        seen, memory, rules, asked,
        need=_whole(asked.raw - slack),
        keep=_whole(max(asked.raw, highs.since(seen.now_s - hold_s)) - slack),
        hold_s=hold_s,
        lead_s=lead_s,
    )  # fmt: skip
    wanted = _bounded(_wish(scene), scene, profile)
    return wanted, _moved(scene, wanted.replicas)


def _busier(scaling: Scaling) -> Scaling:
    """For calm traffic: the forecast is enough, and a part of the rate's room."""
    utilisation = 1 - CALM_ROOM * (1 - scaling.utilisation)
    return scaling.model_copy(update={"utilisation": utilisation, "forecast_utilisation": 1.0})


def _whole(replicas: float) -> int:
    return max(0, math.ceil(replicas))


def _wish(scene: _Scene) -> WantedReplicas:
    """What the load asks for, whatever the bounds."""
    seen, target = scene.seen, scene.seen.target
    if target == 0:
        return _woken(scene)
    silent_s = seen.now_s - scene.memory.told_s
    if silent_s > scene.rules.scaling.stale_s:
        return WantedReplicas(
            target, ScalingCode.STALE, f"no news of the traffic for {silent_s:.0f} s"
        )
    if _sleepy(scene):
        return _down(scene, 0)
    if scene.need > target:
        return _up(scene)
    if max(1, scene.keep) < target:
        return _down(scene, max(1, scene.keep))
    if scene.need < target:
        lately = f"as many were asked for in the last {scene.hold_s:.0f} s"
        return WantedReplicas(target, ScalingCode.HOLD, f"{scene.terms.words}; {lately}")
    return WantedReplicas(target, ScalingCode.STEADY, scene.terms.words)


def _woken(scene: _Scene) -> WantedReplicas:
    seen = scene.seen
    if not (seen.held or seen.held_tokens or seen.arrived):
        return WantedReplicas(0, ScalingCode.ASLEEP, "no calls")
    calls = f"{max(seen.held, seen.arrived):.0f} calls came while it was asleep"
    return WantedReplicas(max(1, scene.need), ScalingCode.WAKE, f"{calls}; {scene.terms.words}")


def _up(scene: _Scene) -> WantedReplicas:
    target, cap = scene.seen.target, _up_cap(scene)
    words = scene.terms.words
    if cap < scene.need:
        words += f"; {scene.need} in steps, up to {cap} now"
    return WantedReplicas(max(target, min(scene.need, cap)), scene.terms.code, words)


def _up_cap(scene: _Scene) -> int:
    scaling = scene.rules.scaling
    base = scene.memory.up_base if _still_rising(scene) else scene.seen.target
    return base + max(scaling.up_step_replicas, math.ceil(base * scaling.up_step_ratio))


def _still_rising(scene: _Scene) -> bool:
    """Whether the period of the last step up is not over."""
    up_s = scene.memory.up_s
    return up_s is not None and 0 <= scene.seen.now_s - up_s < scene.rules.scaling.up_period_s


def _sleepy(scene: _Scene) -> bool:
    """Whether the tier may go to zero: idle for long, and less than a call expected in a lead."""
    seen, memory, scaling = scene.seen, scene.memory, scene.rules.scaling
    if scene.rules.floor or not seen.idle or not seen.queues:
        return False
    if scene.rules.peak_floor(seen.now_s, scene.lead_s):
        return False
    return seen.now_s - memory.busy_s >= scaling.idle_s


def _down(scene: _Scene, keep: int) -> WantedReplicas:
    """Towards `keep`, by one step, unless something speaks against it."""
    seen, scaling, target = scene.seen, scene.rules.scaling, scene.seen.target
    words = scene.terms.words
    ages_s = [seen.now_s - asked_s for asked_s in seen.starting]
    if young := sum(age_s < scene.lead_s for age_s in ages_s):
        why = f"{young} starting, which takes {scene.lead_s:.0f} s: none is taken away"
        return WantedReplicas(target, ScalingCode.STARTING, f"{words}; {why}")
    if not seen.queues:
        return WantedReplicas(target, ScalingCode.STALE, f"{words}: none is taken away")
    down_s = scene.memory.down_s
    if down_s is not None and 0 <= seen.now_s - down_s < scaling.down_period_s:
        why = f"the last was taken away {seen.now_s - down_s:.0f} s ago"
        return WantedReplicas(target, ScalingCode.HOLD, f"{words}; {why}")
    fewer = max(keep, target - max(1, math.floor(target * scaling.down_step_ratio)))
    if fewer == 0:
        idle_s = seen.now_s - scene.memory.busy_s
        return WantedReplicas(0, ScalingCode.IDLE, f"no calls in the last {idle_s:.0f} s")
    return WantedReplicas(
        fewer, ScalingCode.SPARE, f"{words}; {keep} are enough by the last {scene.hold_s:.0f} s"
    )


def _bounded(wish: WantedReplicas, scene: _Scene, profile: EngineProfile) -> WantedReplicas:
    """Within the bounds; one replica at least, unless the tier is or goes to sleep."""
    rules = scene.rules
    most, floor = rules.ceiling(profile), rules.floor
    peak = rules.peak_floor(scene.seen.now_s, scene.lead_s)
    least = max(floor, peak, 0 if wish.code in (ScalingCode.IDLE, ScalingCode.ASLEEP) else 1)
    if wish.replicas < least <= most:
        code = ScalingCode.PEAK if peak > floor else ScalingCode.FLOOR
        why = "a known peak asks for" if code is ScalingCode.PEAK else "the least are"
        return WantedReplicas(least, code, f"{wish.reason}; {why} {least}")
    if max(wish.replicas, least) > most:
        code = ScalingCode.COST if most < rules.max_replicas else ScalingCode.CEILING
        why = f"at {profile.usd_per_hour:g} USD an hour" if code is ScalingCode.COST else "set"
        return WantedReplicas(most, code, f"{wish.reason}; the most are {most}, {why}")
    return wish


def _moved(scene: _Scene, replicas: int) -> PolicyMemory:
    """The memory, with the step that was taken."""
    memory, now_s, target = scene.memory, scene.seen.now_s, scene.seen.target
    if replicas < target:
        return replace(memory, down_s=now_s)
    if replicas > target and not _still_rising(scene):
        return replace(memory, up_s=now_s, up_base=target)
    return memory
