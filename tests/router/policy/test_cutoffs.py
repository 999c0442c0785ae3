"""One cut-off for any number of tiers: ascending, that of two tiers where there are two."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policy.cutoffs import Cutoffs, cut_offs, spread

thresholds = st.floats(-1, 1)


@given(thresholds)
def test_two_tiers_have_the_cut_off_itself_and_one_has_none(threshold: float):
    assert spread(threshold, 2) == (threshold,)
    assert spread(threshold, 1) == ()


@given(st.floats(1e-3, 0.999), st.integers(1, 8))
def test_every_tier_has_a_part_of_the_scores(threshold: float, tiers: int):
    made = spread(threshold, tiers)
    assert len(made) == tiers - 1
    assert all(one < other for one, other in itertools.pairwise((0.0, *made, 1.0)))
    middles = [(low + high) / 2 for low, high in itertools.pairwise((0.0, *made, 1.0))]
    assert [Cutoffs(made).place(middle) for middle in middles] == list(range(tiers))


@given(st.floats(-1, 0), st.integers(2, 8))
def test_a_cut_off_of_nothing_sends_all_to_the_dearest(threshold: float, tiers: int):
    assert Cutoffs(spread(threshold, tiers)).place(0.0) == tiers - 1


@given(st.integers(2, 8))
def test_a_cut_off_of_one_sends_all_but_certainty_to_the_cheapest(tiers: int):
    assert Cutoffs(spread(1.0, tiers)).place(0.999) == 0


@given(thresholds, thresholds, st.floats(0, 1), st.integers(1, 8))
def test_a_higher_cut_off_never_gives_a_dearer_tier(
    one: float, other: float, need: float, tiers: int
):
    low, high = sorted((one, other))
    assert Cutoffs(spread(high, tiers)).place(need) <= Cutoffs(spread(low, tiers)).place(need)


def test_they_lie_around_the_cut_off_of_two():
    assert spread(0.127, 4) == pytest.approx((0.0656, 0.127, 0.1843), abs=1e-4)


def test_the_operators_own_outweigh_those_of_the_weights():
    assert cut_offs(None, 0.2, 2) == (0.2,)
    assert cut_offs(0.3, 0.2, 2) == (0.3,)
    assert cut_offs((0.1, 0.5), 0.2, 3) == (0.1, 0.5)
    assert cut_offs(0.3, 0.2, 3) == spread(0.3, 3)
