"""An adaptation learns what the labels hold, keeps to the shipped score where they hold nothing."""

import pickle
import time

import numpy as np
import pytest

from core.errors import HansomError
from router.adapt import MIN_ROWS, STRENGTHS, Labelled, TooFewLabels, fit, ridge
from router.embed import EMBEDDING_SIZE
from router.evaluate import apgr, calibration_error
from router.features import NAMES
from router.score import Score, Scorer

SCORER = Scorer.load()


def domain(size: int, seed: int, signal: float, answers: int = 0) -> Labelled:
    """Prompts whose first surface feature tells, by `signal`, that the small model is wrong."""
    random = np.random.default_rng(seed)
    embeddings = random.normal(size=(size, EMBEDDING_SIZE)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    surfaces = np.abs(random.normal(1, 1, size=(size, len(NAMES)))).astype(np.float32)
    hard = random.random(size) < np.clip(0.5 + signal * (surfaces[:, 0] - 1), 0, 1)
    right = np.stack([~hard, random.random(size) < 0.8], axis=1).astype(np.float64)
    told = (hard[:, None] + random.normal(size=(size, answers))).astype(np.float32)
    return Labelled(embeddings, surfaces, right, told if answers else None)


def test_two_hundred_labels_teach_what_they_hold():
    adapted, test = fit(SCORER, domain(200, 0, 0.4)), domain(1000, 1, 0.4)
    weak, strong = test.right.T
    shipped = SCORER.judge(test.embeddings, test.surfaces)
    learned = adapted.judge(test.embeddings, test.surfaces)
    assert apgr(learned.rank, weak, strong) > apgr(shipped.rank, weak, strong) + 0.05
    assert calibration_error(learned.probability[:, 0], weak) < 0.12


def test_labels_without_signal_teach_nothing_but_the_level():
    adapted, test = fit(SCORER, domain(200, 0, 0.0)), domain(500, 1, 0.0)
    said = adapted.judge(test.embeddings, test.surfaces).probability[:, 0]
    assert said.mean() == pytest.approx(0.5, abs=0.1)
    assert said.std() < 0.15


def test_answers_are_learned_from():
    adapted, test = fit(SCORER, domain(200, 0, 0.0, answers=3)), domain(1000, 1, 0.0, answers=3)
    learned = adapted.judge(test.embeddings, test.surfaces, test.answers)
    assert apgr(learned.rank, *test.right.T) > 0.6


def test_the_same_rows_give_the_same_scores():
    test = domain(5, 1, 0.4)
    one, other = (fit(SCORER, domain(100, 0, 0.4)) for _ in range(2))
    for row in range(5):
        score = one.score(test.embeddings[row], test.surfaces[row])
        assert isinstance(score, Score)
        assert score == other.score(test.embeddings[row], test.surfaces[row])
        assert score.version == f"{SCORER.version}+100"
        assert 0 <= score.need <= 1


def test_it_can_replace_a_scorer_and_travel():
    adapted, test = fit(SCORER, domain(100, 0, 0.4)), domain(1, 1, 0.4)
    assert 0 <= adapted.threshold <= 1
    again = pickle.loads(pickle.dumps(adapted))
    arguments = test.embeddings[0], test.surfaces[0]
    assert again.score(*arguments) == adapted.score(*arguments)


def test_the_labelled_prompts_are_no_longer_strange():
    rows = domain(100, 0, 0.0)
    adapted = fit(SCORER, rows)
    shipped = SCORER.judge(rows.embeddings, rows.surfaces).distance.mean()
    assert adapted.judge(rows.embeddings, rows.surfaces).distance.mean() < shipped


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_labels_that_all_agree_are_survived(right: float):
    rows = domain(50, 0, 0.0)
    rows.right[:] = right
    said = fit(SCORER, rows).judge(rows.embeddings, rows.surfaces).probability
    assert np.isfinite(said).all()
    assert abs(said - right).max() < 0.2


def test_too_few_labels_are_refused():
    assert issubclass(TooFewLabels, HansomError)
    with pytest.raises(TooFewLabels, match=f"{MIN_ROWS - 1} labelled rows"):
        fit(SCORER, domain(MIN_ROWS - 1, 0, 0.0))


def test_left_out_errors_are_those_of_a_fit_without_the_row():
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(30, 60)), random.normal(size=(30, 2))
    _, _, errors = ridge(inputs, targets)
    best = np.inf
    for strength in STRENGTHS:
        left = []
        for row in range(30):
            kept = np.arange(30) != row
            centre, mean = inputs[kept].mean(axis=0), targets[kept].mean(axis=0)
            z = inputs[kept] - centre
            weights = np.linalg.solve(z.T @ z + strength * np.eye(60), z.T @ (targets[kept] - mean))
            left.append(targets[row] - mean - (inputs[row] - centre) @ weights)
        if (error := np.mean(np.square(left))) < best:
            best, wanted = error, np.array(left)
    assert errors == pytest.approx(wanted, abs=1e-6)


def test_two_hundred_rows_are_learned_while_calls_are_served():
    rows = domain(200, 0, 0.4)
    started_s = time.perf_counter()
    fit(SCORER, rows)
    assert time.perf_counter() - started_s < 2
