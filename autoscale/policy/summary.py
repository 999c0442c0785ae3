"""Sum up a view and make it safe: finite, not negative, with missing values marked.

Promises: never raises, whatever numbers a `View` holds. Replicas whose news are older than
`stale_s` are taken to be like the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from autoscale.policy.profile import EngineProfile
from autoscale.policy.signals import MOST_REPLICAS, Load, View
from core.settings.scaling import Scaling

MOST = 1e12
LEAST_S = 1e-3


@dataclass(frozen=True, slots=True)
class Summary:
    """One tier now. Tokens and counts are sums over its replicas.

    `seconds` of traffic are 0 where none was told. `queues` is whether any replica's queue is
    known, `kv_tokens` None where no KV use is. `waiting_tokens` and `seats`, the calls that run
    or wait, are of interactive ones alone, `ongoing` of both lanes. `context_tokens` are those
    that an output token is made with, None where none is made; `ttft_s` and `tpot_s` means over
    replicas, None where nothing ended.
    """

    now_s: float
    target: int
    ready: int
    starting: tuple[float, ...]
    seconds: float
    arrived: float
    fresh_tokens: float
    batch_arrived: float
    batch_tokens: float
    input_tokens: float
    finished: float
    output_tokens: float
    judged: float
    missed: float
    held: float
    held_tokens: float
    queues: bool
    ongoing: float
    seats: float
    waiting: float
    running: float
    waiting_tokens: float
    batch_waiting_tokens: float
    kv_tokens: float | None
    output_tokens_per_s: float
    context_tokens: float | None
    ttft_s: float | None
    tpot_s: float | None

    @property
    def idle(self) -> bool:
        """Whether the tier has no calls."""
        return not (self.arrived or self.held or self.held_tokens or self.ongoing
                    or self.waiting_tokens or self.batch_waiting_tokens)  # fmt: skip


def clean(value: float | None) -> float:
    """A finite number in [0, MOST]; 0 for what is missing or not a number."""
    if value is None or value != value or value <= 0:
        return 0.0
    return float(value) if value < MOST else MOST


def see(view: View, otherwise_s: float, scaling: Scaling, profile: EngineProfile) -> Summary:
    """Sum a view up; `otherwise_s` stands for a clock that is not a number."""
    now_s = clock(view.now_s, otherwise_s)
    traffic = view.traffic
    fresh = [load for load in view.ready if now_s - clean(load.at_s) <= scaling.stale_s]
    share = len(view.ready) / len(fresh) if fresh else 0.0
    input_tokens = clean(traffic.input_tokens)
    arrived, batch = clean(traffic.arrived), clean(traffic.batch_arrived)
    batch_tokens = min(clean(traffic.batch_input_tokens), input_tokens)
    waiting, batch_waiting = _waiting_tokens(fresh)
    return Summary(
        now_s=now_s,
        target=int(min(clean(view.target), MOST_REPLICAS)),
        ready=len(view.ready),
        starting=tuple(clock(at_s, now_s) for at_s in islice(view.starting, MOST_REPLICAS)),
        seconds=_seconds(traffic.seconds),
        arrived=arrived,
        fresh_tokens=max(0.0, input_tokens - batch_tokens - clean(traffic.cached_tokens)),
        batch_arrived=min(batch, arrived),
        batch_tokens=batch_tokens,
        input_tokens=input_tokens,
        finished=clean(traffic.finished),
        output_tokens=clean(traffic.output_tokens),
        judged=(judged := clean(traffic.judged)),
        missed=min(clean(traffic.missed), judged),
        held=clean(traffic.held),
        held_tokens=clean(traffic.held_tokens),
        queues=bool(fresh) or not view.ready,
        ongoing=sum(clean(load.running) + clean(load.waiting) for load in fresh),
        seats=sum(_seats(load) for load in fresh),
        waiting=share * sum(_more(load.waiting, load.batch_waiting) for load in fresh),
        running=share * sum(_more(load.running, load.batch_running) for load in fresh),
        waiting_tokens=waiting * share,
        batch_waiting_tokens=batch_waiting * share,
        kv_tokens=_kv_tokens(fresh, len(view.ready), profile),
        output_tokens_per_s=share * sum(clean(load.output_tokens_per_s) for load in fresh),
        context_tokens=_context_tokens(fresh, profile),
        ttft_s=_mean([load.ttft_s for load in fresh]),
        tpot_s=_mean([load.tpot_s for load in fresh]),
    )


def clock(value: float, otherwise_s: float) -> float:
    """`value` if it can be a time, to within a few thousand years."""
    return float(value) if -MOST < value < MOST else otherwise_s


def _seconds(value: float) -> float:
    """A time that rates can be taken over, or 0."""
    return max(clean(value), LEAST_S) if clean(value) else 0.0


def _waiting_tokens(fresh: list[Load]) -> tuple[float, float]:
    """Waiting prompt tokens: of interactive calls, and of batch calls, taken to be as long."""
    interactive = batch = 0.0
    for load in fresh:
        tokens, of_batch = clean(load.waiting_tokens), clean(load.batch_waiting)
        part = min(1.0, of_batch / clean(load.waiting)) if of_batch and load.waiting > 0 else 0.0
        interactive += tokens * (1 - part)
        batch += tokens * part
    return interactive, batch


def _seats(load: Load) -> float:
    """Interactive calls that run or wait."""
    return _more(load.running, load.batch_running) + _more(load.waiting, load.batch_waiting)


def _more(all_: float, batch: float) -> float:
    return max(0.0, clean(all_) - clean(batch))


def _kv_tokens(fresh: list[Load], ready: int, profile: EngineProfile) -> float | None:
    """Tokens of interactive calls in all KV caches; None where no replica tells.

    The lanes are taken to share a cache as they share the calls that run.
    """
    known = [
        min(clean(load.kv_use_ratio), 1.0) * _interactive(load) for load in fresh if _tells_kv(load)
    ]
    if not known:
        return None if ready else 0.0
    return sum(known) / len(known) * ready * profile.kv_tokens


def _context_tokens(fresh: list[Load], profile: EngineProfile) -> float | None:
    """The mean KV cache of a call that runs, by output tokens; None where none is made.

    In a step each call makes a token, so a replica's mean is that of its tokens, too. By calls it
    would be too long: those with much KV run beside others that slow them down.
    """
    made = tokens = 0.0
    for load in fresh:
        if _tells_kv(load) and load.running > 0:
            rate, held = clean(load.output_tokens_per_s), min(clean(load.kv_use_ratio), 1.0)
            made += rate
            tokens += rate * held * profile.kv_tokens / max(1.0, clean(load.running))
    return tokens / made if made > 0 else None


def _tells_kv(load: Load) -> bool:
    return load.kv_use_ratio is not None and load.kv_use_ratio == load.kv_use_ratio


def _interactive(load: Load) -> float:
    """The share of interactive calls among those that run."""
    batch, running = clean(load.batch_running), clean(load.running)
    return 1 - min(1.0, batch / running) if batch and running else 1.0


def _mean(values: list[float | None]) -> float | None:
    known = [clean(value) for value in values if value is not None and value == value]
    return sum(known) / len(known) if known else None
