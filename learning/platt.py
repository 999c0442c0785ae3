"""Calibrate raw outputs to probabilities, and find a default cut-off.

Promises: pure numpy; both fits see only rows that the model did not train on, when the caller
passes out-of-fold values, as `training.router.train` does.
Not covered: a guarantee. The cut-off meets its target on the calibration rows; on other traffic
it may miss, and a naive cut-off misses its own target about half the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from learning.measures import recovered

Floats = NDArray[np.float64]


def platt(logits: Floats, outcome: Floats, prior: float = 1e-3, steps: int = 50) -> Floats:
    """(2,) slope and offset that make sigmoid(slope * logit + offset) likeliest.

    `logits` and `outcome` are (n,); outcomes may be shares in [0, 1]. Newton's method; `prior`
    draws the slope towards 1, a trace of it so that perfectly separated rows still have an answer,
    more where rows are few. Chosen over isotonic steps because steps tie scores, and a tie is a
    routing decision lost.
    """
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    fitted = np.array([1.0, 0.0])
    shrinkage = np.array([prior, 1e-3])
    for _ in range(steps):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ fitted, -30, 30)))
        slope = design.T @ (probability - outcome) + shrinkage * (fitted - [1.0, 0.0])
        spread = (design * (probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(spread + np.diag(shrinkage), slope)
        fitted = fitted - step
        if np.abs(step).max() < 1e-9:
            break
    return fitted


def threshold_for(score: Floats, weak: Floats, strong: Floats, target: float) -> float:
    """The highest cut-off whose share of strong calls (score >= cut-off) reaches PGR `target`."""
    ranked = np.sort(score)[::-1]
    curve = recovered(score, weak, strong)[1:]
    # Only cuts between different scores can be made by a threshold.
    makeable = np.append(ranked[:-1] > ranked[1:], True)
    reached = np.flatnonzero(makeable & (curve >= target))
    return float(ranked[reached[0]]) if len(reached) else float(ranked[-1])
