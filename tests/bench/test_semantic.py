"""The comparison's arithmetic: sets count alike, and a fixed threshold gets its best chance."""

import numpy as np
import pytest

from bench.semantic import Pool, fixed, stream_marks
from cache.tuning.dataset import Pair, Request


def pairs(*labels: int) -> list[Pair]:
    return [Pair("a", "b", label, "f", "g") for label in labels]


SETS = {"few": pairs(1, 0), "many": pairs(1, 1, 1, 0)}


def test_sets_count_alike():
    served = {"few": np.array([True, True]), "many": np.array([False] * 4)}
    hits, wrong, recall = Pool(SETS).marks(served)
    assert (hits, wrong, recall) == pytest.approx((0.5, 0.5, 0.5))


def test_the_best_fixed_threshold_is_found():
    cosines = {"few": np.array([0.9, 0.8]), "many": np.array([0.95, 0.85, 0.7, 0.6])}
    hits, wrong, recall, threshold = Pool(SETS).best_fixed(cosines, 0.0)
    assert threshold == 0.85
    assert (hits, wrong, recall) == pytest.approx((0.5, 0, 5 / 6))


def test_no_threshold_keeps_an_impossible_bound():
    cosines = {"few": np.array([0.8, 0.9]), "many": np.array([0.1] * 4)}
    assert Pool(SETS).best_fixed(cosines, 0.0)[0] == 0


def test_a_fixed_threshold_serves_a_stream():
    rows = np.array([[1, 0], [0.96, 0.28], [0, 1]], dtype=np.float32)
    requests = [Request("a", "x"), Request("b", "y"), Request("c", "x")]
    assert stream_marks(requests, rows, fixed(0.9)) == (pytest.approx(1 / 3), 1.0)
    assert stream_marks(requests, rows, fixed(0.97)) == (0.0, 0.0)
