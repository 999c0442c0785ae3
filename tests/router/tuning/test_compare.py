"""Strategies are set side by side as they would serve."""

import numpy as np
import pytest

from router.policy.terms import Strategy
from router.tuning.compare import Ranking, compare

WEAK = np.array([1.0, 0.0, 1.0, 0.0])
STRONG = np.array([1.0, 1.0, 1.0, 1.0])
NEED = np.array([0.1, 0.9, 0.2, 0.8])


def lines(weak: np.ndarray = WEAK):
    made = compare(weak, STRONG, {Strategy.LEARNED: Ranking(NEED, (0.5,), NEED)}, 0.25, rounds=20)
    return {line.strategy: line for line in made}


def test_a_ranking_is_taken_at_its_own_cut_off():
    learned = lines()[Strategy.LEARNED]
    assert (learned.strong_share, learned.quality, learned.pgr) == (0.5, 1.0, 1.0)
    assert learned.apgr is not None


def test_chance_is_told_at_its_expectation():
    chance = lines()[Strategy.RANDOM]
    assert (chance.strong_share, chance.quality, chance.pgr) == (0.25, 0.625, 0.25)
    assert chance.apgr is None


def test_the_two_ends_are_the_two_models():
    assert lines()[Strategy.ALWAYS_SMALL].quality == WEAK.mean()
    assert lines()[Strategy.ALWAYS_LARGE].quality == STRONG.mean()


def test_three_tiers_have_their_shares_and_what_they_answer():
    weak, between = np.zeros(4), np.array([[0.5]] * 4)
    need, strong = np.array([0.1, 0.4, 0.4, 0.9]), np.ones(4)
    made = compare(
        weak, strong, {Strategy.LEARNED: Ranking(need, (0.2, 0.5), need)}, 0.5,
        rounds=5, between=between,
    )  # fmt: skip
    learned, chance, small, large = made
    assert (learned.shares, learned.quality) == ((0.25, 0.5, 0.25), 0.5)
    assert chance.shares == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert (small.shares, large.shares) == ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))


def test_without_a_gap_there_is_nothing_to_recover():
    learned = lines(STRONG)[Strategy.LEARNED]
    assert (learned.pgr, learned.apgr) == (None, None)
