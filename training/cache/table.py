"""Make the verifier's training rows, and fit its trees.

Promises: the same rows give the same trees; a group's rows are in one fold; a prediction out of
fold is made by trees that saw nothing of the fold.
Not covered: serving never imports this module; LightGBM is for training only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray

from cache.language.mismatch import never, refusal, unexplained
from cache.semantic import pair
from cache.semantic.pair import PromptReader
from cache.semantic.verify import Judge
from cache.tuning.dataset import Pair
from learning.platt import platt
from learning.trees import Forest, from_dump

Floats = NDArray[np.float64]
FOLDS = 5
SEEDS = (0, 1)
# Trees, depth and the fewest rows of a leaf, of either forest.
PAIR_SIZE, CONSENSUS_SIZE = (150, 4, 10), (120, 3, 30)


@dataclass(frozen=True, slots=True)
class VerifierTable:
    """N rows: features (N, F), label, weight and fold (N,), and their set.

    `taught` are those that pass the gates of a pair: trees learn from them. `passed` are those on
    which the trees decide, when no entry beside it vouches for one; cut-offs count these.
    """

    features: NDArray[np.float32]
    label: Floats
    weight: Floats
    fold: NDArray[np.int64]
    source: NDArray[np.str_]
    taught: NDArray[np.bool_]
    passed: NDArray[np.bool_]


def fold_of(group: str) -> int:
    """The fold of a group: the same on every machine."""
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % FOLDS


def pairs_table(
    pairs: Mapping[str, Sequence[Pair]], weights: Mapping[str, float], reader: PromptReader
) -> VerifierTable:
    """Features of all pairs; those that a gate refuses are kept for the count, not learned from."""
    rows, taught, passed, flat = [], [], [], []
    for source, found in pairs.items():
        for one in found:
            refused = refusal(one.cached, one.query) or never(one.query) or never(one.cached)
            taught.append(refused is None)
            passed.append(refused is None and unexplained(one.cached, one.query) is None)
            flat.append((source, one))
            rows.append(
                np.zeros(len(pair.NAMES), dtype=np.float32)
                if refused
                else pair.features(reader.read(one.cached), reader.read(one.query))
            )
    return VerifierTable(
        np.stack(rows),
        np.array([one.label for _, one in flat], dtype=float),
        np.array([weights[source] for source, _ in flat]),
        np.array([fold_of(one.group) for _, one in flat]),
        np.array([source for source, _ in flat]),
        np.array(taught),
        np.array(passed),
    )


def fit(
    table: VerifierTable,
    rows: NDArray[np.bool_],
    size: tuple[int, int, int],
    monotone: Sequence[int],
) -> Forest:
    """Boosted trees over the rows, the mean of as many forests as `SEEDS`."""
    (trees, depth, leaf_rows), dumps = size, []
    for seed in SEEDS:
        settings = {
            "objective": "binary",
            "max_depth": depth,
            "num_leaves": 2**depth - 1,
            "learning_rate": 0.05,
            "min_data_in_leaf": leaf_rows,
            "lambda_l2": 5,
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
            "monotone_constraints": list(monotone),
        }
        data = lightgbm.Dataset(table.features[rows], table.label[rows], weight=table.weight[rows])
        dumps += lightgbm.train(settings, data, trees).dump_model()["tree_info"]
    forest = from_dump(dumps, depth)
    return Forest(1, forest.feature, forest.threshold, forest.leaf / np.float32(len(SEEDS)))


def unseen(
    table: VerifierTable, size: tuple[int, int, int], monotone: Sequence[int]
) -> tuple[Floats, list[Forest]]:
    """(N,) logits of trees that saw nothing of the row's fold, and the trees of each fold."""
    logits, forests = np.empty(len(table.label)), []
    for fold in range(FOLDS):
        forest = fit(table, table.taught & (table.fold != fold), size, monotone)
        here = table.fold == fold
        logits[here] = forest.logits(table.features[here])[:, 0]
        forests.append(forest)
    return logits, forests


def joined(tables: Sequence[VerifierTable]) -> VerifierTable:
    """All rows of several tables."""
    return VerifierTable(
        *(
            np.concatenate([getattr(table, name) for table in tables])
            for name in ("features", "label", "weight", "fold", "source", "taught", "passed")
        )
    )


def judged(logits: Floats, table: VerifierTable, forest: Forest) -> Judge:
    """The trees with a calibration on out-of-fold logits; each row counts as in training."""
    weight = table.weight * table.passed
    copies = np.repeat(np.arange(len(weight)), np.round(weight * 50).astype(int))
    slope, offset = platt(logits[copies], table.label[copies])
    return Judge(forest, float(slope), float(offset))
