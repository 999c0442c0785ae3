"""Streams as training rows: the nearest answer is what is judged."""

import numpy as np

from cache.tuning.dataset import Request
from training.cache.streams import neighbourhoods


def test_neighbourhoods_are_labelled_by_the_nearest_answer():
    rows = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0.99, 0.14], [0, 1]], dtype=np.float32)
    answers = ["x", "y", "z", "x", "x"]
    found = neighbourhoods([Request(str(at), one) for at, one in enumerate(answers)], rows)
    assert found.label.tolist() == [1.0, 0.0]
