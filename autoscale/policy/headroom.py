"""Adapt the headroom to the share of calls within the SLO.

The room has a level: at 0 it is what the settings ask for, above it is more, below it is less.

- Up, when more calls missed the SLO than the target allows, lately and over hours, each time beyond
  what chance explains (Wilson's lower bound of a share). The step grows with how far the hours are
  off, and is one replica more at least, as far as `MOST_STEP` reaches. After a step nothing is
  counted until a replica that was ordered for it is there: what is missed until then says nothing
  of the new level.
- Down, slowly, while the hours are above the target beyond chance (Wilson's upper bound).
- Bounded on both sides, and not raised where no replica may be added: misses that no room avoids
  do not wind it up. With few calls neither bound is passed, and the level stays.

Promises: pure; JSON-able; without calls the level stays.
Not covered: a call that would miss its SLO alone on a replica; it counts like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from autoscale.policy.forecast import Decayed

LATELY_S = 600.0
HOURS_S = 4 * 3600.0
CONFIDENCE = 1.64
"""Of both bounds, in standard deviations: one in twenty is beyond by chance."""
PRIOR_CALLS = 100.0
LEAST_LEVEL, MOST_LEVEL = -1.5, 2.0
LEAST_STEP, MOST_STEP = 0.25, 1.0
STEP_BY_DOUBLING = 0.25
"""For each doubling of the misses over those that the target allows."""
DOWN_PER_HOUR = 0.5


@dataclass(frozen=True, slots=True)
class Headroom:
    """The level, and misses by judged calls, lately and over hours; `raised_s` is the last step."""

    level: float = 0.0
    lately: Decayed = field(default_factory=Decayed)
    hours: Decayed = field(default_factory=Decayed)
    raised_s: float | None = None

    def after(
        self,
        judged: float,
        missed: float,
        now_s: float,
        seconds: float,
        *,
        allowed: float,
        lead_s: float,
        more_level: float,
    ) -> Headroom:
        """After `seconds` in which `missed` of `judged` calls were not within the SLO.

        The share `allowed` may miss it. A replica takes `lead_s` to start; at `more_level` one more
        is asked for, infinity where none may be added.
        """
        waits = self.raised_s is not None and 0 <= now_s - self.raised_s < lead_s
        counted = replace(
            self,
            lately=Decayed() if waits else self.lately.after(missed, judged, seconds, LATELY_S),
            hours=self.hours.after(missed, judged, seconds, HOURS_S),
        )
        lately, _ = bounds(counted.lately, allowed)
        least, most = bounds(counted.hours, allowed)
        if missed and min(lately, least) > allowed:
            return counted._raised(least / allowed, more_level, now_s)
        if most < allowed:
            level = max(LEAST_LEVEL, self.level - DOWN_PER_HOUR * seconds / 3600)
            return replace(counted, level=level)
        return counted

    def _raised(self, times: float, more_level: float, now_s: float) -> Headroom:
        if math.isinf(more_level):
            return self
        step = max(LEAST_STEP, STEP_BY_DOUBLING * math.log2(times), more_level - self.level)
        level = min(MOST_LEVEL, self.level + min(MOST_STEP, step))
        return replace(self, level=level, raised_s=now_s)

    @property
    def within(self) -> float | None:
        """The share of calls within the SLO over hours; None before any was judged."""
        return 1 - self.hours.mean() if self.hours.weight > 0 else None


def bounds(misses: Decayed, allowed: float) -> tuple[float, float]:
    """Between what the true share lies (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927).

    `PRIOR_CALLS` that missed as often as is allowed are counted in, as the bound of a few calls is
    passed by the first miss.
    """
    n, z = misses.weight + PRIOR_CALLS, CONFIDENCE
    share = min(1.0, (misses.total + PRIOR_CALLS * allowed) / n)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def spread(load: float) -> float:
    """Replicas of room at a level of 1: the square root of the load, one at the least."""
    return max(1.0, math.sqrt(load))


def level_of(replicas: float, load: float) -> float:
    """The level at which so much load asks for so many replicas."""
    return (replicas - load) / spread(load)
