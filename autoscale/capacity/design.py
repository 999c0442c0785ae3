"""Choose the day that a tier is sized for, and forecast its busiest hour.

Of a trace of several days the design day is the one, of 24 h from the trace's start, with the
highest hour of work; a shorter trace is taken whole. Work is seconds of a replica: prompt tokens by
the prefill rate, output tokens by what each costs at the batch that the TPOT SLO allows
(`autoscale.replay.baselines.token_s`). The peaks are highest hours as a factor of the design day's
own.

Promises: pure. Under two days of history no day is known to have a shape: the factor is then that
of the level, and the day's shape stays the trace's. `notes` says what was taken for granted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscale.capacity.season import Band, History, SeasonForecast, forecast
from autoscale.capacity.season_fit import Assumed
from autoscale.policy.profile import EngineProfile, Slo
from autoscale.replay.baselines import token_s
from autoscale.replay.engine_state import Floats, Ints
from autoscale.replay.trace import Trace
from core.errors import HansomError

INTERVAL_S = 600.0
_HOUR_S, _DAY_S = 3600.0, 86_400.0
_SHORT = "the trace is shorter than a day: its highest hour is taken for that of a day"


@dataclass(frozen=True, slots=True)
class DayShape:
    """What one day of a trace is like; tokens are means, `peak_to_mean` of minutes in an hour."""

    requests: int
    input_tokens: float
    output_tokens: float
    peak_hour_requests_per_s: float
    peak_to_mean: float


@dataclass(frozen=True, slots=True)
class Design:
    """`day` is replayed; `peaks` (D,) are factors of its highest hour, from `start_s` on.

    `inputs` and `outputs` are tokens of each day's highest hour.
    """

    day: Trace
    shape: DayShape
    start_s: float
    peaks: Band
    inputs: SeasonForecast
    outputs: SeasonForecast
    notes: tuple[str, ...]


def design(
    trace: Trace,
    profile: EngineProfile,
    slo: Slo,
    end_s: float,
    days: int,
    assumed: Assumed,
    coverage: float,
    span_s: float | None = None,
) -> Design:
    """For `days` days after the trace, which ended at `end_s` (Unix time).

    `span_s` is how long it lasted, where nothing came at its end.
    """
    if not len(trace):
        raise HansomError(f"{trace.name} has no requests: there is nothing to plan for")
    work_s = _work_s(trace, profile, slo)
    span_s = max(trace.span_s, span_s or 0.0)
    told = [
        forecast(_history(trace, weights, end_s, span_s), days, assumed, coverage)
        for weights in (work_s, _floats(trace.input_tokens), _floats(trace.output_tokens))
    ]
    day = _busiest(trace, work_s)
    whole = told[0]
    seasonal = whole.season != "none"
    base = _top(trace, work_s) if seasonal else whole.level
    peaks = Band(
        *(one / base for one in (whole.peaks.lower, whole.peaks.middle, whole.peaks.upper))
    )
    said = () if seasonal else ("each day has the shape of the trace: one day cannot tell another",)
    notes = (*whole.notes, *said, *(() if span_s >= 0.9 * _DAY_S else (_SHORT,)))
    return Design(day, shape(day), whole.start_s, peaks, told[1], told[2], notes)


def shape(day: Trace) -> DayShape:
    """The figures of one day."""
    hour = (day.at_s // _HOUR_S).astype(np.int64)
    counts = np.bincount(hour)
    top = int(counts.argmax())
    seconds = min(_HOUR_S, max(day.span_s - top * _HOUR_S, 60.0))
    minutes = np.bincount((day.at_s[hour == top] - top * _HOUR_S).astype(np.int64) // 60)
    rate = counts[top] / seconds
    return DayShape(
        len(day),
        float(day.input_tokens.mean()),
        float(day.output_tokens.mean()),
        float(rate),
        float(minutes.max() / 60 / rate),
    )


def _work_s(trace: Trace, profile: EngineProfile, slo: Slo) -> Floats:
    """Seconds of a replica for each request (N,)."""
    prefill_s = trace.input_tokens / profile.prefill_tokens_per_s
    work_s: Floats = prefill_s + trace.output_tokens * token_s(trace, profile, slo)
    return work_s


def _history(trace: Trace, weights: Floats, end_s: float, span_s: float) -> History:
    """Sums of `INTERVAL_S`, whole hours that end with the trace; one hour at the least.

    A trace under an hour is taken as an hour at its own rate.
    """
    hours = max(1, int((span_s + 1) / _HOUR_S))
    if span_s - float(trace.at_s[-1]) > hours * _HOUR_S:
        hours += 1  # all that came is in the hour at the start that is not whole
    late = max(0.0, span_s - hours * _HOUR_S)
    at = ((trace.at_s - late) // INTERVAL_S).astype(np.int64)
    bins = int(hours * _HOUR_S / INTERVAL_S)
    kept = (at >= 0) & (at < bins)
    sums = np.bincount(at[kept], weights=weights[kept], minlength=bins).astype(np.float64)
    if span_s < _HOUR_S:
        sums = np.full(bins, float(weights.sum()) / max(span_s, 60.0) * INTERVAL_S)
    return History(end_s - hours * _HOUR_S, INTERVAL_S, sums)


def _busiest(trace: Trace, work_s: Floats) -> Trace:
    if trace.span_s < 1.5 * _DAY_S:
        return trace
    top = int(_hours(trace, work_s).argmax())
    start_s = top * _HOUR_S // _DAY_S * _DAY_S
    return trace.window(start_s, start_s + _DAY_S)


def _top(trace: Trace, work_s: Floats) -> float:
    return float(_hours(trace, work_s).max())


def _hours(trace: Trace, work_s: Floats) -> Floats:
    hour = (trace.at_s // _HOUR_S).astype(np.int64)
    return np.bincount(hour, weights=work_s).astype(np.float64)


def _floats(tokens: Ints) -> Floats:
    return tokens.astype(np.float64)
