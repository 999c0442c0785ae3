"""The orders that are measured beside ours, on rows whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from bench.maths import MathsRows, load, ridge_order
from router.adapt.adapt import LabelledPrompt


def rows_of(right: dict[str, list[float]]) -> MathsRows:
    count = len(next(iter(right.values())))
    blank = np.zeros((count, 2), dtype=np.float32)
    return MathsRows(blank, blank, {name: np.array(scores) for name, scores in right.items()})


def test_every_pair_with_a_gap_is_told_in_its_direction() -> None:
    rows = rows_of(
        {"a": [0.0, 0.0, 1.0, 0.0], "b": [1.0, 1.0, 1.0, 0.0], "c": [0.0, 0.0, 1.0, 0.0]}
    )
    assert rows.pairs() == [("a", "b"), ("c", "b")]


def test_failures_are_counted_of_the_models_outside_the_pair() -> None:
    rows = rows_of({"a": [0.0, 0.0], "b": [1.0, 1.0], "c": [0.0, 1.0], "d": [0.0, 0.5]})
    assert rows.failures(("a", "b")).tolist() == [2.0, 0.5]
    assert rows.failures(("c", "d")).tolist() == [1.0, 1.0]


def test_ridge_finds_what_a_surface_feature_tells() -> None:
    rng = np.random.default_rng(3)
    surfaces = rng.normal(size=(300, 3)).astype(np.float32)
    embeddings = rng.normal(size=(300, 4)).astype(np.float32)
    right = np.stack([np.zeros(300), (surfaces[:, 1] > 0).astype(float)], axis=1)
    both = [LabelledPrompt(embeddings[part], surfaces[part], right[part])
            for part in (slice(200), slice(200, None))]  # fmt: skip
    order = ridge_order(both[0], both[1], 1.0)
    assert np.corrcoef(order, both[1].surfaces[:, 1])[0, 1] > 0.8


def test_a_file_without_the_benchmark_is_told(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"prompt": ["a"], "benchmark": ["other"], "score::m": [1.0]}).to_parquet(path)
    with pytest.raises(ValueError, match="gsm8k-train"):
        load(path)
