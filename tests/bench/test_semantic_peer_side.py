"""The peer's side, on a cache that is a plain dictionary: what is put, asked and told."""

import numpy as np
import pytest

from bench.semantic_peer_side import Vectors, pairs, run, stream

ROWS = np.array([[1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32)
VECTORS = Vectors(["a", "b", "c"], ROWS)


class Nearest:
    """A cache that serves from a cosine on."""

    def __init__(self) -> None:
        self.opened: list[float | None] = []
        self.kept: dict[str, str] = {}
        self.limit = 0.0

    def open(self, threshold: float | None) -> None:
        self.opened.append(threshold)
        self.limit = 0.7 if threshold is None else threshold
        self.clear()

    def clear(self) -> None:
        self.kept = {}

    def put(self, text: str, answer: str) -> None:
        self.kept[text] = answer

    def get(self, text: str) -> str | None:
        best = max(self.kept, key=lambda one: self._cosine(one, text), default=None)
        near = best is not None and self._cosine(best, text) >= self.limit
        return self.kept[best] if near else None

    def closeness(self, text: str) -> float:
        return max(self._cosine(one, text) for one in self.kept)

    def asked(self, cached: dict[str, object], query: dict[str, object]) -> bool:
        return cached == query

    def _cosine(self, one: str, other: str) -> float:
        return float(VECTORS.row(one) @ VECTORS.row(other))


def test_each_pair_is_alone_in_the_cache():
    peer = Nearest()
    peer.open(None)
    found = pairs(peer, [("a", "b"), ("a", "c"), ("c", "c")])
    assert found["served"] == [True, False, True]
    assert found["closeness"] == pytest.approx([0.8, 0, 1])


def test_a_stream_keeps_what_it_misses_and_tells_whose_answer_served():
    peer = Nearest()
    peer.open(None)
    assert stream(peer, ["a", "c", "b", "c"]) == [-1, -1, 0, 1]
    assert set(peer.kept) == {"a", "c"}


def test_a_job_runs_each_stream_at_the_default_and_at_each_threshold_on_an_empty_cache():
    peer = Nearest()
    job = {
        "pairs": {"p": [("a", "b")]},
        "context": [({"x": 1}, {"x": 1}), ({"x": 1}, {"x": 2})],
        "streams": {"s": ["a", "b"]},
    }
    told = run(peer, job, [0.9])
    assert peer.opened == [None, None, 0.9]
    assert told["streams"] == {"s": [[None, [-1, 0]], [0.9, [-1, -1]]]}
    assert told["context"] == [True, False]


def test_only_a_librarys_own_question_has_no_vector():
    assert VECTORS.embed("b") == pytest.approx([0.8, 0.6])
    assert VECTORS.embed("dimension test") == [0.0, 0.0]
    with pytest.raises(KeyError):
        VECTORS.to_embeddings("dimension test")
