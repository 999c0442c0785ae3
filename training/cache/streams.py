"""Make training rows for the consensus trees from streams of requests.

Promises: pure; a request is judged by trees that saw no request of its intent.
Not covered: choosing a cut-off (`training.cache.train`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cache.language.mismatch import Mismatch
from cache.semantic import neighbours
from cache.semantic.consensus import Candidate, ConsensusSettings, EntryChoice, ServedBy, choose
from cache.semantic.verify import Judge, Thresholds, Verifier
from cache.tuning.dataset import OUT_OF_SCOPE, Request
from cache.tuning.simulate import replay
from training.cache.table import VerifierTable, fold_of


def neighbourhoods(requests: Sequence[Request], rows: NDArray[np.float32]) -> VerifierTable:
    """What a lookup sees all along a stream, and whether the nearest answer was the right one."""
    features, labels, groups = [], [], []
    asked = iter(requests)

    def decide(_: str, near: Sequence[Candidate]) -> EntryChoice:
        request = next(asked)
        if len(near) < 3 or near[0].cosine < 0.4:
            return EntryChoice(None, Mismatch.DISTANT, 0.0)
        cosines, answers = [one.cosine for one in near], [one.answer for one in near]
        features.append(neighbours.features(cosines, answers))
        labels.append(float(answers[0] == request.answer != OUT_OF_SCOPE))
        groups.append(fold_of(request.answer))
        agreeing = features[-1][5] >= 2 and features[-1][4] > 0.15
        if (agreeing and near[0].cosine >= 0.65) or near[0].cosine >= 0.9:
            return EntryChoice(0, ServedBy.CONSENSUS, 1.0)
        return EntryChoice(None, Mismatch.UNSURE, 0.0)

    replay(requests, rows, decide)
    count = len(labels)
    return VerifierTable(
        np.stack(features),
        np.array(labels),
        np.ones(count),
        np.array(groups),
        np.full(count, "stream"),
        np.ones(count, dtype=bool),
        np.ones(count, dtype=bool),
    )


class UnseenStreams:
    """Judges whose neighbourhood trees never saw the intent of the request at hand."""

    def __init__(self, judges: Sequence[Judge], verifier: Verifier, requests: Sequence[Request]):
        self._judges = judges
        self._verifier = verifier
        self._fold = {one.text: fold_of(one.answer) for one in requests}
        self._known: dict[tuple[str, str], float] = {}
        self.query = ""

    def pair(self, cached: str, query: str) -> float:
        """Judge a pair with the shipped verifier, which learned from no stream; cached by pair."""
        if (cached, query) not in self._known:
            self._known[cached, query] = self._verifier.pair(cached, query)
        return self._known[cached, query]

    def consensus(self, cosines: list[float], answers: list[str]) -> float:
        """By the trees of the query's fold."""
        judge = self._judges[self._fold[self.query]]
        return judge.probability(neighbours.features(cosines, answers))


def stream_marks(
    requests: Sequence[Request],
    rows: NDArray[np.float32],
    judges: UnseenStreams,
    thresholds: Thresholds,
) -> tuple[float, float]:
    """Share served, and share of those that are wrong, with trees of other intents."""
    settings = ConsensusSettings(thresholds)

    def decide(text: str, near: Sequence[Candidate]) -> EntryChoice:
        judges.query = text
        return choose(text, near, judges, settings)

    served = [one for one in replay(requests, rows, decide) if one is not None]
    wrong = sum(not one.right for one in served)
    return len(served) / len(requests), wrong / max(len(served), 1)
