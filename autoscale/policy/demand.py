"""Calculate the replicas that each signal needs, with a code and words for it.

With W the work that arrives, in replica-seconds per second (`autoscale.policy.work`):

    rate      W / utilisation
    chance    what chance adds to W (`autoscale.policy.room`)
    kv        tokens in KV caches / (kv_ceiling * KV cache of a replica)
    seats     interactive calls that run or wait / (SEATS_SHARE * calls that a replica runs at once)
    slo       one more than are ready, while the mean TTFT is over half of its SLO, or the mean TPOT
              over all of it, and none is starting
    queue     calls that run and those that will wait when a replica ordered now is ready, by what
              a running one holds in the KV cache; while calls wait
    forecast  (level + quantile of what it was passed by) / forecast_utilisation
    batch     (W + work of the batch lane) / batch.utilisation, after batch.delay_s
    backlog   seconds of prefill that wait / drain_s, and the KV caches that they fill; on top of W,
              `kv` or `seats`. What the ready replicas work off within half of the TTFT SLO is no
              backlog, and the room that `rate` keeps is there to work it off

`rate` and `forecast` keep the room of `autoscale.policy.room`. What is in the replicas, `kv` or
`seats` and `backlog`, adds `surge_ratio` of the other terms at the
most, or what makes one more than are ready. A queue and full KV caches grow for as long as replicas
start: ordered by their size alone, replicas come in such numbers when they are gone. `queue` looks
ahead for as long: calls that end within seconds have left by then, and calls of minutes have not.

Promises: pure; more arrivals, tokens that wait, KV use or waiting never ask for fewer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from autoscale.policy.memory import PolicyMemory
from autoscale.policy.profile import EngineProfile
from autoscale.policy.room import Room
from autoscale.policy.summary import Summary
from autoscale.policy.update import TTFT_SHARE
from autoscale.policy.work import KV_SHARE, Costs
from core.settings.scaling import Scaling

STARTED_SHARE = 0.5
"""For how much of a lead the replicas that are starting now will have been there."""
SEATS_SHARE = 0.8
"""Of the calls that a replica runs at once: where short prompts fill it, nothing else tells."""


class ScalingCode(StrEnum):
    """What decided, for metrics.

    `rate` to `backlog` ask for more (calls that will wait count as `backlog`); `steady` and `hold`
    leave the number as it is (the load asks for it, or asked for it lately), so do `starting`
    (nothing is taken away while a replica starts) and `stale` (nothing is known); `spare` takes
    away. `idle` stops the last replica, `asleep`
    leaves it so and `wake` starts it. `floor`, `peak`, `ceiling`, `cost` and `budget` are bounds.
    """

    RATE = "rate"
    CHANCE = "chance"
    KV = "kv"
    SEATS = "seats"
    SLO = "slo"
    FORECAST = "forecast"
    BATCH = "batch"
    BACKLOG = "backlog"
    STEADY = "steady"
    HOLD = "hold"
    STARTING = "starting"
    STALE = "stale"
    SPARE = "spare"
    IDLE = "idle"
    ASLEEP = "asleep"
    WAKE = "wake"
    FLOOR = "floor"
    PEAK = "peak"
    CEILING = "ceiling"
    COST = "cost"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Demand:
    """Replicas by signal, 0 for one that says nothing; `work` is W."""

    work: float
    rate: float
    chance: float
    kv: float
    seats: float
    slo: float
    forecast: float
    batch: float
    backlog: float
    queue: float
    surge_ratio: float
    ready: int
    remark: str = ""

    @property
    def raw(self) -> float:
        """Replicas asked for, in fractions."""
        surge = self._surge(max(self.work, self._held) + self.backlog)
        return max(self._steady, surge, self.queue)

    @property
    def lasting(self) -> float:
        """The same without the backlog: nothing is kept for a queue that is gone."""
        return max(self._steady, self._surge(self._held))

    @property
    def _steady(self) -> float:
        return max(self.rate, self.chance, self.slo, self.forecast, self.batch)

    @property
    def _held(self) -> float:
        return max(self.kv, self.seats)

    def _surge(self, replicas: float) -> float:
        most = max((1 + self.surge_ratio) * max(1.0, self._steady), self.ready + 1.0)
        return min(replicas, most)

    @property
    def code(self) -> ScalingCode:
        """The term that matters most."""
        base = {
            ScalingCode.RATE: self.rate,
            ScalingCode.CHANCE: self.chance,
            ScalingCode.KV: self.kv,
            ScalingCode.SEATS: self.seats,
            ScalingCode.SLO: self.slo,
            ScalingCode.FORECAST: self.forecast,
            ScalingCode.BATCH: self.batch,
        }
        most = max(base, key=lambda code: base[code])
        return ScalingCode.BACKLOG if max(self.backlog, self.queue) > base[most] else most

    @property
    def words(self) -> str:
        """All terms that ask for anything, with their numbers."""
        needs = {
            "KV caches need": self.kv,
            "calls that run or wait need": self.seats,
            "calls that will wait need": self.queue,
            "waits over the SLO need": self.slo,
            "the forecast needs": self.forecast,
            "the batch lane needs": self.batch,
            "the backlog adds": self.backlog,
        }
        parts = [f"{name} {value:.2f}" for name, value in needs.items() if value > 0]
        if self.chance > self.rate:
            parts.insert(0, f"chance needs {self.chance:.2f}")
        if self.rate > 0:
            parts.insert(0, f"load needs {self.rate:.2f} replicas ({self.work:.2f} fully busy)")
        return ("; ".join(parts) or "nothing needs a replica") + self.remark


def terms(
    seen: Summary,
    memory: PolicyMemory,
    costs: Costs,
    room: Room,
    scaling: Scaling,
    profile: EngineProfile,
) -> Demand:
    """What each signal asks for now; without queues or KV use, what is left of them."""
    work = memory.work.rate(scaling.rate_window_s)
    blind = "" if seen.queues else "; no replica tells of its queue"
    if seen.queues and seen.kv_tokens is None:
        blind = "; no replica tells of its KV cache"
    return Demand(
        work=work,
        rate=work / room.utilisation(scaling),
        chance=room.chance(work, scaling),
        queue=_queue(seen, memory, profile),
        kv=_kv(seen, scaling, profile),
        seats=seen.seats / (SEATS_SHARE * profile.max_sequences),
        slo=_slo(seen, memory),
        forecast=room.forecast(memory.forecast, scaling),
        batch=_batch(seen, memory, costs, scaling, work),
        backlog=_backlog(seen, memory, costs, scaling, profile),
        surge_ratio=scaling.surge_ratio if seen.ready else math.inf,
        ready=seen.ready,
        remark=blind + room.words(scaling.target_attainment),
    )


def _kv(seen: Summary, scaling: Scaling, profile: EngineProfile) -> float:
    if seen.kv_tokens is None:
        return 0.0
    return seen.kv_tokens / (scaling.kv_ceiling * profile.kv_tokens)


def _slo(seen: Summary, memory: PolicyMemory) -> float:
    if seen.starting or memory.waits.weight < 1 or memory.waits.mean() <= 1:
        return 0.0
    return seen.ready + 1.0


def _queue(seen: Summary, memory: PolicyMemory, profile: EngineProfile) -> float:
    """What the calls need that run, and that will wait in a lead as more come than end."""
    if not seen.waiting or not seen.running or seen.kv_tokens is None:
        return 0.0
    lead_s = memory.lead_s(profile.lead_s)
    ends = memory.ended.mean() * (1 + STARTED_SHARE * len(seen.starting) / max(1, seen.ready))
    waiting = max(0.0, seen.waiting + (memory.came.mean() - ends) * lead_s)
    calls = seen.running + waiting
    by_kv = calls * seen.kv_tokens / seen.running / (KV_SHARE * profile.kv_tokens)
    return max(by_kv, calls / (SEATS_SHARE * profile.max_sequences))


def _batch(
    seen: Summary, memory: PolicyMemory, costs: Costs, scaling: Scaling, work: float
) -> float:
    since_s, lane = memory.batch_since_s, scaling.batch
    if since_s is None or seen.now_s - since_s < lane.delay_s:
        return 0.0
    backlog = costs.prefill_s * seen.batch_waiting_tokens / lane.drain_s
    return (work + memory.batch_work.mean() + backlog) / lane.utilisation


def _backlog(
    seen: Summary, memory: PolicyMemory, costs: Costs, scaling: Scaling, profile: EngineProfile
) -> float:
    """With no replica ready, calls wait until one has started; more replicas do not help."""
    tokens = seen.waiting_tokens + seen.held_tokens
    if seen.ready:
        soon_s = TTFT_SHARE * scaling.slo.ttft_s * seen.ready
        tokens = max(0.0, tokens - soon_s / costs.prefill_s)
        kv = 0.0 if seen.kv_tokens is None else tokens / (scaling.kv_ceiling * profile.kv_tokens)
        return tokens * costs.prefill_s / scaling.drain_s + kv
    drain_s = max(scaling.drain_s, memory.lead_s(profile.lead_s) / 2)
    return costs.held_work(tokens, seen.held) / drain_s
