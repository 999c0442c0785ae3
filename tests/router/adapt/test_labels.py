"""Labels from feedback: numbers only, and only what is known moves the score."""

import numpy as np
import pytest

from router.adapt.adapt import MIN_ROWS, Adapted
from router.adapt.labels import LEVEL_LABELS, Label, Lesson, ScoredPrompt, labelled, taught
from router.score.features import surface
from router.score.model import Scorer
from text.embed import EMBEDDING_SIZE

SCORER = Scorer.load()


def seen(seed: int, text: str = "How many apples are 3 and 4?") -> ScoredPrompt:
    row = np.random.default_rng(seed).normal(size=EMBEDDING_SIZE).astype(np.float32)
    counted = surface([{"role": "user", "content": f"{text} {seed}"}])
    return ScoredPrompt.of(row / np.linalg.norm(row), counted)


def labels(count: int, head: int = 0, right: float = 1.0) -> list[Label]:
    return [Label(seen(at), head, right) for at in range(count)]


def test_what_was_seen_and_its_label_survive_their_bytes() -> None:
    label = Label(seen(1), 1, 0.25)
    assert Label.from_bytes(label.to_bytes()) == label
    assert ScoredPrompt.from_bytes(seen(2).to_bytes()) == seen(2)
    assert len(label.to_bytes()) < 1200, "a thousand labels are a megabyte"


@pytest.mark.parametrize("raw", [b"", b"poison", b"\x81\xa1a\x01"])
def test_what_is_no_label_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        Label.from_bytes(raw)


@pytest.mark.parametrize(
    "label",
    [
        Label(ScoredPrompt(b"", seen(1).surface), 0, 1.0),
        Label(ScoredPrompt(seen(1).embedding, b"\0" * 8), 0, 1.0),
        Label(seen(1), 2, 1.0),
        Label(seen(1), 0, 1.5),
    ],
)
def test_labels_of_another_embedder_or_out_of_range_are_left_out(label: Label) -> None:
    assert not label.fits
    lesson = taught(SCORER, [label] * MIN_ROWS, MIN_ROWS)
    assert lesson.scorer is SCORER


def test_too_few_labels_teach_nothing() -> None:
    assert taught(SCORER, labels(MIN_ROWS - 1), MIN_ROWS - 1).scorer is SCORER


@pytest.mark.parametrize(("right", "sign"), [(0.0, 1), (1.0, -1)])
def test_feedback_on_the_small_model_moves_its_probability_that_way(
    right: float, sign: int
) -> None:
    lesson = taught(SCORER, labels(100, right=right), 100)
    assert isinstance(lesson.scorer, Adapted)
    new = seen(1000)
    embedding = np.frombuffer(new.embedding, np.float16).astype(np.float32)
    counted = np.frombuffer(new.surface, np.float32)
    before, after = SCORER.score(embedding, counted), lesson.scorer.score(embedding, counted)
    assert (after.difficulty - before.difficulty) * sign > 0.05
    assert after.version == f"{SCORER.version}+100"


def test_a_head_without_a_label_keeps_the_shipped_probability() -> None:
    rows = labelled(SCORER, labels(5, head=1, right=0.0))
    shipped = SCORER.judge(rows.embeddings, rows.surfaces).probability
    assert rows.right[:, 0] == pytest.approx(shipped[:, 0])
    assert (rows.right[:, 1] == 0).all()


def test_a_tier_that_did_not_answer_is_held_to_the_level_of_its_labels() -> None:
    small = [Label(seen(at), 0, float(at % 4 == 0)) for at in range(40)]
    large = [Label(seen(at), 1, 1.0) for at in range(40, 40 + LEVEL_LABELS - 1)]
    rows = labelled(SCORER, [*small, *large])
    shipped = SCORER.judge(rows.embeddings, rows.surfaces).probability
    assert rows.right[40:, 0].mean() == pytest.approx(0.25, abs=0.05)
    assert np.corrcoef(rows.right[40:, 0], shipped[40:, 0])[0, 1] > 0.99
    assert rows.right[:40, 1] == pytest.approx(shipped[:40, 1]), "too few labels tell no level"


def test_labels_of_one_prompt_are_one_row_and_the_last_word_counts() -> None:
    one = seen(1)
    rows = labelled(SCORER, [Label(one, 0, 1.0), Label(one, 1, 0.5), Label(one, 0, 0.25)])
    assert rows.right.tolist() == [[0.25, 0.5]]


@pytest.mark.parametrize(
    ("before", "now", "wants"),
    [
        (0, 0, False),
        (0, MIN_ROWS - 1, False),
        (0, MIN_ROWS, True),
        (200, 200, False),
        (200, 219, False),
        (200, 220, True),
        (200, 0, True),
        (5000, 5600, True),
    ],
)
def test_a_lesson_is_repeated_when_enough_is_new_or_all_is_lost(
    before: int, now: int, wants: bool
) -> None:
    assert Lesson(before, SCORER).wants(now) is wants
