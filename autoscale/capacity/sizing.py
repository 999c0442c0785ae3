"""Find the smallest fixed fleet that keeps the SLO when a trace is replayed.

Promises: `smallest` is the smallest number that keeps `share` of the requests within the SLO for
every one of `seeds`, counted with and without a warm-up: the margin for chance is that no seed may
miss. It is found by replays of the whole trace: a first guess from the mean work, steps that double
until the SLO is on either side, then halves. `Curve.at` never falls when the load grows.
Not covered: scaling within the day; a fleet is fixed here, and `autoscale.replay.replay` shows what
a policy saves of it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoscale.replay.baselines import Fixed, load
from autoscale.replay.replay import Setup, replay
from autoscale.replay.result import ReplayResult
from autoscale.replay.trace import Trace
from core.errors import HansomError

SHARE = 0.99
SEEDS = (0, 1)
_TICK_S = 60.0  # nothing is decided at a tick of a fixed fleet
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Sized:
    """A fixed fleet and how it did, in the worst of its seeds; an hour with few requests counts."""

    replicas: int
    slo_attainment: float
    worst_hour: float
    replays: int


class ReplicaNeeds:
    """Replays of one trace by the number of replicas, each made once."""

    def __init__(self, trace: Trace, setup: Setup, seeds: Sequence[int] = SEEDS) -> None:
        self._trace, self._setup, self._seeds = trace, setup, seeds
        self._seen: dict[int, tuple[float, float]] = {}
        self.replays = 0

    def kept(self, replicas: int) -> float:
        """The share of requests within the SLO, of the worst seed."""
        return self._judged(replicas)[0]

    def worst_hour(self, replicas: int) -> float:
        """The same of the worst hour."""
        return self._judged(replicas)[1]

    def _judged(self, replicas: int) -> tuple[float, float]:
        if replicas not in self._seen:
            found = [self._replayed(replicas, seed) for seed in self._seeds]
            self._seen[replicas] = (
                min(min(float(one.within.mean()), one.slo_attainment) for one in found),
                min(_worst_hour(self._trace, one) for one in found),
            )
        return self._seen[replicas]

    def _replayed(self, replicas: int, seed: int) -> ReplayResult:
        self.replays += 1
        setup = replace(
            self._setup, initial=replicas, max_replicas=replicas, tick_s=_TICK_S, seed=seed
        )
        return replay(self._trace, Fixed(replicas), setup)


def smallest(
    trace: Trace,
    setup: Setup,
    share: float = SHARE,
    least: int = 1,
    guess: int | None = None,
    seeds: Sequence[int] = SEEDS,
) -> Sized:
    """The smallest fleet of `least` replicas or more; `HansomError` where no number is enough."""
    if not len(trace):
        return Sized(least, 1.0, 1.0, 0)
    needs = ReplicaNeeds(trace, setup, seeds)
    most = setup.max_replicas
    guess = min(
        max(least, guess or math.ceil(float(load(trace, setup.profile, setup.slo).max()))), most
    )
    below, enough = _bracket(needs, guess, least, most, share)
    if not enough:
        raise HansomError(_never(trace, setup, share, needs.kept(most)))
    while enough - below > 1:
        middle = (below + enough) // 2
        if needs.kept(middle) >= share:
            enough = middle
        else:
            below = middle
    return Sized(enough, needs.kept(enough), needs.worst_hour(enough), needs.replays)


def _bracket(
    needs: ReplicaNeeds, guess: int, least: int, most: int, share: float
) -> tuple[int, int]:
    """(a number that is not enough or `least` - 1, one that is); 0 for the second if none is."""
    step = 1
    if needs.kept(guess) >= share:
        enough = guess
        while enough - step >= least and needs.kept(enough - step) >= share:
            enough, step = enough - step, 2 * step
        return max(least - 1, enough - step), enough
    below = guess
    while below < most:
        enough = min(below + step, most)
        if needs.kept(enough) >= share:
            return below, enough
        below, step = enough, 2 * step
    return below, 0


@dataclass(frozen=True, slots=True)
class Curve:
    """Replicas by load, as a factor of the trace's: points that grow in both, one at least."""

    factors: tuple[float, ...]
    replicas: tuple[int, ...]

    def at(self, factor: float) -> int:
        """Whole replicas: by a line between points, and in proportion beyond the last."""
        if factor <= 0:
            return 0
        after = bisect_left(self.factors, factor * (1 - 1e-9))
        if after == 0:
            return self.replicas[0]
        x0, n0 = self.factors[after - 1], self.replicas[after - 1]
        if after == len(self.factors):
            return math.ceil(n0 * factor / x0 - 1e-9)
        x1, n1 = self.factors[after], self.replicas[after]
        return math.ceil(n0 + (n1 - n0) * (factor - x0) / (x1 - x0) - 1e-9)


def curve(
    trace: Trace, setup: Setup, factors: Sequence[float], share: float = SHARE
) -> tuple[Curve, dict[float, Sized]]:
    """Sized by replay at each of `factors` (above 0), and what those replays said."""
    found: dict[float, Sized] = {}
    least, guess, before = 1, None, 0.0
    for factor in sorted(set(factors)):
        if before:
            guess = math.ceil(least * factor / before)
        one = smallest(trace.scaled(factor, setup.seed), setup, share, least, guess)
        found[factor], least, before = one, one.replicas, factor
    return Curve(tuple(found), tuple(one.replicas for one in found.values())), found


def _worst_hour(trace: Trace, result: ReplayResult) -> float:
    hour = (trace.at_s // _HOUR_S).astype(np.int64)
    came = np.bincount(hour)
    within = np.bincount(hour, weights=result.within)
    return float((within[came > 0] / came[came > 0]).min())


def _never(trace: Trace, setup: Setup, share: float, kept: float) -> str:
    return (
        f"{setup.max_replicas} replicas of {setup.profile.name} keep {kept:.1%} of {trace.name} "
        f"within the SLO, not {share:.1%}: allow more replicas, or a longer TTFT or TPOT"
    )
