"""A cold cache: nothing is served before it is stored, and what is served is not stored."""

from collections.abc import Sequence

import numpy as np

from cache.language.mismatch import Mismatch
from cache.semantic.consensus import Candidate, EntryChoice, ServedBy
from cache.tuning.dataset import Request
from cache.tuning.simulate import nearest, replay

NEAR = np.array([[1, 0], [0.96, 0.28], [0, 1], [1, 0]], dtype=np.float32)


def nearest_serves(_: str, near: Sequence[Candidate]) -> EntryChoice:
    if near and near[0].cosine > 0.9:
        return EntryChoice(0, ServedBy.VERIFIED, 1.0)
    return EntryChoice(None, Mismatch.DISTANT, 0.0)


def test_requests_are_served_from_those_before():
    stream = [Request("a", "x"), Request("b", "x"), Request("c", "y"), Request("d", "z")]
    found = replay(stream, NEAR, nearest_serves)
    assert [one and (one.cached, one.right) for one in found] == [
        None,
        ("a", True),
        None,
        ("a", False),
    ]


def test_out_of_scope_is_never_right():
    found = replay([Request("a", "oos"), Request("b", "oos")], NEAR[:2], nearest_serves)
    assert found[1] is not None
    assert not found[1].right


def test_the_nearest_come_first():
    places, cosines = nearest(NEAR, np.array([0.8, 0.6], dtype=np.float32), 2)
    assert places == [1, 0]
    assert cosines[0] > cosines[1]
    assert nearest(NEAR[:0], NEAR[0]) == ([], [])
