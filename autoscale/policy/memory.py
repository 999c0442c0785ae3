"""The scaling policy's memory between two decisions.

Promises: frozen; survives JSON (`dump`, `load`) without a loss; its size is bounded by constants
and by the number of replicas in the last view, however long it runs.
Not covered: what it means; `autoscale.policy.update` fills it and `autoscale.policy.decide` reads
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from autoscale.policy.forecast import Decayed, Forecast
from autoscale.policy.headroom import Headroom

VERSION = 3
GRAIN_S = 30.0
"""How finely highs are dated; each is held up to so much longer."""
FINE_S = 0.5
MOST_HIGHS = 128
MOST_STARTS = 20
PRIOR_STARTS = 3
LEAD_QUANTILE = 0.9


@dataclass(frozen=True, slots=True)
class Highs:
    """(when, value) of the highest values lately, each lower than the one before it."""

    kept: tuple[tuple[float, float], ...] = ()

    def after(self, value: float, now_s: float, window_s: float, grain_s: float = GRAIN_S) -> Highs:
        """With one more value; what is older than `window_s` is dropped."""
        at_s = math.ceil(now_s / grain_s) * grain_s
        kept = [one for one in self.kept if now_s - window_s <= one[0] <= at_s and one[1] > value]
        return Highs((*kept, (at_s, value))[-MOST_HIGHS:])

    def since(self, since_s: float) -> float:
        """The highest value that was told at `since_s` or later; 0 without one."""
        return next((value for at_s, value in self.kept if at_s >= since_s), 0.0)


@dataclass(frozen=True, slots=True)
class Bursts:
    """How much the work of 10 s exceeds the mean of the last half hour, at its highest."""

    bin_work: float = 0.0
    bin_s: float = 0.0
    mean: Decayed = field(default_factory=Decayed)
    peaks: Highs = field(default_factory=Highs)


@dataclass(frozen=True, slots=True)
class PolicyMemory:
    """What was seen up to `now_s`, None before the first view.

    `work` is replica-seconds of arrivals per second, `batch_work` that of the batch lane; `input`
    and `output` are tokens by request, `context` tokens in a call's KV cache by output token;
    `waits` is the worst of TTFT and TPOT by what they may take of the SLO. `highs` are what was
    asked for without the backlog, `lows` the backlog, negated. `known` are the replicas that were
    ready, `starts` the seconds that others took to get ready. `told_s` is when traffic was last
    told, `busy_s` when there last was any, `down_s` when a replica was last taken away; from `up_s`
    on `up_base` replicas grew.
    """

    version: int = VERSION
    now_s: float | None = None
    told_s: float = 0.0
    busy_s: float = 0.0
    work: Decayed = field(default_factory=Decayed)
    batch_work: Decayed = field(default_factory=Decayed)
    input: Decayed = field(default_factory=Decayed)
    output: Decayed = field(default_factory=Decayed)
    context: Decayed = field(default_factory=Decayed)
    waits: Decayed = field(default_factory=Decayed)
    highs: Highs = field(default_factory=Highs)
    lows: Highs = field(default_factory=Highs)
    bursts: Bursts = field(default_factory=Bursts)
    forecast: Forecast = field(default_factory=Forecast)
    came: Decayed = field(default_factory=Decayed)
    ended: Decayed = field(default_factory=Decayed)
    headroom: Headroom = field(default_factory=Headroom)
    known: tuple[str, ...] = ()
    starts: tuple[float, ...] = ()
    was_starting: int = 0
    batch_since_s: float | None = None
    down_s: float | None = None
    up_s: float | None = None
    up_base: int = 0

    @classmethod
    def new(cls) -> PolicyMemory:
        """Before the first view."""
        return cls()

    def lead_s(self, prior_s: float) -> float:
        """Seconds that a replica takes to start, at the 0.9 quantile; `prior_s` until some did."""
        known = sorted((*self.starts, *[prior_s] * (PRIOR_STARTS - len(self.starts))))
        return known[math.ceil(LEAD_QUANTILE * len(known)) - 1]


_ADAPTER = TypeAdapter(PolicyMemory)


def dump(memory: PolicyMemory) -> dict[str, Any]:
    """JSON-able."""
    told: dict[str, Any] = _ADAPTER.dump_python(memory, mode="json")
    return told


def load(told: Mapping[str, Any] | None) -> PolicyMemory:
    """What `dump` made; a new memory for anything else, as after an upgrade."""
    try:
        memory = _ADAPTER.validate_python(told)
    except ValidationError:
        return PolicyMemory.new()
    return memory if memory.version == VERSION else PolicyMemory.new()
