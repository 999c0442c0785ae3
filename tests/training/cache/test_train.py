"""The cut-off keeps its target on the rows that it was taken on."""

import numpy as np

from training.cache.table import FOLDS, VerifierTable
from training.cache.train import JUDGED, pair_threshold


def table(count: int = 600) -> VerifierTable:
    draws = np.random.default_rng(0)
    features = draws.random((count, 3)).astype(np.float32)
    return VerifierTable(
        features,
        (features[:, 0] + 0.1 * draws.normal(size=count) > 0.6).astype(float),
        np.ones(count),
        np.arange(count) % FOLDS,
        np.array([JUDGED[at % len(JUDGED)] for at in range(count)]),
        np.ones(count, dtype=bool),
        np.ones(count, dtype=bool),
    )


def test_the_cut_off_keeps_its_target():
    rows = table()
    probability = rows.features[:, 0].astype(float)
    cut = pair_threshold(rows, probability, 0.02)
    served = probability >= cut
    assert served.sum() > 50
    assert 1 - rows.label[served].mean() <= 0.03
    assert pair_threshold(rows, probability, 0.2) < cut
