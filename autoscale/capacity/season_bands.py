"""Conformal bands: past errors bound future ones.

Promises: pure; a past forecast knows the hours before it and no others. The method and its sources
are told in `autoscale.capacity.season`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri, stdtrit

from autoscale.capacity.season_fit import DAILY_DAYS, TINY, WEEKLY_DAYS, Assumed, SeasonClock, fit
from autoscale.replay.engine_state import Floats
from core.money import DAYS_PER_MONTH

LEAST_ERROR_DAYS = 2
"""Errors of fewer days at a horizon make no band of its own."""
GUESSED_BAND = 0.3
"""How far, in logs, the band of a history reaches that is too short to be asked."""
DRIFT_PER_MONTH = 0.1
"""How much wider, in logs, a band gets each month beyond what the history can be asked for."""
MOST_ERROR = math.log(10)
"""The widest band, in logs: a load that is off by more has no forecast to multiply errors by."""
_MOST_ORIGINS = 60


@dataclass(slots=True)
class Errors:
    """Log errors of past forecasts, by day ahead from 0; `per_day` forecasts began on each day."""

    per_day: int
    hours: dict[int, list[float]] = field(default_factory=dict)
    peaks: dict[int, list[float]] = field(default_factory=dict)

    def days(self, ahead: int) -> float:
        """Days that errors are of."""
        return len(self.peaks.get(ahead, ())) / self.per_day


def errors_of(plain: Floats, clock: SeasonClock, assumed: Assumed, days: int) -> Errors:
    """What forecasts from earlier moments missed; an assumed growth begins when the history ends.

    Each moment knows the hours before it and no others.
    """
    past = Assumed(None if assumed.growth_per_month is None else 0.0)
    # Forecasts that know the weekly season are not judged by those that did not, once there are a
    # week of them.
    first = 24 * (WEEKLY_DAYS if len(plain) >= 24 * (WEEKLY_DAYS + 7) else DAILY_DAYS)
    per_day = 4 if len(plain) - first < 24 * _MOST_ORIGINS / 4 else 1
    found, floor = Errors(per_day), max(float(plain.mean()) * 1e-3, TINY)
    origins = range(len(plain) - 24, first - 1, -24 // per_day)
    for origin in origins[:_MOST_ORIGINS]:
        ahead = min(days, (len(plain) - origin) // 24)
        told = fit(plain[:origin], clock, past).ahead(24 * ahead).reshape(ahead, 24)
        came = np.maximum(plain[origin : origin + 24 * ahead].reshape(ahead, 24), floor)
        told = np.maximum(told, floor)
        for day in range(ahead):
            found.hours.setdefault(day, []).extend(np.log(came[day] / told[day]).tolist())
            peak = math.log(came[day].max() / told[day].max())
            found.peaks.setdefault(day, []).append(peak)
    return found


def bands(
    errors: Errors, of: dict[int, list[float]], days: int, coverage: float
) -> tuple[Floats, Floats, Floats]:
    """(lower, median, upper) factors of the forecast for each day ahead, (days,) each."""
    lower, upper = np.empty(days), np.empty(days)
    tail, known, last = (1 - coverage) / 2, (-GUESSED_BAND, GUESSED_BAND), 0
    median = 0.0
    for day in range(days):
        if (k := errors.days(day)) >= LEAST_ERROR_DAYS:
            seen, few = sorted(of[day]), float(stdtrit(k, 1 - tail) / ndtri(1 - tail))
            known = _bounded(_quantile(seen, tail) * few), _bounded(_quantile(seen, 1 - tail) * few)
            last = day
            if not day:
                median = float(np.median(seen))
        drift = DRIFT_PER_MONTH * (day - last) / DAYS_PER_MONTH
        lower[day], upper[day] = known[0] - drift, known[1] + drift
    # A band of a later day that happens to be narrower would tell of a certainty that is not there.
    lower, upper = np.minimum.accumulate(lower), np.maximum.accumulate(upper)
    aside = max(0.0, median)  # 0 at least: the middle never passes a bound of the band
    return (
        np.exp(np.minimum(lower, 0.0)),
        np.full(days, math.exp(aside)),
        np.exp(np.maximum(upper, aside)),
    )


def _bounded(error: float) -> float:
    return min(max(error, -MOST_ERROR), MOST_ERROR)


def _quantile(ordered: Sequence[float], q: float) -> float:
    """The error of rank ceil((n + 1) q) above the middle, floor((n + 1) q) below it."""
    n = len(ordered)
    rank = math.ceil((n + 1) * q) if q > 0.5 else math.floor((n + 1) * q)
    return ordered[min(max(rank, 1), n) - 1]
