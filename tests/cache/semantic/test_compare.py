"""Two answers: another one, the same in other words, or what nobody can tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.semantic.compare import (
    OTHER_COSINE,
    OTHER_COSINE_SHORT,
    SAME_COSINE,
    SHORT_WORDS,
    same_answer,
)
from tests.cache.semantic.answer_pairs import OTHER, SAME, UNTOLD
from text.embed import MiniLM

_KINDS = ((SAME, True), (OTHER, False), (UNTOLD, None))
_TABLE = [(served, fresh, told) for pairs, told in _KINDS for served, fresh in pairs]
_LONG = " ".join(["A long answer says one thing after another."] * 8)
_texts = st.sampled_from([text for served, fresh, _ in _TABLE for text in (served, fresh)])


@pytest.fixture(scope="module")
def embedder() -> MiniLM:
    return MiniLM.installed()


@pytest.mark.parametrize(("served", "fresh", "told"), _TABLE)
def test_the_table_of_answers(served: str, fresh: str, told: bool | None, embedder: MiniLM) -> None:
    one, other = embedder.embed([served, fresh])
    assert same_answer(served, fresh, float(one @ other)) is told


def test_what_a_short_answer_contradicts_needs_no_embedder_and_no_cosine_mends_it() -> None:
    short = [pair for pair in OTHER if max(len(text.split()) for text in pair) <= SHORT_WORDS]
    assert len(short) > 15
    assert {same_answer(*pair, cosine) for pair in short for cosine in (None, 1.0)} == {False}


@given(_texts, _texts, st.none() | st.floats(-1, 1))
def test_it_is_the_same_both_ways_round(served: str, fresh: str, cosine: float | None) -> None:
    assert same_answer(served, fresh, cosine) is same_answer(fresh, served, cosine)


@given(st.text() | _texts, st.none() | st.floats(-1, 1))
def test_an_answer_is_the_same_as_itself(text: str, cosine: float | None) -> None:
    assert same_answer(text, text, cosine) is (True if text.strip() else None)


@given(_texts, _texts, st.floats(-1, 1), st.floats(-1, 1))
def test_a_higher_cosine_never_makes_answers_other(a: str, b: str, x: float, y: float) -> None:
    order = {False: 0, None: 1, True: 2}
    low, high = (same_answer(a, b, cosine) for cosine in sorted((x, y)))
    assert order[low] <= order[high]


def test_long_answers_go_by_the_cosine() -> None:
    other = _LONG.replace("one thing", "something")
    assert same_answer(_LONG, other, SAME_COSINE) is True
    assert same_answer(_LONG, other, SAME_COSINE - 0.01) is None
    assert same_answer(_LONG, other, OTHER_COSINE - 0.01) is False
    assert same_answer(_LONG, "Nothing to see.", OTHER_COSINE_SHORT) is None
    assert same_answer(_LONG, "Nothing to see.", OTHER_COSINE_SHORT - 0.01) is False
    assert same_answer(_LONG, other, None) is None
