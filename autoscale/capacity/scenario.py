"""Compare plans side by side: today and what-ifs, each sized by replay.

A scenario gives every tier its profile and its share of the requests. Scenarios that replay the
same day on the same profile share one curve of replicas by load
(`autoscale.capacity.sizing.curve`), made at `POINTS` loads between the lowest and the highest that
any of them asks for, and at today's.

Promises: deterministic. Loads of more than `MOST_REQUESTS` a day are not replayed: replicas grow in
proportion from there, which is never too few, since larger fleets carry more for each replica.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoscale.capacity.design import Design
from autoscale.capacity.forecast import CapacityPlan, Margin, NodeKind, TierAsk, plan
from autoscale.capacity.sizing import SHARE, Curve, Sized, curve
from autoscale.policy.profile import EngineProfile
from autoscale.replay.replay import Setup

POINTS = 5
MOST_REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class TierSpec:
    """A tier that gets `factor` times the requests of its design day."""

    name: str
    design: Design
    profile: EngineProfile
    factor: float
    node: NodeKind
    have: int | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """`change` says in words what is not as it is."""

    change: str
    tiers: tuple[TierSpec, ...]


@dataclass(frozen=True, slots=True)
class Solved:
    """A scenario's plan. `today` is each tier's fleet for the design day as it was, no margins."""

    scenario: Scenario
    plan: CapacityPlan
    today: Mapping[str, Sized]


Key = tuple[int, str]


def solve(
    scenarios: Sequence[Scenario], setup: Setup, margin: Margin, share: float = SHARE
) -> tuple[Solved, ...]:
    """Every scenario's plan; the setup's own profile is not used. `HansomError` as `smallest`."""
    loads: dict[Key, list[float]] = {}
    todays: dict[Key, list[float]] = {}
    specs: dict[Key, TierSpec] = {}
    for one in (tier for scenario in scenarios for tier in scenario.tiers if tier.factor > 0):
        key = _key(one)
        peaks, more = one.design.peaks, one.factor * (1 + margin.headroom)
        ends = float(peaks.lower.min()) * more, float(peaks.upper.max()) * more
        loads.setdefault(key, []).extend(ends)
        todays.setdefault(key, []).append(one.factor)
        specs[key] = one
    made = {
        key: curve(
            one.design.day,
            replace(setup, profile=one.profile),
            _points(loads[key], todays[key], len(one.design.day)),
            share,
        )
        for key, one in specs.items()
    }
    return tuple(_solved(one, made, margin) for one in scenarios)


def _solved(
    scenario: Scenario, made: Mapping[Key, tuple[Curve, dict[float, Sized]]], margin: Margin
) -> Solved:
    tiers = [tier for tier in scenario.tiers if tier.factor > 0]
    asks = [_ask(one, made[_key(one)][0]) for one in tiers]
    today = {one.name: made[_key(one)][1][one.factor] for one in tiers}
    return Solved(scenario, plan(asks, margin), today)


def _ask(one: TierSpec, sized: Curve) -> TierAsk:
    design = one.design
    return TierAsk(one.name, sized, one.factor, design.peaks, design.start_s, one.node, one.have)


def _key(one: TierSpec) -> Key:
    return id(one.design), one.profile.name


def _points(loads: Sequence[float], todays: Sequence[float], requests: int) -> list[float]:
    low, high = max(min(loads), 1e-6), max(loads)
    high = max(low, min(high, MOST_REQUESTS / requests))
    between = np.geomspace(low, high, POINTS).tolist() if high > low else [low]
    return sorted({*between, *todays})
