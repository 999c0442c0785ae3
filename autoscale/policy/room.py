"""Calculate the headroom of a decision, by a level that follows SLO attainment.

    utilisation   1 - (1 - utilisation) * 2^level, at most twice the room
    chance        the most of W + level * max(1, sqrt(W)), for a level above 0, and the fewest
                  replicas with which too few calls to matter wait too long
                  (`autoscale.policy.staffing`): a share of (1 - target) * 4^-level quantile      of
                  the forecast: 1 - (1 - quantile) * 4^-level, for a level below 0

W is the work that arrives; the level is `autoscale.policy.headroom`'s. A level above 0 leaves the
forecast as it is: to hold the highest of six hours of surprises costs more replicas than it saves
calls.

Promises: pure; more work or a higher level never keeps less room.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoscale.policy.forecast import Forecast
from autoscale.policy.headroom import spread
from autoscale.policy.memory import PolicyMemory
from autoscale.policy.profile import EngineProfile
from autoscale.policy.staffing import servers
from autoscale.policy.work import PRIOR_INPUT_TOKENS, Costs
from core.settings.scaling import LATE_SHARE, Scaling

MOST_ROOM = 2.0
LEAST_QUANTILE = 0.5
MOST_LATE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Room:
    """`each_s` are replica-seconds of a mean call, `within` is the share of calls in the SLO."""

    level: float
    each_s: float
    within: float | None

    @classmethod
    def of(cls, memory: PolicyMemory, scaling: Scaling, profile: EngineProfile) -> Room:
        """By what was known before a view: else a call more in it could ask for less."""
        costs = Costs.of(memory.input, memory.output, scaling.slo, profile, memory.context)
        each_s = costs.work(memory.input.mean(PRIOR_INPUT_TOKENS), 1.0)
        return cls(memory.headroom.level, each_s, memory.headroom.within)

    def utilisation(self, scaling: Scaling) -> float:
        """How busy replicas may be."""
        return max(0.01, 1 - (1 - scaling.utilisation) * min(MOST_ROOM, math.pow(2, self.level)))

    def chance(self, work: float, scaling: Scaling) -> float:
        """Replicas for so much work and for what chance adds to it."""
        late: float = min(MOST_LATE_SHARE, (1 - scaling.target_attainment) * 4.0**-self.level)
        staffed = servers(work, self.each_s, LATE_SHARE * scaling.slo.ttft_s, late)
        return max(float(staffed), work + max(0.0, self.level) * spread(work))

    def forecast(self, forecast: Forecast, scaling: Scaling) -> float:
        """Replicas for the forecast; 0 without one."""
        quantile = scaling.forecast_quantile
        if quantile is None:
            return 0.0
        if self.level < 0 and forecast.tells(quantile):
            quantile = max(min(quantile, LEAST_QUANTILE), 1 - (1 - quantile) * 4.0**-self.level)
        return forecast.upper(quantile) / scaling.forecast_utilisation

    def words(self, target: float) -> str:
        """Why there is more or less room than the settings ask for; empty where there is not."""
        if self.within is None or abs(self.level) < 0.05:
            return ""
        more = "more" if self.level > 0 else "less"
        met = f"{self.within:.1%} of calls met the SLO (target {target:.1%})"
        return f"; {met}, so it keeps {more} room"
