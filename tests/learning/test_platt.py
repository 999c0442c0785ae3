"""Calibration recovers what it should."""

import numpy as np
import pytest

from learning.platt import platt, threshold_for


def test_platt_recovers_the_slope_and_offset_that_made_the_outcomes():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, 40_000)
    chance = 1 / (1 + np.exp(-(0.5 * logits + 1)))
    outcome = (generator.random(40_000) < chance).astype(float)
    assert platt(logits, outcome) == pytest.approx([0.5, 1.0], abs=0.05)


def test_separated_outcomes_still_have_an_answer():
    logits = np.array([-2.0, -1.0, 1.0, 2.0])
    assert np.isfinite(platt(logits, (logits > 0).astype(float))).all()


def test_the_threshold_is_the_highest_that_reaches_its_target():
    score = np.array([0.9, 0.7, 0.7, 0.1])
    weak, strong = np.zeros(4), np.ones(4)
    assert threshold_for(score, weak, strong, 0.25) == 0.9
    assert threshold_for(score, weak, strong, 0.5) == 0.7
    assert threshold_for(score, weak, strong, 1.0) == 0.1
