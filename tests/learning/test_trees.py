"""Trees as arrays answer as the trees they came from."""

import numpy as np
import pytest

from learning.trees import from_dump, stack

DUMP = {
    "tree_structure": {
        "split_feature": 1,
        "threshold": 0.5,
        "left_child": {"leaf_value": -1.0},
        "right_child": {
            "split_feature": 0,
            "threshold": 2.0,
            "left_child": {"leaf_value": 3.0},
            "right_child": {"leaf_value": 7.0},
        },
    }
}
ROWS = np.array([[0, 0], [9, 0.5], [0, 1], [2, 1], [3, 1]], dtype=np.float32)


def test_a_shallow_branch_answers_as_its_own_leaf():
    forest = from_dump([DUMP], depth=3)
    assert forest.depth == 3
    assert forest.logits(ROWS)[:, 0].tolist() == [-1, -1, 3, 3, 7]


def test_trees_add_up_and_heads_stay_apart():
    two_heads = stack([from_dump([DUMP, DUMP], 2), from_dump([DUMP, DUMP], 2)])
    assert two_heads.logits(ROWS)[-1].tolist() == [14, 14]
    assert two_heads.logits(ROWS).shape == (5, 2)


def test_a_dump_that_is_no_tree_is_refused():
    with pytest.raises(ValueError, match="not an object"):
        from_dump([{"tree_structure": 3}], 2)
