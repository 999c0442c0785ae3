"""The surface features, on any text."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.score.features import NAMES, surface
from router.score.lexicon import _ENGLISH
from tests.router.score.test_conversation import messages


def of(text: str) -> dict[str, float]:
    values = surface([{"role": "user", "content": text}])
    return dict(zip(NAMES, values.tolist(), strict=True))


@given(st.text())
def test_any_text_gives_one_finite_value_per_name(text: str):
    values = surface([{"role": "user", "content": text}])
    assert values.shape == (len(NAMES),)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


@given(messages)
def test_any_messages_give_one_finite_value_per_name(drawn):
    assert np.isfinite(surface(drawn)).all()


def test_names_are_distinct():
    assert len(set(NAMES)) == len(NAMES)


def test_every_word_stands_in_one_kind():
    words = [word for kind in _ENGLISH.values() for word in kind.split()]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Prove the lemma.", "kind_proof"),
        ("证明这个定理。", "kind_proof"),
        ("Implement a trie in C++", "kind_code"),
        ("请把这句话翻译成英文", "kind_light"),
        ("```py\nfor x in xs:\n```", "code_marks"),
        ("Pick one:\nA. red\nB. blue", "options"),
        ("\\frac{1}{2} of \\alpha", "latex_commands"),
        ("Is this so？", "ends_with_question"),
    ],
)
def test_a_mark_of_its_kind_is_counted(text: str, name: str):
    assert of(text)[name] > 0
    assert of("bread")[name] == 0


def test_chinese_characters_count_as_words():
    assert of("今天天气很好")["words"] == pytest.approx(np.log1p(6))


def test_a_long_text_costs_no_more_than_both_its_ends():
    long = "a1 + b_2; Why? " * 200_000
    started_s = time.perf_counter()
    of(long)
    assert time.perf_counter() - started_s < 0.5
