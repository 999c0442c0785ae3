"""Measure how well a score routes, in plain numpy.

Promises: exact values over all n + 1 cuts; rows with equal scores are cut in every order at once
(their mean), so a constant score is worth exactly what chance is.
Words: PGR (performance gap recovered) is 0 when every call goes to the weak model and 1 when every
call goes to the strong one; APGR is its area over the share of strong calls; CPT(p) is the least
share of strong calls that reaches PGR p.
Not covered: what the calls cost in money; that needs prices and token counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A measure with the 95 % interval of its bootstrap."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def recovered(score: Floats, weak: Floats, strong: Floats) -> Floats:
    """(n + 1,) PGR after the k highest scores went to the strong model; nan without a gap.

    `score`, `weak` and `strong` are (n,): the ranking and how right each model was.
    """
    gap = strong.mean() - weak.mean()
    if gap == 0:
        return np.full(len(score) + 1, np.nan)
    return np.asarray(gained(score, weak, strong) / gap)


def gained(score: Floats, weak: Floats, strong: Floats) -> Floats:
    """(n + 1,) mean quality won over the weak model by sending the k highest scores up."""
    order = np.argsort(-score, kind="stable")
    gain = (strong - weak)[order]
    _, first, counts = np.unique(-score[order], return_index=True, return_counts=True)
    tied_mean = np.add.reduceat(gain, first) / counts
    steps = np.repeat(tied_mean, counts)
    curve: Floats = np.concatenate(([0.0], np.cumsum(steps))) / len(score)
    return curve


def apgr(score: Floats, weak: Floats, strong: Floats) -> float:
    """Area under the PGR curve; chance is 0.5, more than 1 is possible."""
    return float(np.trapezoid(recovered(score, weak, strong), dx=1.0 / len(score)))


def cpt(score: Floats, weak: Floats, strong: Floats, target: float) -> float:
    """Least share of strong calls at which PGR reaches `target`, interpolated linearly."""
    return _reaches(recovered(score, weak, strong), target)


def share_for(score: Floats, weak: Floats, strong: Floats, quality: float) -> float:
    """Least share of strong calls at which routing is `quality` times as right as the strong."""
    return _reaches(gained(score, weak, strong), quality * strong.mean() - weak.mean())


def _reaches(curve: Floats, target: float) -> float:
    """The share in [0, 1] at which an (n + 1,) curve first reaches `target`, else nan."""
    reached = np.flatnonzero(curve >= target)
    if len(reached) == 0:
        return float("nan")
    right = int(reached[0])
    if right == 0:
        return 0.0
    below, above = curve[right - 1], curve[right]
    return float((right - 1 + (target - below) / (above - below)) / (len(curve) - 1))


def auroc(score: Floats, positive: Floats) -> float:
    """P(a positive ranks above a negative), ties count half. Labels in [0, 1] weigh as shares."""
    order = np.argsort(score, kind="stable")
    _, first = np.unique(score[order], return_index=True)
    positives = np.add.reduceat(positive[order], first)
    negatives = np.add.reduceat(1.0 - positive[order], first)
    below = np.cumsum(negatives) - negatives
    pairs = positives.sum() * negatives.sum()
    if pairs == 0:
        return float("nan")
    return float((positives * (below + negatives / 2)).sum() / pairs)


def calibration_error(probability: Floats, outcome: Floats, bins: int = 15) -> float:
    """Expected calibration error over `bins` bins of equal width on [0, 1]."""
    which = np.clip((probability * bins).astype(int), 0, bins - 1)
    counts = np.bincount(which, minlength=bins)
    said = np.bincount(which, weights=probability, minlength=bins)
    was = np.bincount(which, weights=outcome, minlength=bins)
    used = counts > 0
    return float(np.abs(said[used] - was[used]).sum() / len(probability))


def bootstrap(
    measure: Callable[..., float],
    *columns: Floats,
    rounds: int = 300,
    seed: int = 0,
) -> Interval:
    """`measure(*columns)` with its percentile interval over resampled rows.

    A resample in which the measure does not exist is left out; all of them: a nan interval.
    """
    generator = np.random.default_rng(seed)
    size = len(columns[0])
    values = []
    for _ in range(rounds):
        rows = generator.integers(0, size, size)
        values.append(measure(*(column[rows] for column in columns)))
    found = np.array(values)[np.isfinite(values)]
    low, high = np.percentile(found, [2.5, 97.5]) if len(found) else (np.nan, np.nan)
    return Interval(measure(*columns), float(low), float(high))
