"""The simple models that were compared, and the one that ships.

Promises: every candidate is fitted on the given rows alone and predicts logits for any rows; the
shipped one is a `Weights`, evaluated by the very code that serves. Features that a change of case
moves are not learned on. How strong a pair of models is, and how hard its exam, is taken off before
anything is learned (each source has a level of its own), so that prompts are compared within a
source; what is predicted is at the level of the reference source.
Not covered: serving never imports this module; scikit-learn and LightGBM are for training only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from learning.trees import Forest, from_dump, stack
from router.score.explain import QUOTED_CHARS, TrainingPrompt
from router.score.features import STEADY
from router.score.model import HEADS, Z_LIMIT, Weights, mean_logits, sigmoid
from training.router.dataset import REFERENCE, Floats, PromptTable, Rows

TREES, DEPTH = 200, 4
NEWTON_STEPS = 20
LOGISTIC_C, RIDGE_ALPHA = 3e-4, 3000.0
SAMPLE_ROWS = 512

Predictor = Callable[[Rows], Floats]  # rows -> (len(rows), 2) logits
Fitter = Callable[[PromptTable, Rows], Predictor]


@dataclass(frozen=True, slots=True)
class Linear:
    """A fitted standardisation and two linear heads; shapes as in `Weights`."""

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    linear: NDArray[np.float32]
    bias: NDArray[np.float32]


def levels(table: PromptTable, rows: Rows) -> Floats:
    """(len(rows), 2) logit of the mean target of each row's source, among these rows."""
    found = np.empty((len(rows), HEADS))
    for name in np.unique(table.source[rows]):
        here = table.source[rows] == name
        found[here] = _logit(table.target[rows[here]].mean(axis=0))
    return found


def reference_level(table: PromptTable, rows: Rows) -> Floats:
    """(2,) logit of the mean target of the reference source, of all rows if it is left out."""
    known = rows[table.source[rows] == REFERENCE]
    return _logit(table.target[known if len(known) else rows].mean(axis=0))


def inputs(table: PromptTable, rows: Rows) -> NDArray[np.float32]:
    """(len(rows), F + E) surface features, those that case moves set to 0, and embedding."""
    return np.hstack([table.surfaces[rows] * STEADY, table.embeddings[rows]])


def fit_linear(table: PromptTable, rows: Rows, c: float = LOGISTIC_C) -> Linear:
    """Two logistic heads on embedding and surface, beside the sources' levels."""
    raw = inputs(table, rows)
    centre, spread = raw.mean(axis=0), raw.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1.0)
    standard = np.clip((raw - centre) / scale, -Z_LIMIT, Z_LIMIT).astype(np.float64)
    offsets = levels(table, rows)
    heads = [
        logistic_weights(standard, table.target[rows, head], offsets[:, head], c)
        for head in range(HEADS)
    ]
    return Linear(
        centre.astype(np.float32),
        scale.astype(np.float32),
        np.stack([head[:-1] for head in heads]).astype(np.float32),
        np.array([head[-1] for head in heads], dtype=np.float32),
    )


def logistic_weights(standard: Floats, target: Floats, offset: Floats, c: float) -> Floats:
    """(D + 1,) weights and bias of a logistic regression beside known `offset` (n,).

    `standard` (n, D), `target` (n,) shares in [0, 1]; `c` is the inverse of the ridge's strength.
    Newton's method: scikit-learn's has no offsets.
    """
    design = np.hstack([standard, np.ones((len(standard), 1))])
    strength = np.append(np.full(standard.shape[1], 1 / c), 1e-6)
    fitted = np.zeros(len(strength))
    for _ in range(NEWTON_STEPS):
        share = sigmoid(design @ fitted + offset)
        slope = design.T @ (share - target) + strength * fitted
        bent = (design * (share * (1 - share))[:, None]).T @ design + np.diag(strength)
        step = np.linalg.solve(bent, slope)
        fitted = fitted - step
        if np.abs(step).max() < 1e-6:
            break
    return fitted


