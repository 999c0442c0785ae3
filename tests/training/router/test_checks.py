"""The imitated exams keep learned and judged rows apart, and their rewordings ask the same."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from router.score.features import NAMES, STEADY, surface
from router.score.model import EMBEDDING_SIZE, Scorer
from training.router import checks
from training.router.dataset import FOLDS, REFERENCE, SOURCES, PromptTable

SCORER = Scorer.load()
PROMPT = "Which  one\nis it?\nA. red\nB. green\nC. blue\nD. none of these\nAnswer:"


class Constant:
    """A `core.ports.Embedder` to which all texts are one."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.eye(1, EMBEDDING_SIZE, dtype=np.float32).repeat(len(texts), axis=0)


class Remembering:
    """Fits nothing, and remembers which rows it was given."""

    def __init__(self) -> None:
        self.rows: list[set[int]] = []

    def __call__(self, rows: NDArray[np.intp]) -> Scorer:
        self.rows.append(set(rows.tolist()))
        return SCORER


@pytest.fixture
def table() -> PromptTable:
    size = 600
    random = np.random.default_rng(0)
    right = np.stack([random.random(size) < 0.3, random.random(size) < 0.9], axis=1).astype(float)
    return PromptTable(
        source=np.array([REFERENCE, SOURCES[1]] * (size // 2)),
        subject=np.array([f"subject {at % 14 // 2}" for at in range(size)]),
        prompt=(PROMPT,) * size,
        right=right,
        target=right,
        embeddings=Constant().embed(["x"] * size),
        surfaces=random.random((size, len(NAMES))).astype(np.float32),
        fold=np.arange(size) % FOLDS,
    )


def test_no_subject_is_learned_and_judged_at_once(table: PromptTable):
    fitter = Remembering()
    mean, least, greatest = checks.new_subjects(table, fitter)
    assert least <= mean <= greatest
    reference = set(table.of(REFERENCE).tolist())
    assert len(fitter.rows) == checks.PARTS * checks.ROUNDS
    for learned in fitter.rows:
        judged = reference - learned
        subjects = table.subject
        assert not {subjects[row] for row in judged} & {
            subjects[row] for row in learned & reference
        }


def test_a_source_is_left_out_before_its_labels_come_in(table: PromptTable, monkeypatch):
    monkeypatch.setattr(checks, "LABELS", (0, 50))
    fitter = Remembering()
    line = checks.learning(table, REFERENCE, fitter)
    assert len(line.apgr) == len(line.ece) == 2
    assert not fitter.rows[0] & set(table.of(REFERENCE).tolist())


def test_rewordings_are_judged_out_of_fold(table: PromptTable):
    fitter = Remembering()
    lines = checks.reworded(table, fitter, Constant())
    assert lines[0].name == "unchanged"
    assert not fitter.rows[0] & set(np.flatnonzero(table.fold == 0).tolist())


def test_shuffled_options_are_the_same_options():
    changed = checks._shuffled(PROMPT)
    assert sorted(changed.replace(".", " ").split()) == sorted(PROMPT.replace(".", " ").split())
    assert [line[:2] for line in changed.split("\n")[2:6]] == ["A.", "B.", "C.", "D."]


@pytest.mark.parametrize("change", ["upper case", "lower case", "more spaces and empty lines"])
def test_case_and_spaces_leave_the_steady_features_alone(change: str):
    before = surface([{"role": "user", "content": PROMPT}])
    after = surface([{"role": "user", "content": checks._CHANGES[change](PROMPT)}])
    assert np.array_equal(before[STEADY], after[STEADY])
