"""What counts prove: exact bounds, and nothing from one wrong outcome."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.error_budget.counts import Tally, at_most

_tallies = st.tuples(st.integers(0, 3000), st.integers(0, 60)).map(
    lambda pair: Tally(pair[0], min(pair))
)
_shares = st.floats(0.002, 0.2)


@given(st.integers(1, 200), st.integers(0, 200), st.floats(0.001, 0.4))
def test_the_binomial_sum_is_the_textbook_one(checked: int, wrong: int, share: float) -> None:
    terms = (
        math.comb(checked, at) * share**at * (1 - share) ** (checked - at)
        for at in range(wrong + 1)
    )
    assert at_most(wrong, checked, share) == pytest.approx(min(sum(terms), 1.0), rel=1e-9)


def test_at_one_percent_299_right_answers_are_the_least_that_prove_it() -> None:
    assert Tally(299).below(0.01)
    assert not Tally(298).below(0.01)
    assert Tally(473, 1).below(0.01)
    assert not Tally(472, 1).below(0.01)


def test_one_wrong_outcome_proves_nothing_and_two_of_few_do() -> None:
    assert not Tally(1, 1).above(0.01)
    assert Tally(15, 2).above(0.01)
    assert not Tally(16, 2).above(0.01)


def test_of_many_the_mean_is_enough() -> None:
    assert Tally(500, 6).above(0.01)
    assert not Tally(499, 6).above(0.01)
    assert not Tally(500, 5).above(0.01)


@given(_tallies, _shares)
def test_one_more_wrong_outcome_never_helps(tally: Tally, share: float) -> None:
    worse = tally.plus(Tally(1, 1))
    assert tally.below(share) or not worse.below(share)
    assert worse.above(share) or not tally.above(share)


@given(_tallies, _shares)
def test_no_tally_is_both_above_and_below(tally: Tally, share: float) -> None:
    assert not (tally.above(share) and tally.below(share))


@given(_tallies, _shares)
def test_forgetting_proves_no_share_low(tally: Tally, share: float) -> None:
    assert tally.below(share) or not tally.halved.below(share)
