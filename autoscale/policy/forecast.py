"""Forecast the load of the next minutes: a level, plus a quantile of its past errors.

    floor = level + Q_q(residuals)        residual(t) = max of load in (t, t + 5 min] - level(t)

`level` is an exponentially weighted mean over `LEVEL_S`; load is one over a shorter window, which
the caller keeps, at the end of each minute. Residuals are those of the last `RESIDUALS` minutes, so
the quantile is calibrated by what happened, without a model of the noise (split conformal, arXiv
1604.04173, on a sliding window). They overlap: only each fifth is one more, and k of those tell no
quantile above k / (k + 1). Until there are enough the floor is the level.

Promises: pure; what is remembered is bounded and JSON-able; a higher load now never lowers the
floor now. On load of a steady law the floor covers the next five minutes' maximum with probability
q; each start of a burst is missed.
Not covered: seasons of the day and the week; an operator can set known peaks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

LEVEL_S = 120.0
MINUTE_S = 60.0
HORIZON_MINUTES = 5
RESIDUALS = 360


@dataclass(frozen=True, slots=True)
class Decayed:
    """A sum and its weight, both of which fade by exp(-elapsed / window): a mean of the recent."""

    total: float = 0.0
    weight: float = 0.0

    def after(self, total: float, weight: float, elapsed_s: float, window_s: float) -> Decayed:
        """With more added, `elapsed_s` later."""
        kept = math.exp(-elapsed_s / window_s)
        return Decayed(self.total * kept + total, self.weight * kept + weight)

    def mean(self, otherwise: float = 0.0) -> float:
        """Total by weight; `otherwise` while there is no weight to speak of."""
        return self.total / self.weight if self.weight > 1e-200 else otherwise

    def rate(self, window_s: float) -> float:
        """Total by seconds, half a window at the least: a rate of the first seconds is noise."""
        return self.total / max(self.weight, window_s / 2)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is remembered of the load.

    `pending` holds (level, maximum since) of minutes whose five minutes are not over, oldest
    first; `residuals` those that are.
    """

    level: Decayed = field(default_factory=Decayed)
    minute_s: float = 0.0
    pending: tuple[tuple[float, float], ...] = ()
    residuals: tuple[float, ...] = ()

    def after(self, load: float, recent: float, seconds: float) -> Forecast:
        """After `seconds` at `load`, with `recent` as its mean lately; 0 seconds change nothing."""
        if seconds <= 0:
            return self
        told = replace(
            self,
            level=self.level.after(load * seconds, seconds, seconds, LEVEL_S),
            minute_s=self.minute_s + seconds,
        )
        return told._minute_over(recent) if told.minute_s >= MINUTE_S else told

    def _minute_over(self, recent: float) -> Forecast:
        pending = tuple((level, max(most, recent)) for level, most in self.pending)
        residuals = self.residuals
        if len(pending) >= HORIZON_MINUTES:
            level, most = pending[0]
            pending, residuals = pending[1:], (*residuals, most - level)[-RESIDUALS:]
        # One that spans several minutes, after a silence, says nothing of the minutes in it.
        if self.minute_s >= HORIZON_MINUTES * MINUTE_S:
            pending = ()
        return Forecast(self.level, pending=(*pending, (self.level.mean(), 0.0)),
                        residuals=residuals)  # fmt: skip

    def upper(self, quantile: float) -> float:
        """The load that the next five minutes do not pass, with probability `quantile`."""
        return self.level.rate(LEVEL_S) + self.headroom(quantile)

    def tells(self, quantile: float) -> bool:
        """Whether there are enough residuals to have that quantile."""
        apart = len(self.residuals) // HORIZON_MINUTES
        return math.ceil((apart + 1) * quantile) <= apart

    def headroom(self, quantile: float) -> float:
        """The quantile of the residuals, with (n + 1) q of them at or below it; 0 at the least."""
        if not self.tells(quantile):
            return 0.0
        n = len(self.residuals)
        rank = min(n, math.ceil((n + 1) * quantile))
        return max(0.0, sorted(self.residuals)[rank - 1])
