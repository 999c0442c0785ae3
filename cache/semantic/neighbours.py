"""Describe the nearest entries of a prompt as numbers for the consensus trees.

Promises: pure; the answer under judgement is the nearest entry's; entries with one answer key
count as agreeing, whatever their texts.
Not covered: how two answers are found to be one; the caller gives equal keys.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 8

NAMES = (
    "best", "second_agreeing", "third_agreeing", "nearest_other", "lead_cosine",
    "agreeing", "unbroken", "answers", "share_sharp", "share_flat", "mean_agreeing",
)  # fmt: skip
# The direction in which each may move the probability: 1 up, -1 down, 0 any.
MONOTONE = (1, 1, 1, -1, 1, 1, 1, -1, 1, 1, 0)
# Votes weigh exp(slope * cosine): for the near ones only, and for all.
_SHARP, _FLAT = 15.0, 6.0


def features(cosines: Sequence[float], answers: Sequence[str]) -> NDArray[np.float32]:
    """(F,) float32 in the order of `NAMES`, from at least one neighbour, nearest first."""
    agrees = [answer == answers[0] for answer in answers]
    same = [one for one, agreed in zip(cosines, agrees, strict=True) if agreed]
    other = [one for one, agreed in zip(cosines, agrees, strict=True) if not agreed]
    nearest_other = max(other, default=0.0)
    unbroken = agrees.index(False) if other else len(agrees)
    return np.array(
        [
            same[0],
            same[1] if len(same) > 1 else 0.0,
            same[2] if len(same) > 2 else 0.0,
            nearest_other,
            same[0] - nearest_other,
            len(same),
            unbroken,
            len(set(answers)),
            _share(same, other, _SHARP),
            _share(same, other, _FLAT),
            sum(same) / len(same),
        ],
        dtype=np.float32,
    )


def _share(same: Sequence[float], other: Sequence[float], slope: float) -> float:
    votes = [float(np.exp(slope * (np.asarray(side) - same[0])).sum()) for side in (same, other)]
    return votes[0] / sum(votes)
