"""A policy's cut-offs, one for each tier but the first, and what moves them for a call.

Promises: pure; a higher value or a fuller budget never raises a cut-off, so neither ever gets a
cheaper tier; the order of the cut-offs is kept. One number that is spread over any number of tiers
leaves no tier between two equal cut-offs, unless it sends all calls to one end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.call import Value

# A cut-off is a need of the large model: twice as worthy a call goes up at half the need.
_VALUE_FACTOR = {Value.LOW: 1.5, Value.NORMAL: 1.0, Value.HIGH: 0.5}
# With less than this share of a budget left the cut-offs rise, to infinity at nothing left.
THRIFT_BELOW = 0.2
# A prompt whose KV cache is wholly at hand makes its tier this much easier to choose.
_RESIDENT_PULL = 0.2


def spread(threshold: float, tiers: int) -> tuple[float, ...]:
    """Cut-offs for `tiers` tiers, (tiers - 1,) ascending, from the one of two tiers.

    Number j of them is 1 - (1 - threshold) ** (2 j / tiers): evenly spaced around `threshold` on a
    logarithmic scale of what is left up to 1, so none reaches 1. With two tiers it is `threshold`
    itself. One of 0 or less sends all calls to the dearest tier, with any number of tiers.
    """
    if tiers == 2 or threshold <= 0:
        return (threshold,) * (tiers - 1)
    left = 1 - min(threshold, 1.0)
    return tuple(float(1 - left ** (2 * place / tiers)) for place in range(1, tiers))


def cut_offs(
    own: float | tuple[float, ...] | None, shipped: float, tiers: int
) -> tuple[float, ...]:
    """What the operator set, or what the weights were shipped with, for so many tiers."""
    if isinstance(own, tuple):
        return own
    return spread(shipped if own is None else own, tiers)


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """Ascending cut-offs, and in words what moved them (empty, or beginning with a comma)."""

    values: tuple[float, ...]
    because: str = ""

    def place(self, measure: float) -> int:
        """The tier of a measure: one up for each cut-off that it reaches."""
        return sum(measure >= value for value in self.values)


def adjusted(
    thresholds: tuple[float, ...],
    value: Value,
    budget_left: float | None,
    resident: Sequence[float] = (),
) -> Cutoffs:
    """`thresholds` for one call; `resident` holds a share in [0, 1] for each tier, cheap first."""
    factor, words = _VALUE_FACTOR[value], list[str]()
    if value is not Value.NORMAL:
        words.append(f"{value.value} value")
    if budget_left is not None and budget_left < THRIFT_BELOW:
        factor = factor * THRIFT_BELOW / budget_left if budget_left > 0 else math.inf
        words.append(f"{max(budget_left, 0):.0%} of the budget left")
    if pull := _pull(resident):
        factor *= 1 - pull
        words.append("its prefix is cached")
    if not words:
        return Cutoffs(thresholds)
    # A cut-off of 0 lets everything pass, and stays so whatever the factor.
    moved = tuple(threshold * factor if threshold > 0 else threshold for threshold in thresholds)
    return Cutoffs(moved, f", a cut-off moved by {' and '.join(words)}")


def _pull(resident: Sequence[float]) -> float:
    """Towards the dearest tier when positive; only the two ends count."""
    if len(resident) < 2:
        return 0.0
    return _RESIDENT_PULL * (resident[-1] - resident[0])
