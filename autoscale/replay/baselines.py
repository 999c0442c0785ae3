"""Scalers to compare with: Ray Serve's own, a fixed fleet, and one that knows the future.

Promises: `RayDefault` counts as the default policy of Ray Serve 2.60 and what wraps it do
(`ray/serve/autoscaling_policy.py`, `ray/serve/_private/autoscaling_state.py`), at the moments when
it is asked: a replay's ticks, where Ray decides every 0.1 s. A test sets it beside Ray's source.
"""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from autoscale.policy.profile import EngineProfile, Slo
from autoscale.policy.signals import View, WantedReplicas
from autoscale.replay.trace import Trace

_ELAPSED_EPS_S = 1e-6  # Ray's own
LEAD_S = 270.0


@dataclass(frozen=True, slots=True)
class RayRules:
    """The settings of Ray Serve's default policy, at its own defaults but for the target."""

    target_ongoing_requests: float = 16.0
    upscaling_factor: float = 1.0
    downscaling_factor: float = 1.0
    upscale_delay_s: float = 30.0
    downscale_delay_s: float = 600.0
    look_back_period_s: float = 30.0
    min_replicas: int = 1
    max_replicas: int = 200

    @classmethod
    def damped(cls, target: float, min_replicas: int = 1, max_replicas: int = 200) -> "RayRules":
        """Factors that keep it from oscillating where replicas take minutes to start."""
        return cls(target, 0.4, 0.25, 30.0, 300.0, 30.0, min_replicas, max_replicas)


@dataclass(slots=True)
class RayDefault:
    """Ray Serve's default policy: as many replicas as keep each at its target of requests."""

    rules: RayRules
    _totals: deque[tuple[float, int]] = field(default_factory=deque)
    _counter: int = 0
    _since_s: float | None = None

    def __call__(self, view: View) -> WantedReplicas:
        """The mean of what was ongoing, its share for each replica, factor, delay, bounds."""
        total = sum(one.running + one.waiting for one in view.ready) + view.traffic.held
        self._totals.append((view.now_s, total))
        while self._totals[0][0] <= view.now_s - self.rules.look_back_period_s:
            self._totals.popleft()
        mean = sum(total for _, total in self._totals) / len(self._totals)
        replicas = self.decide(view.now_s, len(view.ready), view.target, mean)
        replicas = min(max(replicas, self.rules.min_replicas), self.rules.max_replicas)
        return WantedReplicas(replicas, "ray", f"{mean:.1f} requests ongoing")

    def decide(self, now_s: float, current: int, target: int, ongoing: float) -> int:
        """What Ray decides with `current` replicas running, before its bounds."""
        if current == 0:
            if ongoing > 0:
                return max(math.ceil(self.rules.upscaling_factor), target)
            desired = target
            return desired if desired > 0 else self._delayed(now_s, desired, target)
        wanted = current * (ongoing / (self.rules.target_ongoing_requests * current))
        return self._delayed(now_s, max(0, self._factored(wanted, current)), target)

    def _factored(self, wanted: float, current: int) -> int:
        rules, delta = self.rules, wanted - current
        factor = rules.upscaling_factor if delta > 0 else rules.downscaling_factor
        scaled = math.ceil(current + factor * delta)
        return scaled - 1 if math.ceil(wanted) < current and scaled == current else scaled

    def _delayed(self, now_s: float, desired: int, target: int) -> int:
        """`desired` once it was wished for long enough without a break, until then `target`."""
        if desired == target:
            self._counter, self._since_s = 0, None
            return target
        up = desired > target
        if (self._counter < 0) if up else (self._counter > 0):
            self._counter, self._since_s = 0, None
        self._counter += 1 if up else -1
        if self._since_s is None:
            self._since_s = now_s
        delay_s = self.rules.upscale_delay_s if up else self.rules.downscale_delay_s
        if not up and target != 1:
            desired = max(1, desired)
        if now_s - self._since_s + _ELAPSED_EPS_S < delay_s:
            return target
        self._counter, self._since_s = 0, None
        return desired


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always so many."""

    replicas: int

    def __call__(self, view: View) -> WantedReplicas:  # noqa: ARG002 - it looks at nothing
        """The same as ever."""
        return WantedReplicas(self.replicas, "fixed", "a fixed fleet")


class Foresight:
    """Knows every arrival: replicas for the work of the coming `LEAD_S`, `utilisation` of each.

    A reference to be replayed without start-up times, not a bound: it does not see how requests
    fall on replicas.
    """

    def __init__(
        self, trace: Trace, profile: EngineProfile, slo: Slo, utilisation: float = 0.85
    ) -> None:
        self._load = load(trace, profile, slo)
        self._utilisation = utilisation

    def __call__(self, view: View) -> WantedReplicas:
        """Enough for the most work of any moment from now to `LEAD_S` from now."""
        first = int(view.now_s // BIN_S)
        ahead = self._load[first : first + max(1, round(LEAD_S / BIN_S))]
        most = float(ahead.max()) if len(ahead) else 0.0
        replicas = max(1, math.ceil(most / self._utilisation))
        return WantedReplicas(replicas, "foresight", f"{most:.2f} replicas of work to come")


BIN_S = 30.0


def load(trace: Trace, profile: EngineProfile, slo: Slo, smooth_s: float = 120.0) -> np.ndarray:
    """Replicas kept busy by each `BIN_S` of a trace, a mean over `smooth_s` around it (bins,)."""
    work_s = trace.input_tokens / profile.prefill_tokens_per_s
    work_s = work_s + trace.output_tokens * token_s(trace, profile, slo)
    bins = int(trace.span_s // BIN_S) + 1
    busy = np.bincount((trace.at_s // BIN_S).astype(int), weights=work_s, minlength=bins) / BIN_S
    kernel = np.ones(max(1, round(smooth_s / BIN_S)))
    return np.convolve(busy, kernel, "same") / np.convolve(np.ones(len(busy)), kernel, "same")


def token_s(trace: Trace, profile: EngineProfile, slo: Slo) -> float:
    """Replica-seconds of one output token: step(B) / B where a step takes 0.8 of the TPOT allowed.

    B is bounded by `max_sequences` and by the KV cache. The context is that of a token, not of a
    request: long answers make most tokens, and hold the cache for longest.
    """
    share = trace.output_tokens / trace.output_tokens.sum()
    context = float((share * (trace.input_tokens + trace.output_tokens / 2)).sum())
    whole = float((share * (trace.input_tokens + trace.output_tokens)).sum())
    each_s = profile.per_sequence_s + profile.per_kv_token_s * context
    by_slo = (0.8 * slo.tpot_s - profile.base_s) / each_s if each_s else math.inf
    sequences = max(1.0, min(by_slo, profile.kv_tokens / whole, profile.max_sequences))
    return profile.base_s / sequences + each_s


def start_with(trace: Trace, profile: EngineProfile, slo: Slo, utilisation: float = 0.65) -> int:
    """Replicas to begin a replay with: those for the mean work of its first ten minutes."""
    return max(1, math.ceil(float(load(trace, profile, slo)[:20].mean()) / utilisation))
