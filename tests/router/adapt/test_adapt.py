"""An adaptation learns what labels hold and keeps to the shipped score where they hold nothing."""

import pickle
import time

import numpy as np
import pytest

from core.errors import HansomError
from learning.measures import apgr, calibration_error
from router.adapt.adapt import (
    MIN_ROWS,
    RANK_BESIDE_DOUBT,
    LabelledPrompt,
    Ridge,
    TooFewLabels,
    believed,
    chosen,
    fit,
    said,
)
from router.score.features import NAMES
from router.score.model import Score, Scorer
from text.embed import EMBEDDING_SIZE

SCORER = Scorer.load()


def domain(size: int, seed: int, signal: float, answers: int = 0) -> LabelledPrompt:
    """Prompts whose first surface feature tells, by `signal`, that the small model is wrong."""
    random = np.random.default_rng(seed)
    embeddings = random.normal(size=(size, EMBEDDING_SIZE)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    surfaces = np.abs(random.normal(1, 1, size=(size, len(NAMES)))).astype(np.float32)
    hard = random.random(size) < np.clip(0.5 + signal * (surfaces[:, 0] - 1), 0, 1)
    right = np.stack([~hard, random.random(size) < 0.8], axis=1).astype(np.float64)
    told = (hard[:, None] + random.normal(size=(size, answers))).astype(np.float32)
    return LabelledPrompt(embeddings, surfaces, right, told if answers else None)


def graded_by_rank(size: int, seed: int, sign: float) -> LabelledPrompt:
    """Prompts on which the large model is needed where the shipped rank is high, or low."""
    rows = domain(size, seed, 0.0)
    rank = SCORER.judge(rows.embeddings, rows.surfaces).rank
    needed = sign * (rank - np.median(rank)) > 0
    right = np.random.default_rng(seed).random(size) < np.where(needed, 0.2, 0.8)
    return LabelledPrompt(
        rows.embeddings, rows.surfaces, np.stack([right, np.full(size, 0.9)], axis=1).astype(float)
    )


def order(labels: LabelledPrompt, test: LabelledPrompt) -> float:
    """APGR on `test` after these labels."""
    return apgr(fit(SCORER, labels).judge(test.embeddings, test.surfaces).rank, *test.right.T)


@pytest.mark.parametrize("seed", range(3))
def test_fifty_labels_do_not_spoil_a_score_that_is_right(seed: int):
    test = graded_by_rank(1000, 9, 1.0)
    shipped = apgr(SCORER.judge(test.embeddings, test.surfaces).rank, *test.right.T)
    assert shipped > 0.6
    assert order(graded_by_rank(50, seed, 1.0), test) > shipped - 0.07


@pytest.mark.parametrize("seed", range(3))
def test_five_hundred_labels_overrule_a_score_that_is_wrong(seed: int):
    test = graded_by_rank(1000, 9, -1.0)
    assert apgr(SCORER.judge(test.embeddings, test.surfaces).rank, *test.right.T) < 0.4
    assert order(graded_by_rank(500, seed, -1.0), test) > 0.5


@pytest.mark.parametrize("sign, least, most", [(1.0, 0.9, 1.1), (-1.0, 0.0, 0.0)])
def test_a_share_follows_the_labels_and_is_never_negative(sign: float, least: float, most: float):
    random = np.random.default_rng(0)
    ridge, base = Ridge.of(random.normal(size=(300, 5))), random.normal(size=(300, 1))
    targets = sign * base + random.normal(size=(300, 1)) / 2
    _, shares, errors = chosen(ridge, targets, base)
    assert least <= shares[0] <= most
    assert errors.var() < targets.var() * 1.05


def test_a_share_is_whole_while_labels_are_few_and_loud():
    random = np.random.default_rng(1)
    base, noise = random.normal(size=(25, 1)) / 20, random.normal(size=(25, 1))
    _, shares, _ = chosen(Ridge.of(random.normal(size=(25, 5))), noise, base)
    assert shares[0] == pytest.approx(1, abs=0.15)


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


def test_doubt_in_an_answer_is_taken_off_the_small_model_before_any_label():
    rows = domain(2, 0, 0.0)
    shipped = SCORER.judge(rows.embeddings, rows.surfaces)
    level, gain = said(shipped, np.array([[7.0, 0.0], [7.0, 0.6]], dtype=np.float32)).T
    assert level - shipped.probability.mean(axis=1) == pytest.approx([0.0, -0.3])
    assert gain - RANK_BESIDE_DOUBT * shipped.rank == pytest.approx([0.0, 0.6])
    assert said(shipped, None)[:, 1] == pytest.approx(shipped.rank)


def test_what_is_believed_is_the_mean_of_the_plain_view_and_of_the_curves():
    learned = np.array([[0.5, 0.2], [0.8, 0.0]])
    level_alone = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert believed(learned, level_alone) == pytest.approx(
        np.array([[0.45, 0.55], [0.65, (0.8 + 0.8) / 2]])
    )


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


@pytest.mark.parametrize("strength", [1.0, 30.0, 1000.0])
def test_left_out_errors_are_those_of_a_fit_without_the_row(strength: float):
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(30, 60)), random.normal(size=(30, 2))
    left = []
    for row in range(30):
        kept = np.arange(30) != row
        centre, mean = inputs[kept].mean(axis=0), targets[kept].mean(axis=0)
        z = inputs[kept] - centre
        weights = np.linalg.solve(z.T @ z + strength * np.eye(60), z.T @ (targets[kept] - mean))
        left.append(targets[row] - mean - (inputs[row] - centre) @ weights)
    assert Ridge.of(inputs).left_out(targets, strength) == pytest.approx(np.array(left), abs=1e-6)


def test_a_fit_is_that_of_the_normal_equations():
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(30, 60)), random.normal(size=(30, 2))
    linear, bias = Ridge.of(inputs).fitted(targets, 10.0)
    z = inputs - inputs.mean(axis=0)
    wanted = np.linalg.solve(z.T @ z + 10.0 * np.eye(60), z.T @ (targets - targets.mean(axis=0)))
    assert linear == pytest.approx(wanted, abs=1e-8)
    assert (inputs @ linear + bias).mean(axis=0) == pytest.approx(targets.mean(axis=0))


def test_five_hundred_rows_are_learned_while_calls_are_served():
    rows = domain(500, 0, 0.4)
    started_s = time.process_time()
    fit(SCORER, rows)
    assert time.process_time() - started_s < 2
