"""An exam's figures are those of the file, and it says when they are not to be relied on."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from core.errors import HansomError
from learning.measures import Interval
from router.score.model import Scorer
from router.tuning import evaluation
from router.tuning.evaluation import (
    Exam,
    ExamColumnMissing,
    ExamFileMissing,
    TooFewRows,
    caution,
    evaluate_file,
)
from text.embed import EMBEDDING_SIZE

SCORER = Scorer.load()
SMALL, LARGE = "small/7b", "large"
KEYS = ("apgr", "cpt50", "cpt80", "auroc", "ece", "strong_share_at_95")


class Lengths:
    """A `core.ports.Embedder` of unit vectors that depend on a text's length only."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), EMBEDDING_SIZE), dtype=np.float32)
        rows[np.arange(len(texts)), [len(text) % EMBEDDING_SIZE for text in texts]] = 1
        return rows


def columns(size: int = 200) -> dict[str, list[object]]:
    """Long prompts are those that only the large model can answer; nothing else is told by them."""
    hard = np.random.default_rng(0).random(size) < 0.5
    return {
        "prompt": [
            "Add one. " * (40 if is_hard else 4) + str(at) for at, is_hard in enumerate(hard)
        ],
        f"score::{SMALL}": [float(not is_hard) for is_hard in hard],
        f"score::{LARGE}": [1.0] * size,
        f"response::{SMALL}": ["" if is_hard else "The answer is 4." for is_hard in hard],
    }


def write(path: Path, table: dict[str, list[object]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "exam.parquet", columns())


def examined(file: Path, **asked: object) -> Exam:
    return evaluate_file(file, SMALL, LARGE, scorer=SCORER, embedder=Lengths(), **asked)


def test_every_measure_has_its_interval_in_the_json(file: Path):
    told = json.loads(json.dumps(examined(file).as_json()))
    assert told["n"] == 200
    for key in KEYS:
        assert told[f"{key}_low"] <= told[key] <= told[f"{key}_high"]
    assert isinstance(told["known"], bool)
    assert isinstance(told["caution"], str)


def test_labelled_rows_teach_and_are_not_examined(file: Path):
    result = examined(file, adapt=100)
    assert (result.n, result.adapted) == (100, 100)
    assert result.apgr.value > 0.7
    assert result.cpt50.value < 35
    assert result.auroc.value > 0.9
    assert result.version == f"{SCORER.version}+100"


def test_the_same_seed_gives_the_same_result_another_draws_other_rows(file: Path):
    assert examined(file, adapt=50, seed=1) == examined(file, adapt=50, seed=1)
    assert examined(file, adapt=50, seed=1) != examined(file, adapt=50, seed=2)


@pytest.mark.parametrize("adapt", [None, 100])
def test_answers_are_used_when_asked_for(file: Path, adapt: int | None):
    result = examined(file, adapt=adapt, answers=True)
    assert result.answers
    assert result.apgr.value > 0.7


@pytest.mark.parametrize("kind", ["text", "answer", "response", "output"])
def test_an_answer_may_stand_in_any_of_the_named_columns(tmp_path: Path, kind: str):
    table = columns(60)
    table[f"{kind}::{SMALL}"] = table.pop(f"response::{SMALL}")
    assert examined(write(tmp_path / "file", table), answers=True).answers


def test_rows_without_a_score_are_left_out_and_missing_texts_are_empty(tmp_path: Path):
    table = columns(60)
    table[f"score::{SMALL}"][:5] = [None] * 5
    table[f"response::{SMALL}"][5] = None
    table["prompt"][6] = None
    assert examined(write(tmp_path / "file", table), answers=True).n == 55


def test_rows_that_are_marked_as_contaminated_are_left_out(tmp_path: Path):
    table = columns()
    marks = [at < 10 for at in range(len(table["prompt"]))]
    whole = examined(write(tmp_path / "whole.parquet", table))
    fewer = examined(write(tmp_path / "fewer.parquet", table | {"contaminated": marks}))
    assert fewer.n == whole.n - 10


def test_equal_models_have_no_gap_and_null_in_the_json(tmp_path: Path):
    table = columns(60)
    table[f"score::{LARGE}"] = table[f"score::{SMALL}"]
    result = examined(write(tmp_path / "file", table))
    told = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert told["apgr"] is None
    assert not result.known


def test_a_missing_file_is_told(tmp_path: Path):
    with pytest.raises(ExamFileMissing, match=r"none\.parquet"):
        examined(tmp_path / "none.parquet")


def test_a_file_of_another_kind_is_told(tmp_path: Path):
    (tmp_path / "exam.parquet").write_text("prompt,score")
    with pytest.raises(ExamFileMissing, match=r"exam\.parquet"):
        examined(tmp_path / "exam.parquet")


def test_a_missing_column_is_told_with_those_there_are(file: Path):
    with pytest.raises(ExamColumnMissing, match=r"score::other.*has prompt, score::small/7b"):
        evaluate_file(file, "other", LARGE, scorer=SCORER, embedder=Lengths())


def test_answers_that_are_not_there_are_told(tmp_path: Path):
    table = columns(60)
    del table[f"response::{SMALL}"]
    with pytest.raises(ExamColumnMissing, match="text::small/7b or answer::small/7b"):
        examined(write(tmp_path / "file", table), answers=True)


@pytest.mark.parametrize("adapt", [5, 190, 200, 1000])
def test_too_few_rows_to_learn_from_or_to_examine_are_refused(file: Path, adapt: int):
    with pytest.raises(TooFewRows, match="200 graded rows"):
        examined(file, adapt=adapt)


@pytest.mark.parametrize("kind", [ExamFileMissing, ExamColumnMissing, TooFewRows])
def test_errors_are_of_the_tree_and_travel(kind: type[evaluation.ExamError]):
    error = kind("told")
    assert isinstance(error, HansomError)
    assert str(pickle.loads(pickle.dumps(error))) == "told"


def test_what_is_no_better_than_chance_is_not_known():
    assert "chance" in caution(Interval(0.52, 0.49, 0.55), 0.3, 0.6)
    assert "chance" in caution(Interval(np.nan, np.nan, np.nan), 0.3, 0.6)


def test_strange_prompts_are_not_known():
    assert "unlike" in caution(Interval(0.7, 0.65, 0.75), 0.9, 0.6)


def test_a_familiar_ranking_above_chance_is_known():
    assert caution(Interval(0.7, 0.65, 0.75), 0.3, 0.6) == ""
