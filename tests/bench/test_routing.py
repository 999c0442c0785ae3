"""Replaying strategies on answers that were given: costs, cut-offs and what is saved."""

import numpy as np
import pytest

from bench.routing import Answered, Way, compared, report, saved

ROWS = 400


def answered(small_right: np.ndarray, large_right: np.ndarray) -> Answered:
    from bench.bigbench import Task

    tasks = tuple(Task("t", f"prompt {at}", ("x",)) for at in range(ROWS))
    cost = np.tile([1.0, 10.0], (ROWS, 1))
    return Answered(tasks, np.stack([small_right, large_right], axis=1), cost, 1 - small_right)


@pytest.fixture
def rows() -> Answered:
    small = (np.arange(ROWS) % 2).astype(float)
    return answered(small, np.ones(ROWS))


def test_an_oracle_saves_all_that_small_gets_right_and_a_paid_one_a_little_less(
    rows: Answered,
) -> None:
    oracle = 1 - rows.right[:, 0]
    free = saved(Way(oracle, paid=False), rows, 0.99, np.random.default_rng(0))
    paid = saved(Way(oracle, paid=True), rows, 0.99, np.random.default_rng(0))
    assert free[0] == pytest.approx(1 - 5.5 / 10, abs=0.02)
    assert paid[0] == pytest.approx(1 - 6.0 / 10, abs=0.02)
    assert free[1] > 0.97


def test_a_ranking_that_knows_nothing_saves_only_what_the_target_leaves_open(
    rows: Answered,
) -> None:
    chance = Way(np.random.default_rng(1).uniform(size=ROWS), paid=False)
    share, quality = saved(chance, rows, 0.95, np.random.default_rng(0))
    assert share < 0.2
    assert quality == pytest.approx(0.95, abs=0.04)


def test_where_small_is_as_good_everything_goes_down() -> None:
    both = answered(np.ones(ROWS), np.ones(ROWS))
    share, quality = saved(Way(np.zeros(ROWS), paid=False), both, 0.99, np.random.default_rng(0))
    assert (share, quality) == (pytest.approx(0.9), 1.0)


def test_every_strategy_is_told_with_its_intervals(rows: Answered) -> None:
    need = 1 - rows.right[:, 0] * 0.5
    lines = report(rows, need, need)
    assert [line["strategy"] for line in lines] == list(compared(rows, need, need))
    middle, low, high = lines[0]["saved_at_0.95"]  # type: ignore[misc]
    assert low <= middle <= high
