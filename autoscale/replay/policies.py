"""The policies that a replay compares, by name.

Promises: each gets the same trace, seed, replicas and routing to begin with; `foresight` alone is
replayed without start-up times and idle nodes.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from autoscale.policy.decide import PolicyMemory, decide
from autoscale.policy.profile import EngineProfile
from autoscale.policy.rules import ScalingRules
from autoscale.policy.signals import View, WantedReplicas
from autoscale.replay.baselines import Fixed, Foresight, RayDefault, RayRules, load, start_with
from autoscale.replay.replay import Scaler, Setup, replay
from autoscale.replay.result import ReplayResult
from autoscale.replay.trace import Trace
from core.settings.scaling import Scaling

Policy = Literal["ours", "ray", "ray-damped", "fixed", "foresight"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
RAY_TARGET = 8.0
"""Requests for each replica; the best single setting of Ray's default over unlike traces."""
PEAK_UTILISATION = 0.8
FORESIGHT_UTILISATION = 0.7


class HansomScaler:
    """`autoscale.policy.decide.decide`, with its memory kept from view to view."""

    def __init__(self, rules: ScalingRules, profile: EngineProfile) -> None:
        self._rules, self._profile = rules, profile
        self._memory = PolicyMemory.new()

    def __call__(self, view: View) -> WantedReplicas:
        """What the policy decides."""
        wanted, self._memory = decide(view, self._memory, self._rules, self._profile)
        return wanted


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """A policy with its one number: Ray's `target`, the fixed fleet's `replicas`, or `utilisation`.

    What is None is the default, and for the fixed fleet what the trace's peak needs. `scaling` are
    the settings of `ours`; their SLO is the setup's in any case.
    """

    policy: Policy
    target: float | None = None
    replicas: int | None = None
    utilisation: float | None = None
    scaling: Scaling = field(default_factory=Scaling)


def run(trace: Trace, choice: PolicyChoice, setup: Setup) -> ReplayResult:
    """Replay under one policy, beginning with the replicas that the first minutes need."""
    initial = start_with(trace, setup.profile, setup.slo)
    setup = replace(setup, initial=min(initial, setup.max_replicas))
    if choice.policy == "fixed":
        fixed = _peak(trace, setup) if choice.replicas is None else choice.replicas
        setup = replace(setup, initial=fixed)
    if choice.policy == "foresight":
        setup = replace(setup, instant=True, node_idle_s=0.0)
    return replay(trace, scaler(trace, choice, setup), setup)


def scaler(trace: Trace, choice: PolicyChoice, setup: Setup) -> Scaler:
    """The policy, ready to decide from its first view."""
    profile, slo = setup.profile, setup.slo
    least, most = setup.min_replicas, setup.max_replicas
    target = RAY_TARGET if choice.target is None else choice.target
    if choice.policy == "ray":
        return RayDefault(RayRules(target, min_replicas=least, max_replicas=most))
    if choice.policy == "ray-damped":
        return RayDefault(RayRules.damped(target, least, most))
    if choice.policy == "fixed":
        return Fixed(setup.initial)
    if choice.policy == "foresight":
        return Foresight(trace, profile, slo, choice.utilisation or FORESIGHT_UTILISATION)
    scaling = choice.scaling.model_copy(update={"slo": slo})
    if choice.utilisation is not None:
        scaling = scaling.model_copy(update={"utilisation": choice.utilisation})
    return HansomScaler(ScalingRules(least, most, scaling), profile)


def _peak(trace: Trace, setup: Setup) -> int:
    most = float(load(trace, setup.profile, setup.slo).max())
    return min(max(1, math.ceil(most / PEAK_UTILISATION)), setup.max_replicas)