def fit_trees(table: PromptTable, rows: Rows) -> Forest:
    """Two heads of boosted trees on the surface features alone, beside the sources' levels."""
    options = {
        "objective": "cross_entropy",
        "learning_rate": 0.05,
        "num_leaves": 2**DEPTH,
        "max_depth": DEPTH,
        "min_data_in_leaf": 30,
        "feature_fraction": 0.3,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "max_bin": 63,
        "num_threads": 1,
        "seed": 0,
        "deterministic": True,
        "verbose": -1,
        "boost_from_average": False,
    }
    forests = []
    counted, offsets = table.surfaces[rows] * STEADY, levels(table, rows)
    for head in range(HEADS):
        target = table.target[rows, head]
        data = lightgbm.Dataset(counted, target, init_score=offsets[:, head])
        booster = lightgbm.train(options, data, TREES)
        forests.append(from_dump(booster.dump_model()["tree_info"], DEPTH))
    return stack(forests)


def sampled(rows: Rows, seed: int = 0) -> Rows:
    """(SAMPLE_ROWS,) those of `rows` whose embeddings become `Weights.sample`, in its order."""
    return np.random.default_rng(seed).choice(np.unique(rows), SAMPLE_ROWS, replace=False)


def sampled_prompts(table: PromptTable, rows: Rows, seed: int = 0) -> tuple[TrainingPrompt, ...]:
    """The prompts of the sample that `fit_both` takes of these rows, cut to `QUOTED_CHARS`."""
    return tuple(
        TrainingPrompt(
            str(table.source[row]), " ".join(table.prompt[row].split())[:QUOTED_CHARS].rstrip()
        )
        for row in sampled(rows, seed)
    )


def fit_both(table: PromptTable, rows: Rows, seed: int = 0) -> Weights:
    """The shipped model before calibration: slope 1, offset 0, and no reach yet."""
    linear, forest = fit_linear(table, rows), fit_trees(table, rows)
    return Weights(
        centre=linear.centre,
        scale=linear.scale,
        linear=linear.linear,
        # Both halves of the mean want the level, and trees have no bias.
        bias=(linear.bias + 2 * reference_level(table, rows)).astype(np.float32),
        tree_feature=forest.feature,
        tree_threshold=forest.threshold,
        tree_leaf=forest.leaf,
        platt=np.array([[1, 0]] * HEADS, dtype=np.float32),
        sample=table.embeddings[sampled(rows, seed)],
        reach=np.array([0, 1, 1], dtype=np.float32),
        tree_platt=np.array([[1, 0]] * HEADS, dtype=np.float32),
    )


def both(table: PromptTable, rows: Rows) -> Predictor:
    """Candidate: the mean of logistic and tree logits."""
    weights = fit_both(table, rows)
    return lambda wanted: mean_logits(weights, table.embeddings[wanted], table.surfaces[wanted])


def logistic(table: PromptTable, rows: Rows) -> Predictor:
    """Candidate: logistic regression on embedding and surface."""
    model, level = fit_linear(table, rows), reference_level(table, rows)

    def predict(wanted: Rows) -> Floats:
        standard = np.clip((inputs(table, wanted) - model.centre) / model.scale, -Z_LIMIT, Z_LIMIT)
        return np.asarray(standard @ model.linear.T + model.bias + level, dtype=np.float64)

    return predict


def ridge(table: PromptTable, rows: Rows) -> Predictor:
    """Candidate: ridge regression on embedding and surface; it knows of no pairs."""
    raw = inputs(table, np.arange(len(table.prompt))).astype(np.float64)
    spread = raw[rows].std(axis=0)
    standard = (raw - raw[rows].mean(axis=0)) / np.where(spread > 1e-6, spread, 1.0)
    model = Ridge(alpha=RIDGE_ALPHA).fit(standard[rows], table.right[rows])
    return lambda wanted: _logit(np.clip(model.predict(standard[wanted]), 0.01, 0.99))


def trees(table: PromptTable, rows: Rows) -> Predictor:
    """Candidate: boosted trees on surface features alone."""
    forest, level = fit_trees(table, rows), reference_level(table, rows)
    return lambda wanted: forest.logits(table.surfaces[wanted]) + level


def _logit(share: Floats) -> Floats:
    within = np.clip(share, 0.01, 0.99)
    return np.asarray(np.log(within / (1 - within)))


SHIPPED, SURFACE = "logistic + trees", "trees on surface"
CANDIDATES: dict[str, Fitter] = {
    "ridge": ridge,
    "logistic": logistic,
    SURFACE: trees,
    SHIPPED: both,
}
