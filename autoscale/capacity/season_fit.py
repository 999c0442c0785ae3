"""Fit level, trend and seasons to a history of hours.

Promises: pure; the formulas are those of `autoscale.capacity.season`. A history of zeros is fitted
as zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autoscale.replay.engine_state import Floats, Ints
from core.money import DAYS_PER_MONTH

HOUR_S = 3600.0
WEEKLY_DAYS, DAILY_DAYS = 14, 2
HALF_LIFE_DAYS = 3.0
_EPOCH_WEEKDAY = 3  # the Unix epoch was a Thursday; a week counts from Monday
TINY = 1e-9

Season = Literal["weekly", "daily", "none"]


@dataclass(frozen=True, slots=True)
class Launch:
    """An assumption: from `at_s` (Unix time) on the load is `factor` times what it was."""

    name: str
    at_s: float
    factor: float


@dataclass(frozen=True, slots=True)
class Assumed:
    """What history cannot tell. `growth_per_month` 0.1 is +10 %; None asks the history."""

    growth_per_month: float | None = None
    launches: tuple[Launch, ...] = ()
    utc_offset_h: float = 0.0


@dataclass(frozen=True, slots=True)
class SeasonClock:
    """Where an hour, counted from `start_s` local time, lies in its day and week."""

    start_s: float

    def slots(self, first: int, count: int) -> tuple[Ints, Ints]:
        """(hour of day, day of week) of `count` hours from the `first` on, each (count,)."""
        hour = np.arange(first, first + count) + int(self.start_s // HOUR_S)
        return hour % 24, (hour // 24 + _EPOCH_WEEKDAY) % 7


@dataclass(frozen=True, slots=True)
class FittedSeason:
    """A history of `seen` hours without its noise; `slope` is of the log, for each day."""

    clock: SeasonClock
    seen: int
    level: float
    slope: float
    hour: Floats
    day: Floats
    season: Season

    def ahead(self, count: int) -> Floats:
        """The `count` hours after the history (count,), launches left out."""
        hour, day = self.clock.slots(self.seen, count)
        trend = np.exp(self.slope * (np.arange(count) + 1) / 24)
        made: Floats = self.level * trend * self.hour[hour] * self.day[day]
        return made


def fit(plain: Floats, clock: SeasonClock, assumed: Assumed) -> FittedSeason:
    """Sums of hours (H,), launches taken out, one at least."""
    seen, told = len(plain), assumed.growth_per_month
    weekly, daily = seen >= 24 * WEEKLY_DAYS, seen >= 24 * DAILY_DAYS
    hour_of, day_of = clock.slots(0, seen)
    learned = _slope(plain) if told is None and weekly else 0.0
    level_by_hour = np.exp(learned * (np.arange(seen) - seen) / 24)
    flat = plain / level_by_hour
    day = _shares(flat, day_of, 7) if weekly else np.ones(7)
    # A weekday on which nothing ever comes, such as an office's Sunday, has a share of 0.
    hour = _shares(flat / np.maximum(day[day_of], TINY), hour_of, 24) if daily else np.ones(24)
    # Without seasons, or with them taken out, a recent hour says more than an old one.
    base = flat / np.maximum(hour[hour_of] * day[day_of], TINY)
    weight = 0.5 ** ((seen - np.arange(seen)) / 24 / HALF_LIFE_DAYS)
    weight = weight * np.maximum(hour[hour_of] * day[day_of], TINY)
    slope = learned if told is None else math.log1p(told) / DAYS_PER_MONTH
    season: Season = "weekly" if weekly else "daily" if daily else "none"
    return FittedSeason(
        clock, seen, float(np.average(base, weights=weight)), slope, hour, day, season
    )


def _shares(values: Floats, slot: Ints, slots: int) -> Floats:
    """The mean of each slot by the mean of all (slots,); 1 where a slot, or all, has nothing."""
    total, mean = np.bincount(slot, weights=values, minlength=slots), values.mean()
    count = np.bincount(slot, minlength=slots)
    known = (count > 0) & (mean > 0)
    made: Floats = np.where(known, total / np.maximum(count, 1) / max(mean, TINY), 1.0)
    return made


def _slope(plain: Floats) -> float:
    """Growth of the log for each day, by days that are a week apart."""
    days = plain[len(plain) % 24 :].reshape(-1, 24).sum(axis=1)
    before, after = days[:-7], days[7:]
    both = (before > 0) & (after > 0)
    if not both.any():
        return 0.0
    return float(np.median(np.log(after[both] / before[both]))) / 7


def launched(start_s: float, first: int, count: int, launches: Sequence[Launch]) -> Floats:
    """The product of launches that began by each of `count` hours from the `first` on (count,)."""
    at_s = start_s + np.arange(first, first + count) * HOUR_S
    made = np.ones(count)
    for one in launches:
        made[at_s >= one.at_s] *= one.factor
    return made
