"""Features of a pair: the same both ways round, whole for a text against itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.semantic.pair import NAMES, PromptReader, features, match, nbytes
from text.embed import MiniLM

TEXTS = st.lists(
    st.sampled_from(
        [
            "how",
            "do",
            "i",
            "bake",
            "bread",
            "films",
            "movie",
            "best",
            "in",
            "Paris",
            "5",
            "of",
            "top",
            "reset",
            "a",
        ]
    ),
    max_size=9,
).map(" ".join) | st.text(max_size=40)


@pytest.fixture(scope="module")
def reader() -> PromptReader:
    return PromptReader(MiniLM.installed())


def named(reader: PromptReader, one: str, other: str) -> dict[str, float]:
    return dict(zip(NAMES, features(reader.read(one), reader.read(other)).tolist(), strict=True))


@settings(max_examples=40, deadline=None)
@given(TEXTS, TEXTS)
def test_features_are_finite_and_symmetric(one: str, other: str):
    reader = _READER
    there = features(reader.read(one), reader.read(other))
    back = features(reader.read(other), reader.read(one))
    assert np.isfinite(there).all()
    assert there == pytest.approx(back, abs=1e-5)


_READER = PromptReader(MiniLM.installed())


def test_a_text_has_nothing_left_against_itself(reader: PromptReader):
    told = named(reader, "How do I reset my password?", "How do I reset my password?")
    assert told["cosine"] == pytest.approx(1, abs=1e-5)
    assert told["same_content"] == told["same_set"] == 1
    assert told["token_min_few"] == pytest.approx(1)
    assert told["left_many"] == told["rare_many"] == told["inversions"] == 0


def test_a_replaced_word_is_left_on_both_sides(reader: PromptReader):
    told = named(reader, "side effects of ibuprofen", "side effects of metformin")
    assert told["replaced"] == 1
    assert told["left_best"] < 0.6
    alike = named(reader, "great films about war", "great movies about war")
    assert alike["left_many"] == 0


def test_turned_words_are_counted(reader: PromptReader):
    told = named(reader, "dogs chase cats", "cats chase dogs")
    assert told["same_set"] == 1
    assert told["inversions"] == 1


def test_synonyms_match_after_equal_words():
    found = match(("film", "movi"), ("movi", "x"))
    assert found.places == ((1, 0),)
    assert found.left == ((), (1,))


def test_a_reading_is_kept_and_its_size_known(reader: PromptReader):
    one = reader.read("How do I bake bread?")
    assert one is reader.read("How do I bake bread?")
    assert nbytes(one) == 4 * (384 + one.tokens.size + len(one.rarity))
    assert len(one.words) == len(one.slots.words) == 2
