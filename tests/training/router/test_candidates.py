"""What is learned is compared within a source, and does not depend on case."""

from dataclasses import replace

import numpy as np
import pytest

from router.score.explain import QUOTED_CHARS, TrainingPrompt
from router.score.features import NAMES, STEADY
from router.score.model import EMBEDDING_SIZE, mean_logits, sigmoid
from training.router.candidates import (
    SAMPLE_ROWS,
    fit_both,
    levels,
    logistic_weights,
    reference_level,
    sampled,
    sampled_prompts,
)
from training.router.dataset import FOLDS, REFERENCE, SOURCES, PromptTable

SIZE = 1200


@pytest.fixture
def table() -> PromptTable:
    """Two sources, one of them far easier; in both the first feature tells who is right."""
    random = np.random.default_rng(0)
    surfaces = random.random((SIZE, len(NAMES))).astype(np.float32)
    source = np.array([REFERENCE, SOURCES[1]] * (SIZE // 2))
    chance = np.clip(0.2 + 0.4 * surfaces[:, 0] + 0.4 * (source == REFERENCE), 0, 1)
    target = np.stack([random.random(SIZE) < chance] * 2, axis=1).astype(np.float64)
    return PromptTable(
        source=source,
        subject=np.full(SIZE, ""),
        prompt=("",) * SIZE,
        right=target,
        target=target,
        embeddings=np.zeros((SIZE, EMBEDDING_SIZE), dtype=np.float32),
        surfaces=surfaces,
        fold=np.arange(SIZE) % FOLDS,
    )


def test_every_source_has_its_level(table: PromptTable):
    rows = np.arange(SIZE)
    said = sigmoid(levels(table, rows))
    for name in (REFERENCE, SOURCES[1]):
        here = table.source == name
        assert said[here] == pytest.approx(table.target[here].mean(), abs=1e-6)


def test_the_level_is_the_references_or_that_of_all(table: PromptTable):
    reference, other = table.of(REFERENCE), table.of(SOURCES[1])
    assert sigmoid(reference_level(table, np.arange(SIZE))) == pytest.approx(
        table.target[reference].mean(axis=0)
    )
    assert sigmoid(reference_level(table, other)) == pytest.approx(table.target[other].mean(axis=0))


def test_predictions_are_at_the_level_of_the_reference(table: PromptTable):
    weights = fit_both(table, np.arange(SIZE))
    said = sigmoid(mean_logits(weights, table.embeddings, table.surfaces))[:, 0]
    reference = table.source == REFERENCE
    wanted = table.target[reference, 0].mean()
    assert said[reference].mean() == pytest.approx(wanted, abs=0.05)
    assert said[~reference].mean() == pytest.approx(wanted, abs=0.05)


def test_features_of_case_weigh_nothing(table: PromptTable):
    weights = fit_both(table, np.arange(SIZE))
    shouted = table.surfaces.copy()
    shouted[:, ~STEADY] += 5
    before = mean_logits(weights, table.embeddings, table.surfaces)
    assert np.array_equal(before, mean_logits(weights, table.embeddings, shouted))


def test_a_logistic_regression_finds_what_made_its_labels():
    random = np.random.default_rng(0)
    inputs, offset = random.normal(size=(20_000, 3)), random.normal(size=20_000)
    share = sigmoid(inputs @ [1.0, -0.5, 0.0] + 0.3 + offset)
    found = logistic_weights(inputs, share, offset, c=1e3)
    assert found == pytest.approx([1.0, -0.5, 0.0, 0.3], abs=0.01)


def test_the_prompts_kept_are_those_of_the_embeddings_kept(table: PromptTable):
    rows = np.arange(SIZE // 2)
    texts = tuple(f"prompt\n {row}" for row in range(SIZE))
    embeddings = np.repeat(np.arange(SIZE, dtype=np.float32)[:, None], EMBEDDING_SIZE, axis=1)
    known = replace(table, prompt=texts, embeddings=embeddings)
    repeated = np.concatenate([rows, rows[:100]])
    kept = fit_both(known, repeated).sample[:, 0].astype(int)
    assert len(set(kept)) == SAMPLE_ROWS
    assert list(sampled_prompts(known, rows)) == [
        TrainingPrompt(str(table.source[row]), f"prompt {row}") for row in kept
    ]


def test_a_long_prompt_is_cut(table: PromptTable):
    rows = np.arange(SIZE)
    long = replace(table, prompt=("word  " * 100,) * SIZE)
    assert {one.prompt for one in sampled_prompts(long, rows)} == {("word " * 32).strip()}
    assert QUOTED_CHARS == 160
    assert set(sampled(rows)) <= set(rows)
