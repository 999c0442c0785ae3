"""The simple models that were compared, and the one that ships.

Promises: every candidate is fitted on the given rows alone and predicts logits for any rows; the
shipped one is a `Weights`, evaluated by the very code that serves.
Not covered: serving never imports this module; scikit-learn and LightGBM are for training only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from router.dataset import Floats, Rows, Table
from router.score import HEADS, Z_LIMIT, Weights, mean_logits
from router.trees import Forest, from_dump, stack

TREES, DEPTH = 200, 4
LOGISTIC_C, RIDGE_ALPHA = 3e-4, 3000.0
SAMPLE_ROWS = 512

Predictor = Callable[[Rows], Floats]  # rows -> (len(rows), 2) logits
Fitter = Callable[[Table, Rows], Predictor]


@dataclass(frozen=True, slots=True)
class Linear:
    """A fitted standardisation and two linear heads; shapes as in `Weights`."""

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    linear: NDArray[np.float32]
    bias: NDArray[np.float32]


def fit_linear(table: Table, rows: Rows, c: float = LOGISTIC_C) -> Linear:
    """Two logistic heads on embedding and surface; a share s counts as s right and 1 - s wrong."""
    inputs = np.hstack([table.surfaces, table.embeddings])[rows]
    centre, spread = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1.0)
    standard = np.clip((inputs - centre) / scale, -Z_LIMIT, Z_LIMIT)
    twice = np.vstack([standard, standard])
    label = np.repeat([1, 0], len(rows))
    heads = []
    for head in range(HEADS):
        share = table.right[rows, head]
        weight = np.concatenate([share, 1 - share])
        used = weight > 0
        model = LogisticRegression(C=c, max_iter=500)
        heads.append(model.fit(twice[used], label[used], sample_weight=weight[used]))
    return Linear(
        centre.astype(np.float32),
        scale.astype(np.float32),
        np.concatenate([head.coef_ for head in heads]).astype(np.float32),
        np.concatenate([head.intercept_ for head in heads]).astype(np.float32),
    )


def fit_trees(table: Table, rows: Rows) -> Forest:
    """Two heads of boosted trees on the surface features alone."""
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
    }
    forests = []
    for head in range(HEADS):
        data = lightgbm.Dataset(table.surfaces[rows], table.right[rows, head])
        booster = lightgbm.train(options, data, TREES)
        forests.append(from_dump(booster.dump_model()["tree_info"], DEPTH))
    return stack(forests)


def fit_both(table: Table, rows: Rows, seed: int = 0) -> Weights:
    """The shipped model before calibration: slope 1, offset 0, and no reach yet."""
    linear, forest = fit_linear(table, rows), fit_trees(table, rows)
    chosen = np.random.default_rng(seed).choice(np.unique(rows), SAMPLE_ROWS, replace=False)
    return Weights(
        centre=linear.centre,
        scale=linear.scale,
        linear=linear.linear,
        bias=linear.bias,
        tree_feature=forest.feature,
        tree_threshold=forest.threshold,
        tree_leaf=forest.leaf,
        platt=np.array([[1, 0]] * HEADS, dtype=np.float32),
        sample=table.embeddings[chosen],
        reach=np.array([0, 1, 1], dtype=np.float32),
    )


def both(table: Table, rows: Rows) -> Predictor:
    """Candidate: the mean of logistic and tree logits."""
    weights = fit_both(table, rows)
    return lambda wanted: mean_logits(weights, table.embeddings[wanted], table.surfaces[wanted])


def logistic(table: Table, rows: Rows) -> Predictor:
    """Candidate: logistic regression on embedding and surface."""
    model = fit_linear(table, rows)

    def predict(wanted: Rows) -> Floats:
        inputs = np.hstack([table.surfaces, table.embeddings])[wanted]
        standard = np.clip((inputs - model.centre) / model.scale, -Z_LIMIT, Z_LIMIT)
        return np.asarray(standard @ model.linear.T + model.bias, dtype=np.float64)

    return predict


def ridge(table: Table, rows: Rows) -> Predictor:
    """Candidate: ridge regression on embedding and surface."""
    inputs = np.hstack([table.surfaces, table.embeddings]).astype(np.float64)
    spread = inputs[rows].std(axis=0)
    standard = (inputs - inputs[rows].mean(axis=0)) / np.where(spread > 1e-6, spread, 1.0)
    model = Ridge(alpha=RIDGE_ALPHA).fit(standard[rows], table.right[rows])

    def predict(wanted: Rows) -> Floats:
        share = np.clip(model.predict(standard[wanted]), 0.01, 0.99)
        logits: Floats = np.log(share / (1 - share))
        return logits

    return predict


def trees(table: Table, rows: Rows) -> Predictor:
    """Candidate: boosted trees on surface features alone."""
    forest = fit_trees(table, rows)
    return lambda wanted: forest.logits(table.surfaces[wanted])


SHIPPED = "logistic + trees"
CANDIDATES: dict[str, Fitter] = {
    "ridge": ridge,
    "logistic": logistic,
    "trees on surface": trees,
    SHIPPED: both,
}
