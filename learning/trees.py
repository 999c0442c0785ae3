"""Evaluate small boosted trees, stored as arrays, with numpy.

Promises: data only, no code is loaded; every tree is complete (its missing branches are filled
with copies), so all trees of all heads descend together, one numpy step per level.
Not covered: missing values and categories; the features of a prompt have neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Forest:
    """H heads of T trees of depth L over F features.

    feature (H * T, 2**L - 1) int16 and threshold (same) float32 in heap order: the children of
    node i are 2i + 1 (value <= threshold) and 2i + 2; leaf (H * T, 2**L) float32.
    """

    heads: int
    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    leaf: NDArray[np.float32]

    @property
    def depth(self) -> int:
        """Questions asked of a row by each tree."""
        return int(self.leaf.shape[1]).bit_length() - 1

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, H) sums of leaves for (N, F) rows."""
        trees, inner = self.feature.shape
        offset = np.arange(trees) * inner
        flat_feature, flat_threshold = self.feature.ravel(), self.threshold.ravel()
        sums = np.empty((len(features), self.heads))
        for index, row in enumerate(features):
            node = np.zeros(trees, dtype=np.intp)
            for _ in range(self.depth):
                at = node + offset
                goes_right = row.take(flat_feature.take(at)) > flat_threshold.take(at)
                node = 2 * node + 1 + goes_right
            leaves = self.leaf[np.arange(trees), node - inner]
            sums[index] = leaves.reshape(self.heads, -1).sum(axis=1, dtype=np.float64)
        return sums


def stack(forests: list[Forest]) -> Forest:
    """One forest with a head per given forest; all must have the same size."""
    return Forest(
        heads=sum(forest.heads for forest in forests),
        feature=np.concatenate([forest.feature for forest in forests]),
        threshold=np.concatenate([forest.threshold for forest in forests]),
        leaf=np.concatenate([forest.leaf for forest in forests]),
    )


def from_dump(tree_dumps: list[Mapping[str, object]], depth: int) -> Forest:
    """A one-head forest from LightGBM's `dump_model()["tree_info"]`."""
    inner = 2**depth - 1
    shape = (len(tree_dumps), inner)
    feature = np.zeros(shape, dtype=np.int16)
    threshold = np.full(shape, np.inf, dtype=np.float32)
    leaf = np.zeros((len(tree_dumps), inner + 1), dtype=np.float32)

    def place(tree: int, node: int, branch: object) -> None:
        if not isinstance(branch, Mapping):
            raise ValueError(f"tree {tree} of the dump has a branch that is not an object")
        if node >= inner:
            leaf[tree, node - inner] = branch["leaf_value"]
            return
        split = "split_feature" in branch
        if split:
            feature[tree, node] = branch["split_feature"]
            threshold[tree, node] = branch["threshold"]
        place(tree, 2 * node + 1, branch["left_child"] if split else branch)
        place(tree, 2 * node + 2, branch["right_child"] if split else branch)

    for index, dump in enumerate(tree_dumps):
        place(index, 0, dump["tree_structure"])
    return Forest(1, feature, threshold, leaf)
