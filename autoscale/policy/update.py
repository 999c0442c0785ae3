"""Update the scaling policy's memory from one view to the next.

Promises: pure; a clock that steps back counts as one that stood still.
"""

from __future__ import annotations

import math
from dataclasses import replace

from autoscale.policy.forecast import Decayed, Forecast
from autoscale.policy.headroom import Headroom, level_of
from autoscale.policy.memory import MOST_STARTS, Bursts, PolicyMemory
from autoscale.policy.profile import EngineProfile
from autoscale.policy.signals import View
from autoscale.policy.summary import Summary, clock
from autoscale.policy.work import Costs
from core.settings.scaling import Scaling

LENGTHS_S = 600.0
CONTEXT_S = 120.0
WAITS_S = 60.0
TTFT_SHARE = 0.5
"""How much of the TTFT SLO the mean may take: some wait for much longer than the mean does."""
CALM_QUANTILE, CALM_RATIO = 0.95, 0.15
"""At this quantile of what the level was passed by, by this share of it: less is calm."""
ONE_MORE = 0.2
"""So much above the replicas there are asks for one more, whatever the hysteresis."""
BURST_BIN_S = 10.0
BURST_S = 1800.0


def learn(
    memory: PolicyMemory,
    seen: Summary,
    view: View,
    scaling: Scaling,
    profile: EngineProfile,
    *,
    grows: bool = True,
) -> tuple[PolicyMemory, Costs]:
    """The memory with one more view in it, and what a request costs by it.

    `grows` is whether the bounds allow for more replicas than there are to be.
    """
    before_s = seen.now_s if memory.now_s is None else memory.now_s
    elapsed_s = max(0.0, seen.now_s - before_s)
    first = memory.now_s is None
    heard = first or seen.seconds > 0
    memory = replace(
        memory,
        now_s=seen.now_s,
        told_s=seen.now_s if heard else memory.told_s,
        busy_s=seen.now_s if first or not seen.idle else min(memory.busy_s, seen.now_s),
        waits=_waits(memory, seen, elapsed_s, scaling, profile),
        batch_since_s=_batch_since_s(memory, seen),
        starts=_starts(memory, seen, view, profile),
        known=tuple(load.id for load in view.ready),
        was_starting=len(seen.starting),
    )
    if seen.seconds <= 0:
        return memory, _costs(memory, scaling, profile)
    seconds, window_s = seen.seconds, scaling.rate_window_s
    memory = replace(
        memory,
        input=memory.input.after(seen.input_tokens, seen.arrived, seconds, LENGTHS_S),
        output=memory.output.after(seen.output_tokens, seen.finished, seconds, LENGTHS_S),
        context=_context(memory.context, seen),
    )
    costs = _costs(memory, scaling, profile)
    work = costs.work(seen.fresh_tokens, seen.arrived - seen.batch_arrived)
    batch = costs.work(seen.batch_tokens, seen.batch_arrived)
    recent = memory.work.after(work, seconds, seconds, window_s)
    came = seen.arrived - seen.batch_arrived
    return replace(
        memory,
        work=recent,
        batch_work=memory.batch_work.after(batch, seconds, seconds, scaling.batch.delay_s + 1),
        came=memory.came.after(came, seconds, seconds, window_s),
        ended=memory.ended.after(seen.finished, seconds, seconds, window_s),
        headroom=_headroom(memory, seen, recent.rate(window_s), scaling, profile, grows),
        bursts=_bursts(memory.bursts, work, seconds, seen.now_s),
        forecast=memory.forecast.after(work / seconds, recent.rate(window_s), seconds),
    ), costs


def _headroom(
    memory: PolicyMemory,
    seen: Summary,
    load: float,
    scaling: Scaling,
    profile: EngineProfile,
    grows: bool,
) -> Headroom:
    one_more = seen.target + ONE_MORE
    return memory.headroom.after(
        seen.judged,
        seen.missed,
        seen.now_s,
        seen.seconds,
        allowed=1 - scaling.target_attainment,
        lead_s=memory.lead_s(profile.lead_s),
        more_level=level_of(one_more, load) if grows else math.inf,
    )


def _costs(memory: PolicyMemory, scaling: Scaling, profile: EngineProfile) -> Costs:
    return Costs.of(memory.input, memory.output, scaling.slo, profile, memory.context)


def _context(context: Decayed, seen: Summary) -> Decayed:
    """Tokens in the KV cache of the call that makes an output token, by output tokens."""
    if seen.context_tokens is None:
        return context
    made = seen.output_tokens_per_s * seen.seconds
    return context.after(seen.context_tokens * made, made, seen.seconds, CONTEXT_S)


def bursty(bursts: Bursts, ratio: float) -> bool:
    """Whether the work of 10 s passed the mean of half an hour `ratio` times over, lately."""
    mean = bursts.mean.mean()
    return mean > 0 and bursts.peaks.since(-math.inf) > ratio * mean


def calm(forecast: Forecast) -> bool:
    """Whether five minutes hardly pass the level, as far as is known of the last hours."""
    most = CALM_RATIO * forecast.level.mean()
    return forecast.tells(CALM_QUANTILE) and forecast.headroom(CALM_QUANTILE) <= most


def _waits(
    memory: PolicyMemory, seen: Summary, elapsed_s: float, scaling: Scaling, profile: EngineProfile
) -> Decayed:
    """The worse of mean TTFT and TPOT by what they may take of the SLO, over a minute.

    An SLO that depends on the prompt judges no TTFT before the length of prompts is known.
    """
    slo = scaling.slo
    prompt_s = memory.input.mean() / profile.prefill_tokens_per_s
    most_s = TTFT_SHARE * (slo.ttft_s + slo.ttft_factor * prompt_s)
    ttft_s = None if slo.ttft_factor and not memory.input.weight else seen.ttft_s
    ratios = [] if ttft_s is None else [ttft_s / most_s]
    ratios += [] if seen.tpot_s is None else [seen.tpot_s / slo.tpot_s]
    if not ratios:
        return memory.waits.after(0.0, 0.0, elapsed_s, WAITS_S)
    return memory.waits.after(max(ratios), 1.0, elapsed_s, WAITS_S)


def _batch_since_s(memory: PolicyMemory, seen: Summary) -> float | None:
    """Since when there is work of the batch lane."""
    if not (seen.batch_arrived or seen.batch_waiting_tokens):
        return None if not seen.ongoing else memory.batch_since_s
    since_s = seen.now_s if memory.batch_since_s is None else memory.batch_since_s
    return min(since_s, seen.now_s)


def _starts(
    memory: PolicyMemory, seen: Summary, view: View, profile: EngineProfile
) -> tuple[float, ...]:
    """How long replicas took that are ready now and were not before.

    One that was only out of sight has been there for longer than any start may take.
    """
    if not memory.was_starting:
        return memory.starts
    known = frozenset(memory.known)
    fresh = [load for load in view.ready if load.id not in known]
    took = [seen.now_s - clock(load.started_s, seen.now_s) for load in fresh]
    took = [took_s for took_s in took if 0 < took_s < 4 * profile.lead_s]
    return (*memory.starts, *took)[-MOST_STARTS:]


def _bursts(bursts: Bursts, work: float, seconds: float, now_s: float) -> Bursts:
    mean = bursts.mean.after(work, seconds, seconds, BURST_S)
    bin_work, bin_s = bursts.bin_work + work, bursts.bin_s + seconds
    if bin_s < BURST_BIN_S:
        return Bursts(bin_work, bin_s, mean, bursts.peaks)
    return Bursts(mean=mean, peaks=bursts.peaks.after(bin_work / bin_s, now_s, BURST_S))
