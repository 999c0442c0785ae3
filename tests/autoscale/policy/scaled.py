"""A tier in miniature, to test the policy: views by hand, and a closed loop that starts late."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

from autoscale.policy.decide import PolicyMemory, decide
from autoscale.policy.profile import EngineProfile
from autoscale.policy.rules import ScalingRules
from autoscale.policy.signals import Load, Traffic, View, WantedReplicas
from core.settings.scaling import Scaling

PROFILE = EngineProfile(
    name="test",
    source="made up",
    base_s=0.01,
    per_sequence_s=1e-4,
    per_kv_token_s=1e-7,
    prefill_tokens_per_s=10_000,
    chunk_tokens=512,
    kv_tokens=200_000,
    cold_start_s=(60.0, 120.0),
    node_start_s=0.0,
    gpus=1,
    usd_per_hour=3.0,
)


def scaling(**given: object) -> Scaling:
    """Round numbers in place of the tuned ones; so low a target leaves no room to chance."""
    fixed = {
        "target_attainment": 0.5,
        "utilisation": 0.65, "kv_ceiling": 0.8, "rate_window_s": 30.0,
        "forecast_quantile": 0.8, "forecast_utilisation": 0.8, "burst_ratio": 10.0,
    }  # fmt: skip
    return Scaling.model_validate({**fixed, **given})


RULES = ScalingRules(1, 50, scaling())


def load(number: int, now_s: float, **known: float | None) -> Load:
    return Load(f"r{number}", now_s, 0.0, **known)  # type: ignore[arg-type]


def view(
    now_s: float = 0.0,
    target: int = 1,
    ready: int = 1,
    starting: tuple[float, ...] = (),
    traffic: Traffic | None = None,
    **each: float | None,
) -> View:
    """`each` is what every replica tells."""
    loads = tuple(load(number, now_s, **each) for number in range(ready))
    return View(now_s, target, loads, starting, traffic or Traffic(5.0))


def arrivals(work: float, seconds: float = 5.0) -> Traffic:
    """Prompts whose prefill keeps so many replicas busy; their answers are of one token."""
    calls = max(1, round(work * seconds))
    tokens = int(work * seconds * PROFILE.prefill_tokens_per_s)
    return Traffic(seconds, calls, tokens, finished=calls, output_tokens=calls)


@dataclass
class Loop:
    """Replicas that start after `start_s`, and a queue of prompts that those ready work off.

    When there are too many, those that are starting go first, as in Ray Serve: `cancelled_s` has
    their age, less how long a start took as far as was known.
    """

    rules: ScalingRules = RULES
    start_s: float = 100.0
    tick_s: float = 5.0
    now_s: float = 0.0
    memory: PolicyMemory = field(default_factory=PolicyMemory.new)
    ready: list[tuple[str, float]] = field(default_factory=list)
    starting: list[tuple[str, float]] = field(default_factory=list)
    cancelled_s: list[float] = field(default_factory=list)
    queue_tokens: float = 0.0
    lead_s: float = 0.0
    target: int = 0
    asked: int = 0
    told: list[WantedReplicas] = field(default_factory=list)

    def run(self, work: float, seconds: float) -> "Loop":
        """So long at a load of `work` replicas."""
        for _ in range(int(seconds / self.tick_s)):
            self.tick(work)
        return self

    def tick(self, work: float) -> WantedReplicas:
        self.now_s += self.tick_s
        up = [one for one in self.starting if self.now_s - one[1] >= self.start_s]
        self.starting = [one for one in self.starting if one not in up]
        self.ready += up
        traffic = arrivals(work, self.tick_s) if work else Traffic(self.tick_s)
        rate = len(self.ready) * PROFILE.prefill_tokens_per_s
        self.queue_tokens = max(0.0, self.queue_tokens + traffic.input_tokens - rate * self.tick_s)
        self.lead_s = self.memory.lead_s(PROFILE.lead_s)
        wanted, self.memory = decide(self.view(traffic), self.memory, self.rules, PROFILE)
        self.told.append(wanted)
        self.wish(wanted.replicas)
        return wanted

    def view(self, traffic: Traffic) -> View:
        waiting = math.ceil(self.queue_tokens / 500)
        share = max(1, len(self.ready))
        held = Traffic(
            traffic.seconds, traffic.arrived, traffic.input_tokens,
            held=waiting, held_tokens=int(self.queue_tokens),
        )  # fmt: skip
        loads = tuple(
            Load(
                name,
                self.now_s,
                asked_s,
                waiting=waiting // share,
                waiting_tokens=int(self.queue_tokens / share),
            )
            for name, asked_s in self.ready
        )
        starting = tuple(asked_s for _, asked_s in self.starting)
        return View(self.now_s, self.target, loads, starting, traffic if self.ready else held)

    def wish(self, replicas: int) -> None:
        self.target = replicas
        while len(self.ready) + len(self.starting) < replicas:
            self.asked += 1
            self.starting.append((f"s{self.asked}", self.now_s))
        while len(self.ready) + len(self.starting) > replicas:
            if self.starting:
                self.cancelled_s.append(self.now_s - self.starting.pop()[1] - self.lead_s)
            else:
                self.ready.pop()

    def moves(self, since: int = 0) -> int:
        """How often the number changed from tick `since` on."""
        told = [one.replicas for one in self.told[since:]]
        return sum(a != b for a, b in pairwise(told))
