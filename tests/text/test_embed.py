"""The real embedder keeps the contract of `core.ports.Embedder`."""

from pathlib import Path

import numpy as np
import pytest

from core.ports import Embedder
from text.embed import EMBEDDING_SIZE, EmbedderFilesMissing, MiniLM, packaged_file

TEXTS = ["How do I reset my password?", "I forgot my password", "Bake bread at 230 degrees", ""]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return MiniLM.installed()


def test_rows_are_unit_vectors_in_order(embedder: Embedder):
    rows = embedder.embed(TEXTS)
    assert rows.shape == (len(TEXTS), EMBEDDING_SIZE)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_row_depends_on_its_own_text_only(embedder: Embedder):
    together = embedder.embed(TEXTS)
    for text, row in zip(TEXTS, together, strict=True):
        assert np.array_equal(embedder.embed([text])[0], row)


def test_no_texts_give_no_rows(embedder: Embedder):
    assert embedder.embed([]).shape == (0, EMBEDDING_SIZE)


def test_like_meanings_lie_closer_than_unlike_ones(embedder: Embedder):
    rows = embedder.embed(TEXTS)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.3


def test_a_long_text_is_read_at_both_ends(embedder: Embedder):
    middle = "lorem ipsum " * 5000
    rows = embedder.embed(
        [
            "Prove the theorem. " * 60 + middle + "Thank you. " * 60,
            "Prove the theorem. " * 60 + "other words " * 5000 + "Thank you. " * 60,
            "Say hello. " * 60 + middle + "Thank you. " * 60,
        ]
    )
    assert rows[0] @ rows[1] > 0.999
    assert rows[0] @ rows[2] < 0.9


@pytest.mark.parametrize("text", ["\ud800", "\x00", "🦙" * 500, "𝔘" * 10, "a" * 300])
def test_odd_texts_are_embedded(embedder: Embedder, text: str):
    assert np.isfinite(embedder.embed([text])).all()


def test_a_missing_package_is_named():
    with pytest.raises(EmbedderFilesMissing, match="no_such_package"):
        packaged_file("no_such_package", "model.onnx")


def test_a_packaged_file_is_found_without_an_import():
    assert packaged_file("numpy", "version.py").name == Path("version.py").name


def test_no_more_than_256_tokens_are_embedded():
    embedder = MiniLM.installed()
    assert embedder.count_tokens("cab " * 254) == 256
    assert embedder.count_tokens("cab " * 5000) == 256


def test_texts_that_have_more_tokens_than_are_embedded_are_named():
    embedder = MiniLM.installed()
    texts = ["cab", "cab " * 254, "cab " * 255, "cab " * 5000, "\t" * 9000]
    found = embedder.embed_counted(texts)
    assert found.tokens == [embedder.count_tokens(text) for text in texts]
    assert found.truncated == [2, 3, 4]
    assert found.vectors == embedder.embed(texts).tolist()


@pytest.mark.parametrize("text", ["How do I reset my password?", "", "cab " * 400])
def test_tokens_come_with_the_same_row(text: str):
    embedder = MiniLM.installed()
    row, ids, states = embedder.embed_tokens(text)
    assert np.array_equal(row, embedder.embed([text])[0])
    assert states.shape == (len(ids), EMBEDDING_SIZE) == (embedder.count_tokens(text), 384)
    mean = states.mean(axis=0)
    assert row == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
