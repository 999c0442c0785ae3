"""Training keeps its rows apart; serving never needs what training needs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from learning.measures import Interval
from router.score.explain import QUOTED_CHARS, read_sample
from router.score.features import NAMES
from router.score.model import EMBEDDING_SIZE, Scorer
from training.router import card
from training.router.candidates import SAMPLE_ROWS, sampled
from training.router.dataset import FOLDS, OWN, OWN_HELD_OUT, SOURCES, PromptTable
from training.router.train import OWN_WEIGHT, UnseenDomains, calibrated, splits, weighted, write

SERVING = ("router.policy.policy", "router.score.model", "router.score.features", "text.embed")
FOR_TRAINING = {"pandas", "sklearn", "lightgbm", "pyarrow", "scipy"}


@pytest.fixture
def table() -> PromptTable:
    size = 60
    generator = np.random.default_rng(0)
    return PromptTable(
        source=np.array([*SOURCES, OWN] * 10),
        subject=np.full(size, ""),
        prompt=tuple(f"prompt {index}" for index in range(size)),
        right=(right := generator.random((size, 2))),
        target=right.copy(),
        embeddings=np.zeros((size, EMBEDDING_SIZE), dtype=np.float32),
        surfaces=np.zeros((size, len(NAMES)), dtype=np.float32),
        fold=np.arange(size) % FOLDS,
    )


def test_serving_imports_nothing_that_only_training_needs():
    code = f"import sys, {', '.join(SERVING)}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not FOR_TRAINING & set(out.stdout.split())


@pytest.mark.parametrize("by_source", [False, True])
def test_no_row_is_trained_and_tested_on_at_once(table: PromptTable, by_source: bool):
    for train, test in splits(table, by_source=by_source):
        assert not set(train) & set(test)
        key = table.source if by_source else table.fold
        assert not set(key[train]) & set(key[test])


def test_every_row_is_tested_once_by_folds(table: PromptTable):
    tested = np.concatenate([test for _, test in splits(table, by_source=False)])
    assert sorted(tested) == list(range(60))


def test_our_own_prompts_count_as_often_as_said(table: PromptTable):
    rows = weighted(table, np.arange(60))
    assert (table.source[rows] == OWN).sum() == 10 * OWN_WEIGHT
    assert len(rows) == 60 + 10 * (OWN_WEIGHT - 1)


def test_calibration_does_not_see_the_fold_it_calibrates(table: PromptTable):
    rows = np.arange(60)
    raw = UnseenDomains(rows, table.right * 4 - 2, table.right, np.zeros(60))
    before = calibrated(table, raw, raw, by_source=False).probability
    here = table.fold == 0
    table.right[here] = 1 - table.right[here]
    after = calibrated(table, raw, raw, by_source=False).probability
    assert np.array_equal(before[here], after[here])
    assert not np.array_equal(before[~here], after[~here])


@pytest.fixture
def study() -> card.Study:
    interval = Interval(0.612, 0.600, 0.624)
    line = card.SourceLine("mmlu", 1234, 0.5, 0.7, interval, 0.3, 0.6, interval, 0.02, 0.03)
    own = card.Own(10, 0.9, 20, 0.8)
    candidate = card.ModelCandidate("ridge", 0.61, 0.6, 0.5, 0.52)
    gates = card.Gates(
        (0.61, 0.55, 0.66),
        (card.Learning("maths", (0.53, 0.62), (0.2, 0.04)),),
        (card.Reworded("upper case", 0.701, 0.02),),
    )
    return card.Study(
        (candidate,), (line,), (line,), own, own, gates, 0.13, 0.75, 0.5, (0.6, 1.0, 0.3)
    )


def test_the_card_tells_what_was_measured(study: card.Study):
    page = card.render("v9", study)
    for told in (
        "v9",
        "0.612 [0.600, 0.624]",
        "1,234",
        "90.0% of 10",
        "0.1300",
        "75%",
        "ridge",
        "0.620",
        "upper case",
        f"{SAMPLE_ROWS} of these prompts",
        f"{QUOTED_CHARS} characters",
    ):
        assert told in page


def test_what_is_written_is_an_artefact_with_its_sampled_prompts(tmp_path: Path, study: card.Study):
    size = 2 * SAMPLE_ROWS
    table = PromptTable(
        source=np.array([OWN, OWN_HELD_OUT] * SAMPLE_ROWS),
        subject=np.full(size, ""),
        prompt=tuple(f"prompt {index}" for index in range(size)),
        right=np.zeros((size, 2)),
        target=np.zeros((size, 2)),
        embeddings=np.zeros((size, EMBEDDING_SIZE), dtype=np.float32),
        surfaces=np.zeros((size, len(NAMES)), dtype=np.float32),
        fold=np.zeros(size, dtype=np.intp),
    )
    write(tmp_path, "v9", table, study, Scorer.load().weights)
    written = Scorer.load(tmp_path)
    assert written.version == "v9"
    kept = read_sample(tmp_path, written.weights)
    assert kept is not None
    rows = sampled(weighted(table, table.of(OWN)))
    assert [one.prompt for one in kept] == [f"prompt {row}" for row in rows]
    assert {one.source for one in kept} == {OWN}
