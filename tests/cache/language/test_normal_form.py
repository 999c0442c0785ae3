"""What counts as the same words: blanks, a sentence's first capital, courtesy at the ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.language.normal_form import plain, same_words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("how do I reset my password?", "How do I reset my password?"),
        ("What is a  mutex?", " What is a mutex? "),
        ("Please explain what a mutex is.", "Explain what a mutex is."),
        ("Hi, how do I sort a list?", "How do I sort a list?"),
        ("How do I sort a list? Thanks!", "How do I sort a list?"),
        ("How do I sort a list, please?", "How do I sort a list?"),
        ("Bitte erkläre den Mutex.", "Erkläre den Mutex."),
        ("请问如何打开窗户？", "如何打开窗户？"),
        ("caf\u00e9 in Rome", "cafe\u0301 in Rome"),
    ],
)
def test_manners_make_no_difference(one: str, other: str) -> None:
    assert same_words(one, other)
    assert same_words(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 5?", "What is 5!"),
        ("5 MW of power", "5 mW of power"),
        ("grep -v", "grep -V"),
        ("How do I learn it?", "How do you learn it?"),
        ("How do I learn it?", "How can I learn it?"),
        ("What's a mutex?", "What is a mutex?"),
        ("What is 5²?", "What is 52?"),
        ("the ﬁ ligature", "the fi ligature"),
        ("Polish the text", "polish the text"),
        ("May in Rome", "may in Rome"),
        ("IT works", "it works"),
        ("How do I say please", "How do I say"),
        ("Translate: where is it, please", "Translate: where is it"),
        ("Hello, Dolly", "Dolly"),
        ("Please Please Me", "Please Me"),
        ("Print 'a  b'", "Print 'a b'"),
        ("x\n  y", "x y"),
        ("What does 'List' mean?", "What does 'list' mean?"),
        ("Please", "Hello"),
    ],
)
def test_anything_else_does(one: str, other: str) -> None:
    assert not same_words(one, other)


MARKS = st.sampled_from(list("!?.,;:#+-*/²½😀$%&'\"()[]{}<>=^~|\\@5aA"))


@given(st.text(max_size=80))
def test_a_text_is_the_same_as_itself_between_blanks(text: str) -> None:
    assert same_words(text, text)
    assert plain(f"  {text}  ") == plain(text)


@given(st.lists(st.sampled_from(["What", "is", "it", "for"]), max_size=5), MARKS, MARKS)
def test_no_two_texts_with_other_marks_are_the_same(words: list[str], one: str, other: str) -> None:
    text = " ".join(words)
    assert same_words(f"{text} x{one}", f"{text} x{other}") == (one == other)
