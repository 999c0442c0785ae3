"""Answers that are kept for a replay, and grading and doubting them anew."""

from pathlib import Path

import numpy as np
import pytest

from bench.bigbench import Task
from bench.routing import RoutedAnswer, graded, load, save, summary
from router.judge.cascade import judge

TASKS = (Task("t", "What is 2 + 3?", ("5",)), Task("t", "Capital of Italy?", ("Rome",)))
PAIRS = [
    (RoutedAnswer("5", 1e-6, 0.5, (-0.1, -2.5)), RoutedAnswer("6", 1e-5, 1.5, (-0.2,))),
    (RoutedAnswer("", 1e-6, 0.25, ()), RoutedAnswer("Rome.\n", 1e-5, 2.5, (-0.1, -0.3, 0.0))),
]


def test_kept_answers_are_read_as_they_were(tmp_path: Path) -> None:
    save(tmp_path / "kept.npz", PAIRS)
    assert load(tmp_path / "kept.npz") == PAIRS


def test_answers_are_graded_and_doubted_by_what_small_said() -> None:
    rows = graded(TASKS, PAIRS, np.zeros(2))
    assert rows.right.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert rows.seconds.tolist() == [[0.5, 1.5], [0.25, 2.5]]
    assert rows.doubt[0] == judge(TASKS[0].prompt, "5", (-0.1, -2.5)).value
    assert rows.doubt[1] == judge(TASKS[1].prompt, "").value


def test_the_summary_tells_both_tiers_alone() -> None:
    told = summary(graded(TASKS, PAIRS, np.full(2, 0.01)))
    assert told["right"] == [0.5, 0.5]
    assert told["small_seconds"][0][0] == pytest.approx(0.375)  # type: ignore[index]
    assert told["predict_seconds"][1][0] == pytest.approx(0.01)  # type: ignore[index]
    assert told["doubt_auroc"][0] == 1.0  # type: ignore[index]
