"""Forecast the load of days and weeks as bands: level, trend, hours and weekdays.

    forecast(t) = level * trend(t) * day(t) * hour(t) * product of launches that began by t

`level` is a mean over the last days without the seasons, in which a day counts for half of the one
`HALF_LIFE_DAYS` later. `day` and `hour` are shares of the mean. The trend is the median of the logs
of (a day / the same weekday a week before), the seasonal slope of Hirsch, Slack and Smith
(doi:10.1029/WR018i001p00107), unless it is told as an assumption. A launch is a named assumption:
a factor from a moment on, taken out of the history that has it.

Bands are conformal (arXiv 1604.04173): the same forecast is made from earlier moments of the
history, and the log errors that it had at the same horizon, in days, give the quantiles: of n
errors the one of rank ceil((n + 1) q). Errors of the hours make the bands of hours, those of the
highest hour of each 24 the bands of peaks. Errors of one day go together, so k days of them widen
the band by t_k(q) / z(q), Student's quantile by the normal one, up to `MOST_ERROR`. Beyond the
horizons that the history can be asked for, each month widens the band by `DRIFT_PER_MONTH`, an
assumption.

Promises: pure; lower <= middle <= upper; what could not be learned is said in `notes`. A weekly
season and a trend need 14 days of history, a daily season 2.
Not covered: holidays (name them as launches that end: a factor and later its inverse), seasons of
months, and the next minutes (`autoscale.policy.forecast`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autoscale.capacity.season_bands import (
    DRIFT_PER_MONTH,
    GUESSED_BAND,
    LEAST_ERROR_DAYS,
    MOST_ERROR,
    bands,
    errors_of,
)
from autoscale.capacity.season_fit import (
    DAILY_DAYS,
    HOUR_S,
    TINY,
    WEEKLY_DAYS,
    Season,
    SeasonClock,
    fit,
    launched,
)
from autoscale.capacity.season_fit import Assumed as Assumed
from autoscale.capacity.season_fit import Launch as Launch
from autoscale.replay.engine_state import Floats
from core.money import DAYS_PER_MONTH

_GUESSED = f"the history is too short to measure errors: a band of {GUESSED_BAND:.0%} is assumed"
_WILD = (
    f"highest hours came that were {math.exp(MOST_ERROR):.0f} times what the days before had told: "
    "the band ends there, and widens by the month alone"
)


@dataclass(frozen=True, slots=True)
class History:
    """What came in each interval: `values` (N,) >= 0 from `start_s` (Unix time) on."""

    start_s: float
    interval_s: float
    values: Floats

    def hours(self) -> Floats:
        """Sums of whole hours (H,); a last hour that is not whole is left out.

        ValueError for intervals that are longer than an hour, or negative or infinite values.
        """
        if not 0 < self.interval_s <= HOUR_S:
            raise ValueError(f"intervals must be of an hour at most, not {self.interval_s:g} s")
        values = np.asarray(self.values, np.float64)
        if len(values) and not (np.isfinite(values).all() and values.min() >= 0):
            raise ValueError("a history holds finite values of 0 or more")
        whole = int(len(values) * self.interval_s / HOUR_S + TINY)
        hour = (np.arange(len(values)) * self.interval_s / HOUR_S + TINY).astype(np.int64)
        sums = np.bincount(hour, weights=values, minlength=whole)[:whole]
        return sums.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Band:
    """Arrays of one shape, lower <= middle <= upper."""

    lower: Floats
    middle: Floats
    upper: Floats


@dataclass(frozen=True, slots=True)
class SeasonForecast:
    """`hours` (24 * D,) sums of hours from `start_s` on; `peaks` (D,) the highest of each 24.

    `level` is what an hour has on the mean as the history ends, launches left out. The middle of
    `peaks` is what the forecasts' own highest hours missed, by the median, above that of `hours`.
    """

    start_s: float
    hours: Band
    peaks: Band
    coverage: float
    level: float
    season: Season
    growth_per_month: float
    notes: tuple[str, ...]


def forecast(
    history: History, days: int, assumed: Assumed | None = None, coverage: float = 0.9
) -> SeasonForecast:
    """The bands of the next `days` days, counted from the end of the last whole hour.

    ValueError for a history without a whole hour, no days, or a coverage outside of (0, 1).
    """
    if days < 1 or not 0 < coverage < 1:
        raise ValueError("a forecast needs a day or more, and a coverage between 0 and 1")
    assumed = assumed or Assumed()
    seen = history.hours()
    if not len(seen):
        raise ValueError("a forecast needs an hour of history at least")
    plain = seen / launched(history.start_s, 0, len(seen), assumed.launches)
    fitted = fit(plain, SeasonClock(history.start_s + assumed.utc_offset_h * HOUR_S), assumed)
    middle = fitted.ahead(24 * days) * launched(
        history.start_s, len(seen), 24 * days, assumed.launches
    )
    errors = errors_of(plain, fitted.clock, assumed, days)
    hours, peaks = (bands(errors, of, days, coverage) for of in (errors.hours, errors.peaks))
    known = [day + 1 for day in range(days) if errors.days(day) >= LEAST_ERROR_DAYS]
    short = () if known else (_GUESSED,)
    if known and peaks[2].max() >= math.exp(MOST_ERROR):
        short = (*short, _WILD)
    if (last := max(known, default=0)) < days:
        short = (*short, _drift(last))
    return SeasonForecast(
        history.start_s + len(seen) * HOUR_S,
        Band(*(middle * np.repeat(one, 24) for one in (hours[0], np.ones(days), hours[2]))),
        Band(*(middle.reshape(days, 24).max(axis=1) * one for one in peaks)),
        coverage,
        fitted.level,
        fitted.season,
        math.expm1(fitted.slope * DAYS_PER_MONTH),
        (*_words(len(seen), assumed), *short),
    )


def _drift(day: int) -> str:
    return (
        f"beyond day {day} no error could be measured: the band is assumed to widen by "
        f"{DRIFT_PER_MONTH:.0%} a month"
    )


def _words(hours: int, assumed: Assumed) -> tuple[str, ...]:
    """What the history is too short for."""
    days, said = hours / 24, []
    if days < DAILY_DAYS:
        said.append(f"no daily season: {days:.1f} days of history, it needs {DAILY_DAYS}")
    if days < WEEKLY_DAYS:
        said.append(f"no weekly season: {days:.1f} days of history, it needs {WEEKLY_DAYS}")
        if assumed.growth_per_month is None:
            said.append(f"no trend: {days:.1f} days of history, it needs {WEEKLY_DAYS}")
    return tuple(said)
