"""The measures, against cases whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.measures import apgr, auroc, bootstrap, calibration_error, cpt, recovered

WEAK = np.array([1.0, 1.0, 0.0, 0.0])
STRONG = np.array([1.0, 1.0, 1.0, 1.0])


def test_a_constant_score_is_worth_chance():
    score = np.zeros(4)
    assert apgr(score, WEAK, STRONG) == pytest.approx(0.5)
    assert cpt(score, WEAK, STRONG, 0.8) == pytest.approx(0.8)


def test_a_perfect_score_recovers_all_with_the_needed_share():
    score = np.array([0.0, 0.1, 0.8, 0.9])
    assert recovered(score, WEAK, STRONG) == pytest.approx([0, 0.5, 1, 1, 1])
    assert cpt(score, WEAK, STRONG, 0.5) == pytest.approx(0.25)
    assert apgr(score, WEAK, STRONG) == pytest.approx(0.75)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from([0.0, 0.2, 0.5, 1.0]), min_size=4, max_size=4))
def test_ties_are_worth_the_mean_of_their_orders(values: list[float]):
    score = np.array(values)
    noise = np.random.default_rng(0)
    broken = [apgr(score + noise.uniform(0, 1e-6, 4), WEAK, STRONG) for _ in range(200)]
    assert apgr(score, WEAK, STRONG) == pytest.approx(np.mean(broken), abs=0.06)


def test_no_gap_has_no_recovery():
    assert np.isnan(apgr(np.arange(4.0), STRONG, STRONG))


def test_auroc_counts_ties_as_half():
    assert auroc(np.zeros(4), WEAK) == 0.5
    assert auroc(np.array([4.0, 3.0, 2.0, 1.0]), WEAK) == 1.0
    assert auroc(np.array([1.0, 0.0, 1.0, 0.0]), WEAK) == 0.5


def test_calibration_error_is_the_mean_distance_between_said_and_true():
    assert calibration_error(np.full(4, 0.5), WEAK) == pytest.approx(0)
    assert calibration_error(np.full(4, 0.9), WEAK) == pytest.approx(0.4)


def test_an_interval_holds_its_value_and_repeats():
    generator = np.random.default_rng(1)
    score, weak = generator.random(200), generator.integers(0, 2, 200).astype(float)
    one = bootstrap(auroc, score, weak, rounds=100)
    assert one.low <= one.value <= one.high
    assert one == bootstrap(auroc, score, weak, rounds=100)
