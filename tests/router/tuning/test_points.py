"""What a cut-off does to known rows is exact."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.tuning.points import STEPS, Rows, curve, cut_offs, gate, part_of, placed

ROWS = Rows(
    score=np.array([0.1, 0.4, 0.4, 0.9]),
    weak=np.array([1.0, 0.0, 1.0, 0.0]),
    strong=np.array([1.0, 1.0, 0.0, 1.0]),
    distance=np.array([0.2, 0.3, 0.4, 0.9]),
)
NONE_FAR = np.zeros(4, dtype=bool)


def test_the_first_cut_off_sends_everything_to_strong_whatever_the_score():
    assert cut_offs(ROWS.score)[0] == 0.0
    assert cut_offs(ROWS.score - 0.5)[0] == -1.0


def test_there_are_no_more_cut_offs_than_a_hundred_and_the_ends():
    scores = np.random.default_rng(0).random(5000)
    offered = cut_offs(scores)
    assert len(offered) <= STEPS + 3
    assert (np.diff(offered) > 0).all()


def test_a_row_goes_to_strong_when_its_score_reaches_the_cut_off():
    part = part_of("all", ROWS, NONE_FAR, 0.4, ())
    assert (part.strong_share, part.quality) == (0.75, 0.75)
    assert part.kept == pytest.approx(1.0)


def test_far_rows_go_to_strong_below_the_cut_off_too():
    part = part_of("all", ROWS, np.array([True, False, False, False]), 0.9, ())
    assert part.strong_share == 0.5


def test_the_gate_leaves_the_asked_share_near():
    distance = np.arange(1000) / 1000
    rows = Rows(distance, distance, distance, distance)
    limit, far = gate(rows, 0.99)
    assert limit is not None
    assert far.sum() == 9


def test_the_curve_runs_from_all_strong_to_what_only_certainty_sends_there():
    points = curve(ROWS, NONE_FAR)
    assert (points[0].strong_share, points[0].quality, points[0].kept) == (1.0, 0.75, 1.0)
    assert (points[-1].strong_share, points[-1].quality) == (0.0, 0.5)
    assert all(a.strong_share >= b.strong_share for a, b in itertools.pairwise(points))


BETWEEN = np.array([[1.0, 0.5], [1.0, 0.5], [0.0, 0.5], [0.0, 0.5]])
FOUR = replace(ROWS, between=BETWEEN)


def test_a_row_goes_to_the_tier_of_its_score_among_several():
    threshold = 0.4  # spread over four tiers: 0.225, 0.4 and 0.535
    places = placed(FOUR, np.array([False, False, False, False]), np.array([0.0, threshold, 1.0]))
    assert places.tolist() == [[3, 3, 3, 3], [0, 2, 2, 3], [0, 0, 0, 0]]
    part = part_of("all", FOUR, NONE_FAR, threshold, ())
    assert part.shares == (0.25, 0.0, 0.5, 0.25)
    assert part.strong_share == 0.25
    assert part.quality == (1.0 + 0.5 + 0.5 + 1.0) / 4


def test_far_rows_go_to_the_dearest_of_several():
    far = np.array([True, False, False, False])
    assert placed(FOUR, far, np.array([1.0])).tolist() == [[3, 0, 0, 0]]


@given(st.floats(-1, 1))
def test_two_tiers_are_cut_as_they_were(threshold: float):
    expected = np.where(ROWS.score >= threshold, 1, 0)
    assert placed(ROWS, NONE_FAR, np.array([threshold]))[0].tolist() == expected.tolist()


def test_rows_of_tiers_between_go_with_their_rows():
    kept = FOUR.only(np.array([True, False, False, True]))
    assert (kept.tiers, kept.right.shape) == (4, (2, 4))
    assert (ROWS.tiers, ROWS.right.shape) == (2, (4, 2))
    with pytest.raises(ValueError, match="equally long"):
        replace(ROWS, between=BETWEEN[:2])


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="equally long"):
        Rows(np.zeros(3), np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="equally long"):
        Rows(np.zeros(0), np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="finite"):
        Rows(np.zeros(2), np.array([np.nan, 0.0]), np.zeros(2))
