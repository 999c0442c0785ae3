"""Strategies side by side on the same rows: what each spends and how right it then is.

Promises: every strategy is taken at its own cut-off, as it would serve; chance is taken at its
expectation, not at one draw.
Not covered: what needs an answer first (a cascade) or a model to ask, and money.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.evaluate import Floats, Interval, apgr, bootstrap
from router.terms import Strategy


@dataclass(frozen=True, slots=True)
class Line:
    """One strategy. Shares and qualities lie in [0, 1].

    `pgr`, the share of the gap between the models that was recovered, and `apgr` are None without a
    gap; `apgr` also where a strategy ranks nothing.
    """

    strategy: Strategy
    strong_share: float
    quality: float
    pgr: float | None
    apgr: Interval | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a strategy compares with its cut-off, (n,), and by what (n,) it ranks."""

    value: Floats
    threshold: float
    order: Floats


def compare(
    weak: Floats,
    strong: Floats,
    rankings: dict[Strategy, Ranking],
    random_share: float,
    rounds: int = 300,
) -> tuple[Line, ...]:
    """The rankings first, then chance and the two that always do the same.

    `weak` and `strong` are (n,): how right each model was.
    """
    gap = strong.mean() != weak.mean()
    lines = [
        _line(
            strategy,
            (ranking.value >= ranking.threshold).astype(np.float64),
            weak,
            strong,
            bootstrap(apgr, ranking.order, weak, strong, rounds=rounds) if gap else None,
        )
        for strategy, ranking in rankings.items()
    ]
    for strategy, share in (
        (Strategy.RANDOM, random_share),
        (Strategy.ALWAYS_SMALL, 0.0),
        (Strategy.ALWAYS_LARGE, 1.0),
    ):
        lines.append(_line(strategy, np.full(len(weak), share), weak, strong, None))
    return tuple(lines)


def _line(
    strategy: Strategy,
    sent: NDArray[np.float64],
    weak: Floats,
    strong: Floats,
    area: Interval | None,
) -> Line:
    """`sent` (n,): the chance of each row to go to the strong model."""
    quality = float((weak + sent * (strong - weak)).mean())
    gap = float(strong.mean() - weak.mean())
    pgr = (quality - float(weak.mean())) / gap if gap else None
    return Line(strategy, float(sent.mean()), quality, pgr, area)
