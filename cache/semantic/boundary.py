"""Learn an entry's own cut-off from outcomes, under an error bound that the user sets.

After the description of vCache (arXiv 2502.03771): each entry keeps the cosines at which its answer
was compared with a fresh one, fits P(same answer) over the cosine, and explores, that is, asks the
model and learns, so often that the expected rate of wrong answers stays below the bound.

Promises: pure; a state is a value, and updating it gives another. Under the fitted model, even
taken at the pessimistic end of its confidence, the share of prompts near an entry that are served
a wrong answer is at most `delta`. An entry with too few outcomes, or that is more likely wrong than
right, is not served at all.
Not covered: how the fresh answer is compared; and a traffic whose meaning at one cosine drifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Outcomes kept: the latest. Older ones go, so that an entry can be corrected.
KEPT = 64
# Fewer outcomes than this prove nothing at any bound.
LEAST = 6
# Chances that the fit is too kind; the best of them is taken, as the paper does.
_DOUBTS: Floats = np.arange(1, 50) / 50
# Share of the bound that is spent: fits err, and a bound that is met on average is often missed.
_SPENT = 0.8
# The grid of sigmoids: places beyond 1 say that no cosine is near enough.
_PLACES, _SLOPES = (
    axis.ravel() for axis in np.meshgrid(np.linspace(0.5, 1.15, 41), [5.0, 10.0, 20.0, 40.0, 80.0])
)


@dataclass(frozen=True, slots=True)
class Boundary:
    """What was seen of one entry: (cosine, whether the answers were the same), oldest first."""

    outcomes: tuple[tuple[float, bool], ...] = ()

    def seen(self, cosine: float, same: bool) -> Boundary:
        """With one more outcome."""
        return Boundary((*self.outcomes, (cosine, same))[-KEPT:])


def exploration(state: Boundary, cosine: float, delta: float) -> float:
    """Least share in [0, 1] of prompts at this cosine that must be explored.

    With p the probability of a wrong answer when served, serving a share s of them costs s * p:
    explore so that it is at most `delta`. In place of the paper's confidence band stands a
    posterior over the sigmoid's slope and place. Raises `ValueError` for an odd `delta`.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta must lie between 0 and 1 (got {delta})")
    if len(state.outcomes) < LEAST:
        return 1.0
    chance, weight = _posterior(state, cosine)
    order = np.argsort(chance)
    below = np.cumsum(weight[order]) / weight.sum()
    at = np.minimum(np.searchsorted(below, _DOUBTS), len(order) - 1)
    if chance[order][np.searchsorted(below, 0.5)] < 0.5:
        return 1.0
    correct = (1 - _DOUBTS) * chance[order][at]
    spent = _SPENT * delta
    needed = 1 - spent / np.maximum(1 - correct, spent)
    return float(needed.min())


def explores(state: Boundary, cosine: float, delta: float, draw: float) -> bool:
    """Whether to ask the model; `draw` is uniform in [0, 1)."""
    return draw < exploration(state, cosine, delta)


def _posterior(state: Boundary, cosine: float) -> tuple[Floats, Floats]:
    """P(same answer) at the cosine under every sigmoid of the grid, and its weight; both (G,)."""
    at, same = (np.array(values, dtype=float) for values in zip(*state.outcomes, strict=True))
    signs = np.where(same > 0, 1.0, -1.0)
    margins = _SLOPES[:, None] * (at - _PLACES[:, None]) * signs
    likelihood = -np.logaddexp(0, -margins).sum(axis=1)
    weight = np.exp(likelihood - likelihood.max())
    return 1 / (1 + np.exp(-_SLOPES * (cosine - _PLACES))), weight
