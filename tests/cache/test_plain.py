"""What counts as the same words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.plain import plain, same_words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "how can I reset my password"),
        ("What's the capital of France?", "What is the capital of France"),
        ("Please tell me what a mutex is.", "tell me what a mutex is"),
        ("Can you tell me what a mutex is?", "What a mutex is"),
        ("How to sort a list in Python?", "How would you sort a list in Python?"),
        ("Why doesn’t it rain?", "why doesn't it rain"),
    ],
)
def test_manners_make_no_difference(one: str, other: str) -> None:
    assert same_words(one, other)
    assert same_words(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I enable it?", "How do I disable it?"),
        ("Can I return it?", "How can I return it?"),
        ("Who wrote it?", "Who wrote that?"),
        ("Does he like me or do I annoy him?", "Does he annoy me or do I like him?"),
        ("What does 'List' mean?", "What does 'list' mean?"),
        ("Print foo_Bar", "Print foo_bar"),
        ("Do not do it", "Do it"),
        ("Please", "Hello"),
        ("What is the best way to lose weight?", "How to lose weight?"),
    ],
)
def test_anything_else_does(one: str, other: str) -> None:
    assert not same_words(one, other)


@given(st.text(max_size=80))
def test_the_plain_form_is_its_own_plain_form_of_case_and_space(text: str) -> None:
    assert same_words(text, text)
    assert plain(f"  {text}  ") == plain(text)
