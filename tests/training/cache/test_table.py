"""Training: folds keep groups together, the same rows give the same trees."""

import numpy as np
import pytest

from training.cache.table import FOLDS, VerifierTable, fit, fold_of, judged, unseen

SIZE = (20, 3, 10)


def table(count: int = 600) -> VerifierTable:
    draws = np.random.default_rng(0)
    features = draws.random((count, 3)).astype(np.float32)
    return VerifierTable(
        features,
        (features[:, 0] + 0.1 * draws.normal(size=count) > 0.6).astype(float),
        np.ones(count),
        np.arange(count) % FOLDS,
        np.full(count, "own"),
        np.ones(count, dtype=bool),
        np.ones(count, dtype=bool),
    )


def test_a_group_has_one_fold():
    assert fold_of("a") == fold_of("a")
    assert {fold_of(str(at)) for at in range(50)} == set(range(FOLDS))


def test_the_same_rows_give_the_same_trees():
    rows = table()
    one, other = (fit(rows, rows.passed, SIZE, (1, 0, 0)) for _ in range(2))
    assert np.array_equal(one.leaf, other.leaf)
    assert np.array_equal(one.threshold, other.threshold)


def test_unseen_logits_follow_the_label_and_calibrate():
    rows = table()
    logits, forests = unseen(rows, SIZE, (1, 0, 0))
    assert len(forests) == FOLDS
    assert np.corrcoef(logits, rows.label)[0, 1] > 0.5
    judge = judged(logits, rows, forests[0])
    probability = 1 / (1 + np.exp(-(logits * judge.slope + judge.offset)))
    assert probability.mean() == pytest.approx(rows.label.mean(), abs=0.02)
