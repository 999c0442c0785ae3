"""Recommend cut-offs and a level from a labelled file.

Promises: nothing is trained and nothing written; each cut-off is examined by
`cache.tuning.evaluation` as it would serve. A level is recommended only when the file proves it, by
the bounds of `cache.error_budget.counts` that the live budget goes by; otherwise the advice says
how many hits that would take. Not covered: traffic unlike the file, and wrong labels, which count
as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.error_budget.budget import ErrorBudget, Level
from cache.error_budget.counts import LOOSEN_MISS, Tally, at_most
from cache.semantic.verify import Thresholds, Verifier
from cache.tuning.evaluation import CacheEvaluation, Examiner
from core.errors import HansomError
from core.ports import Embedder

GRID = (0.5, 0.6, 0.7, 0.8, 0.9, 0.96, 0.98, 0.99)
LEVELS = (Level.LOOSE, Level.STRICT)
# The most that `cache.wrong_share` may be.
_MOST = 0.2


@dataclass(frozen=True, slots=True)
class Tried:
    """One cut-off on P(pair), the frozen level that it is or "", and what the file's rows got."""

    pair: float
    level: str
    report: CacheEvaluation

    @property
    def tally(self) -> Tally:
        """Its hits and the wrong ones among them."""
        return Tally(self.report.wrong.of, self.report.wrong.count)


@dataclass(frozen=True, slots=True)
class Advice:
    """What to set `cache.wrong_share` to, None for no semantic cache; `level` is where it begins.

    `sure` is whether the file proves it; `more_hits` is what would, if none of them were wrong.
    """

    level: str
    wrong_share: float | None
    sure: bool
    more_hits: int
    reason: str


class Remembered:
    """A `core.ports.Embedder` that embeds each text once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._rows: dict[str, NDArray[np.float32]] = {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) float32."""
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if new:
            self._rows |= dict(zip(new, self._embedder.embed(new), strict=True))
        return np.stack([self._rows[text] for text in texts])


def examine(path: Path, embedder: Embedder, verifier: Verifier) -> Iterator[Tried]:
    """The file at every cut-off, the lowest first. Raises `cache.tuning.dataset.WrongFile`."""
    frozen = {level.value: verifier.thresholds.get(level.value) for level in LEVELS}
    if None in frozen.values():
        raise HansomError(f"These weights lack one of the levels {', '.join(frozen)}.")
    thresholds = {name: told for name, told in frozen.items() if told is not None}
    consensus = thresholds[Level.STRICT.value].consensus
    thresholds |= {str(cut_off): Thresholds(cut_off, consensus) for cut_off in GRID}
    tried, remembered = copy(verifier), Remembered(embedder)
    tried.thresholds = thresholds
    for name, told in sorted(thresholds.items(), key=lambda item: item[1].pair):
        report = Examiner(remembered, tried, name).evaluate_file(path)
        yield Tried(told.pair, name if name in frozen else "", report)


def advise(seen: Mapping[Level, Tally], limit: float) -> Advice:
    """What the hits at the two frozen levels say of a `limit` on the wrong share, in (0, 0.5)."""
    loose, strict = (seen[level] for level in LEVELS)
    start = ErrorBudget(limit).start
    if seen[start].below(limit):
        reason = _told(seen[start], start, f"below {limit:.2%} with 95 % confidence")
        if start is Level.STRICT and loose.below(limit):
            reason += (
                f"; level {Level.LOOSE} keeps it, too, and the cache gets there by its own checks"
            )
        return Advice(start.value, limit, True, 0, reason)
    if strict.below(limit):
        reason = _told(strict, Level.STRICT, f"below {limit:.2%}, which {start} does not prove")
        return Advice(Level.STRICT.value, float(Level.STRICT.value), True, 0, reason)
    if strict.above(limit):
        bound = upper(strict)
        instead = f" Or allow {bound:.3f} or more." if bound <= _MOST else ""
        reason = _told(strict, Level.STRICT, f"above {limit:.2%}: switch it off here.") + instead
        return Advice(Level.OFF.value, None, True, 0, reason)
    more = needed(limit, strict.wrong) - strict.checked
    reason = _told(strict, Level.STRICT, "too few to tell")
    if loose.above(limit):
        reason += f"; level {Level.LOOSE} is above {limit:.2%}"
    return Advice(Level.STRICT.value, min(limit, float(Level.STRICT.value)), False, more, reason)


def needed(limit: float, wrong: int) -> int:
    """The fewest hits of which `wrong` are wrong that prove a share below `limit`."""
    low, high = 0, max(1, wrong)
    while not Tally(high, wrong).below(limit):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if Tally(middle, wrong).below(limit) else (middle, high)
    return high


def upper(tally: Tally) -> float:
    """The one-sided upper bound of 95 % of Clopper and Pearson, to 0.0001."""
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        sure = at_most(tally.wrong, tally.checked, middle) < LOOSEN_MISS
        low, high = (low, middle) if sure else (middle, high)
    return high


def _told(tally: Tally, level: Level, verdict: str) -> str:
    return f"at level {level} {tally.wrong:,} of {tally.checked:,} hits are wrong: {verdict}"
