"""Apply a cut-off to rows with known answers: shares of calls, quality and cost.

Promises: pure numpy; every figure is exact for the rows given. A cut-off is one number, which
`router.policy.cutoffs.spread` makes those of all tiers of; a row that is far from the others goes
to the strong model, the dearest tier's. Not covered: what may be expected of other rows, which is
`router.tuning.guarantee`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.policy.cutoffs import spread

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Places = NDArray[np.intp]

# Cut-offs are a hundredth of the rows apart: finer ones would differ by less than their error.
STEPS = 100


@dataclass(frozen=True, slots=True)
class Rows:
    """n calibration rows; arrays are (n,). How right `weak` and `strong` were lies in [0, 1].

    So does `between`, (n, tiers - 2): the models of the tiers between them, cheapest first.
    `score` is a need in [0, 1] or a rank in [-1, 1], of `router.score.model`, whichever is compared
    with the cut-off. `distance` is that of `router.score.model.Score`, or None for no gate;
    `domain` holds names, or is None. Raises `ValueError` for lengths that differ, no rows, or
    values that are not finite.
    """

    score: Floats
    weak: Floats
    strong: Floats
    distance: Floats | None = None
    domain: NDArray[np.str_] | None = None
    between: Floats | None = None

    def __post_init__(self) -> None:
        """Refuse what has no mean."""
        numbers = [self.score, self.weak, self.strong]
        numbers += [] if self.between is None else [self.between]
        numbers += [] if self.distance is None else [self.distance]
        named = numbers[0] if self.domain is None else self.domain
        if len({len(named), *map(len, numbers)}) != 1 or len(self.score) == 0:
            raise ValueError("the columns of the calibration rows must be equally long, not empty")
        if not all(np.isfinite(column).all() for column in numbers):
            raise ValueError("scores, distances and labels of the calibration rows must be finite")

    def only(self, kept: Flags) -> Rows:
        """The rows for which `kept` (n,) is true."""
        return Rows(
            self.score[kept],
            self.weak[kept],
            self.strong[kept],
            None if self.distance is None else self.distance[kept],
            None if self.domain is None else self.domain[kept],
            None if self.between is None else self.between[kept],
        )

    @property
    def right(self) -> Floats:
        """(n, tiers) how right each tier's model was, cheapest first."""
        between = [] if self.between is None else [self.between]
        return np.column_stack([self.weak, *between, self.strong])

    @property
    def tiers(self) -> int:
        """How many tiers the rows are graded for."""
        return 2 + (0 if self.between is None else self.between.shape[1])


@dataclass(frozen=True, slots=True)
class Point:
    """What one cut-off does to the calibration rows; `kept` is quality over strong quality."""

    threshold: float
    strong_share: float
    quality: float
    kept: float


@dataclass(frozen=True, slots=True)
class RowPart:
    """The cut-off of one domain, or of all rows, and what came of it on `rows` rows.

    `shares` of all calls go to each tier, cheapest first; the last is `strong_share`.
    `quality` of routing has the standard error `error`. `covers` names the domains it is for.
    """

    name: str
    rows: int
    threshold: float
    strong_share: float
    quality: float
    error: float
    weak_quality: float
    strong_quality: float
    covers: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def kept(self) -> float:
        """Routed quality as a share of the strong model's."""
        return self.quality / self.strong_quality if self.strong_quality else 1.0


def cut_offs(score: Floats) -> Floats:
    """(m,) ascending cut-offs to choose from: the first sends all to strong, then by hundredths."""
    steps = np.quantile(score, np.linspace(0, 1, STEPS + 1), method="higher")
    all_strong = 0.0 if score.min() >= 0 else -1.0
    return np.unique(np.concatenate(([all_strong], steps, [1.0])))


def gate(rows: Rows, near_share: float) -> tuple[float | None, Flags]:
    """The distance beyond which calls go to strong, and (n,) which rows lie there.

    It is set by distances alone, before any label is looked at, and so costs no test.
    """
    if rows.distance is None:
        return None, np.zeros(len(rows.score), dtype=bool)
    limit = float(np.quantile(rows.distance, near_share, method="higher"))
    return limit, rows.distance > limit


def placed(rows: Rows, far: Flags, thresholds: Floats) -> Places:
    """(m, n): the tier of each row at each cut-off."""
    last = rows.tiers - 1
    bounds = np.array([spread(float(one), rows.tiers) for one in thresholds])
    places = sum((rows.score >= bounds[:, place, None]).astype(np.intp) for place in range(last))
    return np.where(far, last, places)


def sent(rows: Rows, far: Flags, thresholds: Floats) -> Flags:
    """(m, n): whether each row goes to strong at each cut-off."""
    return np.asarray(placed(rows, far, thresholds) == rows.tiers - 1)


def routed(rows: Rows, far: Flags, thresholds: Floats) -> Floats:
    """(m, n): how right the answer to each row is at each cut-off."""
    return at_places(rows.right, placed(rows, far, thresholds))


def at_places(values: Floats, places: Places) -> Floats:
    """(m, n): of (n, tiers) `values` those of each row's tier in (m, n) `places`."""
    return np.asarray(values[np.arange(len(values)), places])


def part_of(
    name: str, rows: Rows, far: Flags, threshold: float, covers: tuple[str, ...]
) -> RowPart:
    """What came of one cut-off on the rows of one domain, of which (n,) are `far`."""
    places = placed(rows, far, np.array([threshold]))
    right = at_places(rows.right, places)[0]
    shares = np.bincount(places[0], minlength=rows.tiers) / len(right)
    return RowPart(
        name=name,
        rows=len(right),
        threshold=threshold,
        strong_share=float(shares[-1]),
        quality=float(right.mean()),
        error=float(right.std() / math.sqrt(len(right))),
        weak_quality=float(rows.weak.mean()),
        strong_quality=float(rows.strong.mean()),
        covers=covers,
        shares=tuple(float(share) for share in shares),
    )


def curve(rows: Rows, far: Flags) -> tuple[Point, ...]:
    """What each cut-off would do to all rows, from all strong downwards."""
    offered = cut_offs(rows.score)
    shares = sent(rows, far, offered).mean(axis=1)
    qualities = routed(rows, far, offered).mean(axis=1)
    best = float(rows.strong.mean())
    return tuple(
        Point(float(cut), float(share), float(quality), float(quality / best) if best else 1.0)
        for cut, share, quality in zip(offered, shares, qualities, strict=True)
    )
