"""Compare strategies on the same rows by cost and quality.

Promises: every strategy is taken at its own cut-off, as it would serve; chance is taken at its
expectation, not at one draw.
Not covered: what needs an answer first (a cascade) or a model to ask, and money.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learning.measures import Floats, Interval, apgr, bootstrap
from router.policy.terms import Strategy


@dataclass(frozen=True, slots=True)
class StrategyLine:
    """One strategy. Shares and qualities lie in [0, 1]; `shares` are those of all tiers.

    `pgr`, the share of the gap between the models that was recovered, and `apgr` are None without a
    gap; `apgr` also where a strategy ranks nothing.
    """

    strategy: Strategy
    strong_share: float
    quality: float
    pgr: float | None
    apgr: Interval | None
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a strategy compares with its cut-offs, (n,), and by what (n,) it ranks.

    There is one cut-off less than there are tiers, ascending.
    """

    value: Floats
    thresholds: tuple[float, ...]
    order: Floats


def compare(
    weak: Floats,
    strong: Floats,
    rankings: dict[Strategy, Ranking],
    random_share: float,
    rounds: int = 300,
    between: Floats | None = None,
) -> tuple[StrategyLine, ...]:
    """The rankings first, then chance and the two that always do the same.

    `weak` and `strong` are (n,): how right each model was; `between` (n, tiers - 2), the models of
    the tiers between. `random_share` is the strong model's part of two tiers.
    """
    gap = strong.mean() != weak.mean()
    right = np.column_stack([weak, *([] if between is None else [between]), strong])
    tiers = right.shape[1]
    large = random_share * 2 / tiers
    chance = np.array([(1 - large) / (tiers - 1)] * (tiers - 1) + [large])
    lines = [
        _line(
            strategy,
            np.eye(tiers)[np.searchsorted(ranking.thresholds, ranking.value, side="right")],
            right,
            bootstrap(apgr, ranking.order, weak, strong, rounds=rounds) if gap else None,
        )
        for strategy, ranking in rankings.items()
    ]
    for strategy, shares in (
        (Strategy.RANDOM, chance),
        (Strategy.ALWAYS_SMALL, np.eye(tiers)[0]),
        (Strategy.ALWAYS_LARGE, np.eye(tiers)[-1]),
    ):
        lines.append(_line(strategy, np.tile(shares, (len(weak), 1)), right, None))
    return tuple(lines)


def _line(
    strategy: Strategy, sent: NDArray[np.float64], right: Floats, area: Interval | None
) -> StrategyLine:
    """`sent` (n, tiers): the chance of each row to go to each tier; `right` as many."""
    quality = float((sent * right).sum(axis=1).mean())
    weak, strong = float(right[:, 0].mean()), float(right[:, -1].mean())
    pgr = (quality - weak) / (strong - weak) if strong != weak else None
    shares = tuple(float(share) for share in sent.mean(axis=0))
    return StrategyLine(strategy, shares[-1], quality, pgr, area, shares)
