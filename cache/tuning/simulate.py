"""Simulate a cold cache in front of a stream: look up, serve or insert, in order.

Promises: pure; what serves is decided by the same `cache.semantic.consensus.choose` that serves
live, or by a rule that it is compared with; nearest entries are exact, by cosine. Not covered:
eviction and time to live.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.semantic.consensus import Candidate, EntryChoice
from cache.semantic.neighbours import NEIGHBOURS
from cache.tuning.dataset import OUT_OF_SCOPE, Request

Decide = Callable[[str, Sequence[Candidate]], EntryChoice]


@dataclass(frozen=True, slots=True)
class SimulatedAnswer:
    """One request that was served: by which cached text, how, and whether rightly."""

    cached: str
    query: str
    right: bool
    choice: EntryChoice
    cosine: float


def nearest(
    entries: NDArray[np.float32], row: NDArray[np.float32], count: int = NEIGHBOURS
) -> tuple[list[int], list[float]]:
    """Places and cosines of the `count` nearest of (N, D) entries, nearest first."""
    cosines = entries @ row
    count = min(count, len(cosines))
    top = np.argpartition(-cosines, count - 1)[:count] if count else np.arange(0)
    top = top[np.argsort(-cosines[top], kind="stable")]
    return top.tolist(), [min(float(one), 1.0) for one in cosines[top]]


def replay(
    requests: Sequence[Request], rows: NDArray[np.float32], decide: Decide
) -> list[SimulatedAnswer | None]:
    """For each request what served it, or None; (N, D) unit rows of their texts."""
    entries = np.empty_like(rows)
    stored: list[Request] = []
    found: list[SimulatedAnswer | None] = []
    for request, row in zip(requests, rows, strict=True):
        places, cosines = nearest(entries[: len(stored)], row)
        near = [
            Candidate(stored[place].text, cosine, stored[place].answer)
            for place, cosine in zip(places, cosines, strict=True)
        ]
        choice = decide(request.text, near)
        if choice.entry is None:
            entries[len(stored)] = row
            stored.append(request)
            found.append(None)
            continue
        one = near[choice.entry]
        right = one.answer == request.answer != OUT_OF_SCOPE
        found.append(SimulatedAnswer(one.text, request.text, right, choice, one.cosine))
    return found
