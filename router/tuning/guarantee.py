"""Find cut-offs that keep routed quality above a share of the strong model's.

The strong model is the dearest tier's, of two tiers or more.

Promises: pure numpy. `promise` misses its own promise in at most `delta` of the calibrations, for
calls drawn as the calibration rows were; `within` spends at most its budget on those rows. Calls
further away than nearly all calibration rows go to the strong model, and so do domains unheard of.
The test runs down from "all strong", where the promise cannot fail, and stops at the first cut-off
that it cannot vouch for: in a fixed sequence every cut-off may be tested at the full `delta`
(Maurer, Hothorn and Lehmacher 1995; for routing, Angelopoulos et al., "Learn then Test", 2021).
With more than two tiers the sequence is as fixed: one number, which `router.policy.cutoffs.spread`
makes the cut-offs of all tiers of. Taking the cut-off at which the calibration rows just meet the
target was measured, too: it misses half the time, and so it is not offered. Not covered: traffic
that drifts away, scores of rows that the router was trained on, and labels that are wrong;
`conditions` says so to whoever reads the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist

import numpy as np

from router.policy.cutoffs import spread
from router.tuning.points import (
    Flags,
    Floats,
    Point,
    RowPart,
    Rows,
    at_places,
    curve,
    cut_offs,
    gate,
    part_of,
    placed,
    routed,
)

# The CLT test then misses in 1 to 6 % of repeats; see docs/router.md.
DELTA = 0.05
# Of the calibration rows, this share is near; the rest is as strange as what was never seen.
NEAR_SHARE = 0.99
# Below this the normal approximation is a hope: a domain is pooled, a whole file refused.
LEAST_ROWS = 200
OTHERS = "others"


class Method(StrEnum):
    """How a mean is bounded from below."""

    CLT = "clt"
    BERNSTEIN = "bernstein"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """Cut-offs with what may be expected of them.

    `target` and `delta` are None where a budget was kept instead of a promise; `budget` and `cost`
    (per call, in the unit of the budget) are None where it was the other way round.
    `strong_share` and `quality` are those of all rows, each by its own part; `curve` is for one
    cut-off over all rows. `conditions` are sentences. `tiers` is how many tiers it is for.
    """

    parts: tuple[RowPart, ...]
    strong_share: float
    quality: float
    strong_quality: float
    distance_limit: float | None
    curve: tuple[Point, ...]
    conditions: tuple[str, ...]
    target: float | None = None
    delta: float | None = None
    method: Method | None = None
    budget: float | None = None
    cost: float | None = None
    tiers: int = 2

    @property
    def promised(self) -> float | None:
        """The quality that is promised, were the strong model as right as on these rows."""
        return None if self.target is None else self.target * self.strong_quality

    def to_strong(self, score: float, distance: float = 0.0, domain: str | None = None) -> bool:
        """Whether a call goes to the strong model under these cut-offs."""
        if self.distance_limit is not None and distance > self.distance_limit:
            return True
        for part in self.parts:
            if not part.covers or domain in part.covers:
                return score >= spread(part.threshold, self.tiers)[-1]
        return True


def lower_bound(
    values: Floats, delta: float, method: Method, least: float, most: float = 1.0
) -> Floats:
    """(m,) below which the mean of each row of (m, n) `values` lies with chance `delta` at most.

    The values lie in [least, most]. CLT: mean - z * standard error, true in the limit of many
    values, with one value imagined besides: the least. Without it a loss that is too rare to be
    among the rows would count as impossible; with it, no loss among n rows gives a bound of about
    2.7 / n, where the exact one of Clopper and Pearson (1934) is 3 / n at a delta of 0.05.
    Bernstein: Theorem 4 of Maurer and Pontil, "Empirical Bernstein Bounds" (COLT 2009), true for
    any number of values, and much more cautious.
    """
    if method is Method.CLT:
        values = np.hstack([values, np.full((len(values), 1), least)])
    count = values.shape[1]
    mean, spread = values.mean(axis=1), values.std(axis=1, ddof=1)
    if method is Method.CLT:
        slack = NormalDist().inv_cdf(1 - delta) * spread / math.sqrt(count)
    else:
        log = math.log(2 / delta)
        slack = spread * math.sqrt(2 * log / count)
        slack += 7 * (most - least) * log / (3 * (count - 1))
    return np.asarray(mean - slack)


def least_strong_cut_off(
    rows: Rows, far: Flags, target: float, delta: float, method: Method
) -> float:
    """The highest cut-off that keeps the promise; that of all strong, where no other does.

    Tested is mean(routed - target * strong) >= 0, where rows that are `far` (n,) go to strong.
    """
    offered = cut_offs(rows.score)
    margin = routed(rows, far, offered) - target * rows.strong
    kept = lower_bound(margin, delta, method, -target) >= 0
    kept[0] = True  # all strong: true by arithmetic, and so it needs no test
    tested = len(kept) if kept.all() else int(np.argmin(kept))
    return float(offered[tested - 1])


def promise(
    rows: Rows,
    target: float,
    *,
    delta: float = DELTA,
    method: Method = Method.CLT,
    near_share: float = NEAR_SHARE,
) -> Guarantee:
    """Cut-offs that send as few calls to strong as `target` allows; for each domain, if told.

    Domains of fewer than `LEAST_ROWS` rows are pooled; if even their pool is too small, its cut-off
    is that of all rows. Raises `ValueError` where the CLT is asked to speak for too few rows, or
    for a share that is none.
    """
    if not 0 < target <= 1 or not 0 < delta < 0.5:
        raise ValueError("the quality must be in (0, 1] and delta in (0, 0.5)")
    if len(rows.score) < LEAST_ROWS and method is Method.CLT:
        raise ValueError(f"{len(rows.score)} rows are too few: {LEAST_ROWS} are the least")
    limit, far = gate(rows, near_share)
    parts = []
    for name, covers, used in _groups(rows):
        enough = int(used.sum()) >= LEAST_ROWS
        base = used if enough else np.ones_like(used)
        cut = least_strong_cut_off(rows.only(base), far[base], target, delta, method)
        parts.append(part_of(name, rows.only(used), far[used], cut, covers))
    said = [
        f"In at most {delta:.1%} of calibrations, routed quality is below {target:.1%} of the "
        "strong model's" + (", for each domain on its own." if rows.domain is not None else "."),
        f"CLT bound: it holds for many rows; checked down to {LEAST_ROWS}."
        if method is Method.CLT
        else "Empirical Bernstein bound: it holds for any number of rows.",
        *_pooled(parts),
        *_always(limit, near_share, rows.tiers),
    ]
    made = _guarantee(rows, far, limit, parts, said)
    return replace(made, target=target, delta=delta, method=method)


def within(
    rows: Rows,
    budget: float,
    weak_cost: Floats | float = 0.0,
    strong_cost: Floats | float = 1.0,
    between_cost: Sequence[Floats | float] | None = None,
    *,
    near_share: float = NEAR_SHARE,
) -> Guarantee:
    """The cut-off with the best quality whose mean cost on these rows is at most `budget`.

    Costs are per call, one for all rows or (n,), in the unit of the budget; left out, the budget is
    a share of strong calls. `between_cost` has one for each tier between, all 0 if left out. Raises
    `ValueError` if not even the cheapest cut-off keeps to it.
    """
    between = [0.0] * (rows.tiers - 2) if between_cost is None else between_cost
    if len(between) != rows.tiers - 2:
        raise ValueError(f"{rows.tiers} tiers have {rows.tiers - 2} costs between the ends")
    limit, far = gate(rows, near_share)
    offered = cut_offs(rows.score)
    each = np.broadcast_arrays(rows.score, weak_cost, *between, strong_cost)[1:]
    costs = at_places(np.column_stack(each), placed(rows, far, offered)).mean(axis=1)
    quality = routed(rows, far, offered).mean(axis=1)
    if not (costs <= budget).any():
        raise ValueError(f"the budget {budget:g} is below the least possible, {costs.min():.4g}")
    affordable = np.where(costs <= budget, quality, -np.inf)
    best = int(np.flatnonzero(affordable == affordable.max())[-1])
    part = part_of("all", rows, far, float(offered[best]), ())
    said = [
        f"No promise: the best quality that {budget:g} buys on these rows, give or take two "
        f"standard errors of {part.error:.3f}. Quality, as the best of many, is told a little high "
        "and cost will vary with the traffic.",
        *_always(limit, near_share, rows.tiers),
    ]
    made = _guarantee(rows, far, limit, [part], said)
    return replace(made, budget=budget, cost=float(costs[best]))


def _groups(rows: Rows) -> list[tuple[str, tuple[str, ...], Flags]]:
    """(name, domains it covers, (n,) its rows): each large domain, then the small ones at once."""
    if rows.domain is None:
        return [("all", (), np.ones(len(rows.score), dtype=bool))]
    names, counts = np.unique(rows.domain, return_counts=True)
    large = [str(name) for name in names[counts >= LEAST_ROWS]]
    small = tuple(str(name) for name in names[counts < LEAST_ROWS])
    groups = [(name, (name,), rows.domain == name) for name in large]
    return groups + ([(OTHERS, small, np.isin(rows.domain, small))] if small else [])


def _guarantee(
    rows: Rows, far: Flags, limit: float | None, parts: list[RowPart], said: list[str]
) -> Guarantee:
    """The parts put together, each weighing as much as it has rows; neither target nor budget."""
    weights = np.array([part.rows for part in parts]) / len(rows.score)
    return Guarantee(
        parts=tuple(parts),
        strong_share=float(weights @ [part.strong_share for part in parts]),
        quality=float(weights @ [part.quality for part in parts]),
        strong_quality=float(rows.strong.mean()),
        distance_limit=limit,
        curve=curve(rows, far),
        conditions=tuple(said),
        tiers=rows.tiers,
    )


def _pooled(parts: list[RowPart]) -> list[str]:
    pooled = [part for part in parts if part.name == OTHERS]
    if not pooled:
        return []
    whole = "their own rows" if pooled[0].rows >= LEAST_ROWS else "the rows of all domains"
    return [
        f"{len(pooled[0].covers)} domains of fewer than {LEAST_ROWS} rows share one cut-off, set "
        f"on {whole}: the promise is for that mixture, not for each of them."
    ]


def _always(limit: float | None, near_share: float, tiers: int) -> list[str]:
    """What is true of every result."""
    strange = (
        "No distances were given: calls unlike the calibration rows are not told apart."
        if limit is None
        else f"Calls at a distance above {limit:.3f}, where {1 - near_share:.0%} of these rows "
        "are, must go to strong: on ground that was not measured there is no promise."
    )
    return [
        strange,
        "It holds for calls that are like these rows, answered by these "
        f"{'two' if tiers == 2 else tiers} models and judged in the same way; not for rows that "
        "the router was trained on. After a change of any of these, calibrate again.",
    ]
