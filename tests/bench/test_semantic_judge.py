"""The figures over pairs that a model was asked about: chosen on one part, measured on another."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.semantic_judge import (
    BEYOND,
    POLICIES,
    Cuts,
    JudgeRows,
    answers,
    auroc,
    crossed,
    cut_offs,
    report,
    rows_of,
)
from bench.semantic_judge_rows import ANSWERS_FILE, EXAMPLES, SHARES, STREAMS, TAUGHT, JudgeCase

RIGHT = [True, True, True, False, False, False]


def rows(trees: list[float], model: list[float], label: list[bool] = RIGHT) -> JudgeRows:
    count = len(label)
    return JudgeRows(
        np.array(label), np.ones(count), np.array(trees), np.array(model),
        np.array(trees) >= 0.8, np.array(["a", "b"] * (count // 2)),
    )  # fmt: skip


def test_auroc_counts_ties_by_half() -> None:
    label = np.array([True, True, False, False])
    assert auroc(label, np.array([0.9, 0.8, 0.2, 0.1])) == 1.0
    assert auroc(label, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert auroc(label, np.array([0.9, 0.1, 0.5, 0.05])) == 0.75
    assert auroc(np.array([True]), np.array([0.5])) is None


def test_a_set_counts_like_any_other() -> None:
    cases = [
        JudgeCase(f"{at}", source, "a", "b", label, 0.7, 0.9, True)
        for at, (source, label) in enumerate([("big", 1)] * 3 + [("big", 0)] + [("small", 0)])
    ]
    found = rows_of(cases, {one.id: 0.5 for one in cases})
    marks = found.marks(found.served)
    assert (marks.recall, marks.wrong) == (1.0, pytest.approx((0.25 + 1) / 2))
    assert len(rows_of(cases, {"0": 0.5}).label) == 1  # those without an answer are left out


def test_a_model_that_knows_adds_recall_and_one_that_does_not_adds_none() -> None:
    trees = [0.9, 0.2, 0.1, 0.3, 0.2, 0.1]
    knows = rows(trees, [0.5, 0.9, 0.9, 0.2, 0.1, 0.1])
    guesses = rows(trees, [0.5, 0.1, 0.2, 0.9, 0.9, 0.9])
    alone, both = POLICIES["trees"], POLICIES["trees, then model"]
    assert knows.marks(cut_offs(knows, alone, 0.0).serve(knows)).recall == pytest.approx(1 / 3)
    assert knows.marks(cut_offs(knows, both, 0.0).serve(knows)).recall == 1.0
    assert cut_offs(guesses, both, 0.0) == Cuts(0.9, BEYOND)


def test_what_is_measured_was_not_chosen_on() -> None:
    """The model's cut-off that is right in one half is wrong in the other, and is seen to be."""
    found = rows([0.1] * 4, [0.9, 0.8, 0.9, 0.1], [True, False, False, True])
    first = np.array([True, True, False, False])
    marks = crossed(found, POLICIES["model"], 0.0, [first, ~first])
    assert (marks.recall, marks.wrong) == (0.0, 1.0)


def test_the_report_has_every_policy_and_set() -> None:
    told = report(rows([0.9, 0.2, 0.1, 0.3, 0.2, 0.1], [0.9] * 6))
    for name in POLICIES:
        assert f"{name}, 1.0% wrong" in told and f"{name}, 2.5% wrong" in told
    assert told["n"] == 6
    assert json.loads(json.dumps(told)) == told


def test_answers_of_both_orders_are_as_sure_as_the_less_sure_one(tmp_path: Path) -> None:
    said = [("1", "examples", 0.9), ("1", "examples_swapped", 0.4), ("2", "plain", None)]
    lines = [json.dumps({"id": id, "wording": name, "yes": yes}) for id, name, yes in said]
    (tmp_path / ANSWERS_FILE).write_text("\n".join(lines))
    found = answers(tmp_path)
    assert found["examples, both orders"] == {"1": 0.4}
    assert found["plain"] == {}


def test_the_sample_names_its_streams_and_what_the_trees_learned_from() -> None:
    assert set(STREAMS) < set(SHARES) and set(TAUGHT) < set(SHARES)
    said = [answer for _, _, answer in EXAMPLES]
    assert said.count("Yes") == said.count("No")
