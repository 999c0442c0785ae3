"""The same words in other roles, and words that only one prompt has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.language.slots import read
from cache.language.wording import explains, reordered, replaced


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ("convert euros to dollars", "convert dollars to euros", True),
        ("How do I reset my password?", "How can I reset my password?", False),
    ],
)
def test_the_same_things_in_other_roles_are_told_apart(one: str, other: str, differs: bool):
    assert reordered(read(one), read(other)) is differs


def test_a_thing_that_only_one_prompt_has_is_a_difference():
    password, username = read("Reset my password"), read("Reset my username")
    assert replaced(password, username) and not replaced(password, password)


@given(st.text("abcdefgh", min_size=1, max_size=8))
def test_a_word_explains_itself(word: str):
    assert explains(word, word)
