"""Strategies replayed on answers that both tiers gave: quality, cost and waiting time.

Promises: pure; a cut-off is chosen on one half of the prompts and measured on the other, both ways
round, and the bootstrap repeats that choice. A strategy that asks small first pays and waits for
both answers where it then asks large, one after the other; one that scores first waits for the
embedding and the score, too. Not covered: waiting under load: seconds are those of one answer.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from learning.measures import apgr, bootstrap

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
TARGETS = (0.95, 0.99)
ROUNDS = 200
_AHEAD = np.linspace(0.1, 0.9, 9)  # shares that may go straight to large
MEASURES = ("saved", "quality", "mean_s", "p50_s", "p95_s")


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """n prompts answered by both tiers, columns small and large: right, cost_usd, seconds (n, 2).

    `predict_s` (n,) is what embedding and score took; `doubt` (n,) is that in small's answer.
    """

    right: Floats
    cost_usd: Floats
    seconds: Floats
    predict_s: Floats
    doubt: Floats

    def at(self, picked: Rows) -> "AnsweredRow":
        """These rows only."""
        return AnsweredRow(
            self.right[picked],
            self.cost_usd[picked],
            self.seconds[picked],
            self.predict_s[picked],
            self.doubt[picked],
        )


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """What a strategy gives on m prompts: right, cost_usd and seconds are (m,)."""

    right: Floats
    cost_usd: Floats
    seconds: Floats


@dataclass(frozen=True, slots=True)
class Cut:
    """From which rank, and from which score ahead of small's answer, large is asked."""

    rank: float
    ahead: float = float("inf")


@dataclass(frozen=True, slots=True)
class Way:
    """A ranking of prompts (n,), highest first to large.

    A `paid` one asks small before it knows; a `predicts` one needs the embedding and the score.
    With `ahead` (n,), the highest of that go to large without asking small.
    """

    rank: Floats
    paid: bool
    predicts: bool = False
    ahead: Floats | None = None

    def at(self, picked: Rows) -> "Way":
        """The same of these rows only."""
        ahead = None if self.ahead is None else self.ahead[picked]
        return replace(self, rank=self.rank[picked], ahead=ahead)

    def outcome(self, rows: AnsweredRow, cut: Cut) -> ReplayOutcome:
        """What a cut-off gives on all rows."""
        straight = np.zeros(len(self.rank), dtype=bool)
        if self.ahead is not None:
            straight = self.ahead >= cut.ahead
        up = straight | (self.rank >= cut.rank)
        first = ~up | (self.paid & ~straight)  # whether small is asked

        def total(values: Floats) -> Floats:
            return np.asarray(first * values[:, 0] + up * values[:, 1])

        return ReplayOutcome(
            np.where(up, rows.right[:, 1], rows.right[:, 0]),
            total(rows.cost_usd),
            total(rows.seconds) + self.predicts * rows.predict_s,
        )

    def cheapest(self, rows: AnsweredRow, target: float) -> Cut:
        """The cheapest cut-off that reaches the target on these rows; everything, if none does.

        Every cut between different ranks is tried; of `ahead`, every tenth.
        """
        wanted = target * rows.right[:, 1].mean() - 1e-9
        order = np.argsort(-self.rank, kind="stable")
        rank = self.rank[order]
        makeable = np.concatenate([[True], rank[1:] != rank[:-1], [True]])
        best, least = Cut(float("-inf")), float("inf")
        for ahead in self._aheads():
            straight = np.zeros(len(rank), bool) if self.ahead is None else self.ahead >= ahead
            quality = _cumulated(rows.right, straight, False, order)
            cost = _cumulated(rows.cost_usd, straight, self.paid, order)
            able = np.where(makeable & (quality >= wanted), cost, np.inf)
            at = int(able.argmin())
            if able[at] < least:
                best = Cut(float(rank[at - 1]) if at else float("inf"), ahead)
                least = float(able[at])
        return best

    def _aheads(self) -> list[float]:
        if self.ahead is None:
            return [float("inf")]
        return [float("inf"), *np.quantile(self.ahead, 1 - _AHEAD).tolist()]

    def half(self) -> Cut:
        """Every other prompt to large, by the rank alone."""
        return Cut(float(np.median(self.rank)))


