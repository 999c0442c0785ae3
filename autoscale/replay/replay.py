"""Replay a trace through a scaler: the live policy on modelled replicas.

Promises: the scaler is asked every `tick_s` with a `View` as live makes it, and nothing else; equal
seeds give equal results. Requests that find no replica are held in order of arrival until one is
ready. Every request is served once, is larger than a replica's KV cache and refused, or is still
waiting when the replay gives up, `GRACE_S` after the last arrival.
Not covered: what `autoscale.replay.engine_model` and `autoscale.replay.fleet` leave out; the delay
of a live signal; the time that a gateway or a network takes.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import numpy as np

from autoscale.policy.profile import EngineProfile, Slo
from autoscale.policy.signals import Load, Traffic, View, WantedReplicas
from autoscale.replay.engine_routing import ONGOING, POW2, PREFIX, TOKENS, run
from autoscale.replay.engine_state import COUNTS, REFUSED, Constants, Ints, new_requests
from autoscale.replay.fleet import ReplayFleet, ReplayReplica
from autoscale.replay.prefixes import Prefixes
from autoscale.replay.result import Moment, ReplayResult, judge
from autoscale.replay.trace import Trace

Routing = Literal["prefix", "tokens", "ongoing", "pow2"]
ROUTINGS: dict[Routing, int] = {
    "prefix": PREFIX, "tokens": TOKENS, "ongoing": ONGOING, "pow2": POW2,
}  # fmt: skip
Order = Literal["late-last", "fcfs"]
ORDERS: tuple[Order, ...] = get_args(Order)
GRACE_S = 6 * 3600.0


class Scaler(Protocol):
    """Decides from a view; what it remembers is its own."""

    def __call__(self, view: View) -> WantedReplicas:
        """How many replicas there are to be."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What stays the same over a replay.

    `initial` replicas are ready at second 0. Requests of the first `warmup_s`, or of the first
    quarter of a shorter trace, are served but not judged. `instant` leaves out all start-up times.
    `order` is that of an engine's queue: late ones go last, or first come is first served. The
    bounds are the scalers' own; the replay itself keeps to `max_replicas` alone.
    """

    profile: EngineProfile
    slo: Slo = field(default_factory=Slo)
    routing: Routing = "prefix"
    initial: int = 1
    seed: int = 0
    tick_s: float = 5.0
    node_idle_s: float = 300.0
    warmup_s: float = 900.0
    min_replicas: int = 1
    max_replicas: int = 200
    instant: bool = False
    order: Order = "late-last"


def replay(trace: Trace, scaler: Scaler, setup: Setup) -> ReplayResult:
    """Serve the whole trace; the bill ends with its last arrival."""
    return _Replay(trace, scaler, setup).run()


def _shared(trace: Trace) -> Prefixes:
    if trace.prefixes is None:
        return Prefixes.none(len(trace))
    return trace.prefixes.shared(trace.input_tokens)


class _Replay:
    """One replay's state."""

    def __init__(self, trace: Trace, scaler: Scaler, setup: Setup) -> None:
        rng = np.random.default_rng(setup.seed)
        self._trace, self._scaler, self._setup = trace, scaler, setup
        shared = _shared(trace)
        self._requests = new_requests(
            trace.at_s, trace.input_tokens, trace.output_tokens, shared.starts
        )
        self._blocks = shared.ids
        self._draws = rng.random((len(trace), 2))
        late_of = setup.slo if setup.order == "late-last" else None
        self._constants = Constants.of(setup.profile, late_of, setup.slo)
        blocks = int(shared.ids.max(initial=-1)) + 1
        self._fleet = ReplayFleet(setup.profile, setup.node_idle_s, setup.instant, rng, blocks)
        self._fleet.begin(setup.initial)
        self._target = setup.initial
        self._routed = self._seen = self._done = self._held = self._held_before = 0
        self._inputs: Ints = np.concatenate(([0], np.cumsum(self._requests["input_tokens"])))
        self._moments: list[Moment] = []

    def run(self) -> ReplayResult:
        """Tick until everything is served."""
        tick_s, span_s = self._setup.tick_s, self._trace.span_s
        now_s, ticks = 0.0, 1
        while self._done < len(self._trace) and now_s <= span_s + GRACE_S:
            until_s = min(ticks * tick_s, self._fleet.next_ready_s())
            self._serve(now_s, until_s)
            now_s = until_s
            if not self._fleet.ready:
                self._hold(now_s)
            self._fleet.settle(now_s)
            if now_s == ticks * tick_s:
                self._decide(now_s)
                ticks += 1
        hours = self._fleet.node_hours(span_s)
        return judge(
            self._requests, self._setup.profile, self._setup.slo, self._setup.warmup_s,
            span_s, hours, self._held, self._moments,
        )  # fmt: skip

    def _serve(self, now_s: float, until_s: float) -> None:
        before = self._routed
        self._routed = run(
            self._fleet.slots, self._fleet.lists, self._fleet.marks, self._requests, self._blocks,
            self._constants, self._fleet.open(), self._fleet.busy(), before, now_s, until_s,
            ROUTINGS[self._setup.routing], self._draws,
        )  # fmt: skip
        self._done += int((self._requests["slot"][before : self._routed] == REFUSED).sum())

    def _hold(self, now_s: float) -> None:
        """Count those that arrived without a replica, each once."""
        arrived = int(np.searchsorted(self._requests["at_s"], now_s))
        self._held += max(0, arrived - max(self._routed, self._held_before))
        self._held_before = max(self._held_before, arrived)

    def _decide(self, now_s: float) -> None:
        view = self._view(now_s)
        wanted = self._scaler(view)
        target = min(max(0, wanted.replicas), self._setup.max_replicas)
        self._moments.append(
            Moment(
                now_s,
                target,
                len(view.ready),
                len(view.starting),
                len(self._fleet.nodes),
                sum(load.running + load.waiting for load in view.ready),
                view.traffic.held,
            )
        )
        self._target = target
        self._fleet.wish(target, now_s)

    def _view(self, now_s: float) -> View:
        arrived = int(np.searchsorted(self._requests["at_s"], now_s))
        slots, inputs = self._fleet.slots, self._inputs
        finished = int(slots["finished"].sum())
        self._done += finished
        traffic = Traffic(
            seconds=self._setup.tick_s,
            arrived=arrived - self._seen,
            input_tokens=int(inputs[arrived] - inputs[self._seen]),
            cached_tokens=int(slots["cached"].sum()),
            finished=finished,
            output_tokens=int(slots["finished_tokens"].sum()),
            held=arrived - self._routed,
            held_tokens=int(inputs[arrived] - inputs[self._routed]),
            judged=int(slots["judged"].sum()),
            missed=int(slots["missed"].sum()),
        )
        self._seen = arrived
        ready = tuple(self._loads(now_s))
        for name in COUNTS:
            slots[name] = 0
        starting = tuple(one.asked_s for one in self._fleet.starting)
        return View(now_s, self._target, ready, starting, traffic)

    def _loads(self, now_s: float) -> list[Load]:
        slots, seconds = self._fleet.slots[self._fleet.open()], self._setup.tick_s
        columns = (
            slots["decoding"] + slots["joining"] + (slots["partial"] >= 0),
            slots["waiting"], slots["waiting_tokens"], slots["kv"] / self._constants.kv_tokens,
            slots["prefilled"] / seconds, slots["produced"] / seconds,
            slots["firsts"], slots["ttft_sum_s"], slots["paced"], slots["tpot_sum_s"],
        )  # fmt: skip
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [_load(one, now_s, *row) for one, row in zip(self._fleet.ready, rows, strict=True)]


def _load(
    one: ReplayReplica,
    now_s: float,
    running: int,
    waiting: int,
    waiting_tokens: int,
    kv_use_ratio: float,
    input_tokens_per_s: float,
    output_tokens_per_s: float,
    firsts: int,
    ttft_sum_s: float,
    paced: int,
    tpot_sum_s: float,
) -> Load:
    return Load(
        id=str(one.number),
        at_s=now_s,
        started_s=one.asked_s,
        running=running,
        waiting=waiting,
        waiting_tokens=waiting_tokens,
        kv_use_ratio=kv_use_ratio,
        input_tokens_per_s=input_tokens_per_s,
        output_tokens_per_s=output_tokens_per_s,
        ttft_s=ttft_sum_s / firsts if firsts else None,
        tpot_s=tpot_sum_s / paced if paced else None,
    )
