"""The operator's bounds and settings for one tier, as the policy takes them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from autoscale.policy.profile import EngineProfile
from core.settings.load import Tier
from core.settings.scaling import WEEKDAYS, KnownPeak, Scaling, Slo

_DAY_S = 86_400
_WEEK_S = 7 * _DAY_S
# The Unix epoch was a Thursday; a week counts from Monday.
_EPOCH_WEEKDAY_S = 3 * _DAY_S


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """The bounds of one tier and how it scales between them; ValueError for bounds out of order."""

    min_replicas: int = 1
    max_replicas: int = 1
    scaling: Scaling = field(default_factory=Scaling)

    def __post_init__(self) -> None:
        """Refuse bounds that no number satisfies."""
        if not 0 <= self.min_replicas <= self.max_replicas:
            raise ValueError(f"bounds out of order: {self.min_replicas}, {self.max_replicas}")

    @property
    def slo(self) -> Slo:
        """What a request may wait."""
        return self.scaling.slo

    @property
    def floor(self) -> int:
        """Fewest replicas at any time, for the bounds and for calls of high risk."""
        return min(max(self.min_replicas, self.scaling.risk_floor), self.max_replicas)

    def ceiling(self, profile: EngineProfile) -> int:
        """Most replicas, by the bounds and by what they cost.

        `min_replicas` stands even where the cost cap is lower: Serve keeps as many anyhow.
        """
        usd = self.scaling.max_usd_per_hour
        if usd is None or profile.usd_per_hour <= 0:
            return self.max_replicas
        affordable = math.floor(usd / profile.usd_per_hour + 1e-9)
        return max(self.min_replicas, min(self.max_replicas, affordable))

    def peak_floor(self, now_s: float, lead_s: float) -> int:
        """Replicas that known peaks ask for at `now_s` (Unix time) or within `lead_s` of it."""
        peaks = self.scaling.known_peaks
        return max((peak.replicas for peak in peaks if self._near(peak, now_s, lead_s)), default=0)

    def _near(self, peak: KnownPeak, now_s: float, lead_s: float) -> bool:
        here_s = (now_s + self.scaling.utc_offset_h * 3600 + _EPOCH_WEEKDAY_S) % _WEEK_S
        start_s, until_s = _seconds(peak.start), _seconds(peak.until)
        lasts_s = until_s - start_s if until_s > start_s else until_s - start_s + _DAY_S
        for day in peak.days or WEEKDAYS:
            begins_s = WEEKDAYS.index(day) * _DAY_S + start_s
            if (here_s - begins_s + lead_s) % _WEEK_S < lasts_s + lead_s:
                return True
        return False


def rules_of(tier: Tier) -> ScalingRules:
    """A tier's rules, from its settings."""
    return ScalingRules(tier.replicas.min, tier.replicas.max, tier.scaling)


def _seconds(clock: str) -> int:
    """Seconds from midnight of `HH:MM`."""
    return int(clock[:2]) * 3600 + int(clock[3:]) * 60