def _cumulated(values: Floats, straight: NDArray[np.bool_], both: bool, order: Rows) -> Floats:
    """(n + 1,) mean of (n, 2) values when the first 0 to n in order go up, beside the straight."""
    down = np.where(straight, values[:, 1], values[:, 0])
    more = np.where(straight, 0.0, values[:, 1] - (0.0 if both else values[:, 0]))
    return np.asarray((down.sum() + np.concatenate([[0.0], np.cumsum(more[order])])) / len(order))


def measured(
    way: Way, rows: AnsweredRow, target: float | None, draw: np.random.Generator
) -> dict[str, float]:
    """`MEASURES` of one cross-fitting: the share of always-large's cost that is saved, quality as a
    share of always-large's, and the client's waiting. Without a target, half goes to large.
    """
    halves = np.array_split(draw.permutation(len(rows.right)), 2)
    got = []
    for learn, test in (halves, halves[::-1]):
        there, known = way.at(learn), rows.at(learn)
        cut = there.half() if target is None else there.cheapest(known, target)
        got.append(way.at(test).outcome(rows.at(test), cut))
    right, cost, seconds = (
        np.concatenate([getattr(one, name) for one in got])
        for name in ("right", "cost_usd", "seconds")
    )
    values = (
        1 - cost.mean() / rows.cost_usd[:, 1].mean(),
        right.mean() / max(rows.right[:, 1].mean(), 1e-9),
        seconds.mean(),
        *np.percentile(seconds, [50, 95]),
    )
    return dict(zip(MEASURES, map(float, values), strict=True))


def spread(way: Way, rows: AnsweredRow, target: float | None) -> dict[str, tuple[float, ...]]:
    """Median and 95 % of every measure over resampled rows, each cross-fitted."""
    told = []
    for seed in range(ROUNDS):
        draw = np.random.default_rng(seed)
        picked = draw.integers(0, len(rows.right), len(rows.right))
        told.append(measured(way.at(picked), rows.at(picked), target, draw))
    return {
        name: tuple(np.percentile([one[name] for one in told], [50, 2.5, 97.5]).tolist())
        for name in MEASURES
    }


def compared(rows: AnsweredRow, need: Floats, taught: Floats, rules: Floats) -> dict[str, Way]:
    """The strategies side by side; in "both" the score may go to large without asking small."""
    chance = np.random.default_rng(7).uniform(size=len(rules))
    joined = (_ranked(taught) + _ranked(rows.doubt)) / 2
    return {
        "learned": Way(need, paid=False, predicts=True),
        "learned, taught": Way(taught, paid=False, predicts=True),
        "heuristic": Way(rules, paid=False),
        "random": Way(chance, paid=False),
        "cascade": Way(rows.doubt, paid=True),
        "both, taught": Way(joined, paid=True, predicts=True, ahead=taught),
    }


def _ranked(values: Floats) -> Floats:
    """(n,) places from 0 to 1, ties shared."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return np.asarray(middle[place] / len(values))


def report(rows: AnsweredRow, ways: dict[str, Way]) -> list[dict[str, object]]:
    """One row a strategy: APGR, and every measure at each target and at half."""
    weak, strong = rows.right.T
    told: list[dict[str, object]] = []
    for name, way in ways.items():
        area = bootstrap(apgr, way.rank, weak, strong)
        line: dict[str, object] = {"strategy": name, "apgr": (area.value, area.low, area.high)}
        for target in (*TARGETS, None):
            at = "half" if target is None else f"{target:.2f}"
            line |= {f"{what}_at_{at}": got for what, got in spread(way, rows, target).items()}
        told.append(line)
    return told


def alone(seconds: Floats) -> tuple[tuple[float, ...], ...]:
    """Mean, p50 and p95 of (n,) seconds, each with its 95 % interval."""
    measures = (np.mean, np.median, lambda values: np.percentile(values, 95))
    found = [bootstrap(lambda values, of=of: float(of(values)), seconds) for of in measures]
    return tuple((one.value, one.low, one.high) for one in found)
