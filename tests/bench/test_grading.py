"""Grading by rule: what an answer marks counts first, and its form says where else to look."""

import pytest

from bench.grading import SHORT, WORKED, Question, right

LETTERS = ("A", "B", "C", "D")


def asks(gold: str, form: str = SHORT, options: tuple[str, ...] = ()) -> Question:
    return Question("kind", form, "?", gold, options)


@pytest.mark.parametrize(
    ("gold", "form", "answer", "expected"),
    [
        ("12", SHORT, "12", True),
        ("12", SHORT, "12 apples of 30", True),
        ("12", SHORT, "9 + 3 = 12", True),
        ("12", SHORT, "9 + 3 = 13", False),
        ("12", SHORT, "112", False),
        ("3", SHORT, "There are three of them.", True),
        ("1200", SHORT, "1,200", True),
        ("-45", SHORT, "-45", True),
        ("12", WORKED, "First 9, then 3, so 12.", True),
        ("12", WORKED, "First 12, then 3, so 15.", False),
        ("12", WORKED, "12 + 1 = 13. Answer: 12", True),
        ("12", WORKED, "The answer is 12. I checked it 2 times.", True),
        ("12", WORKED, r"So \boxed{12} of 40", True),
        ("12", WORKED, "Answer: 10 + 2 = 12", True),
        ("12", SHORT, "", False),
        ("Paris", SHORT, "The capital of France is Paris.", True),
        ("Paris", SHORT, "Parisian", False),
    ],
)
def test_a_number_or_a_word_is_found_where_the_form_says(gold, form, answer, expected):
    assert right(asks(gold, form), answer) is expected


@pytest.mark.parametrize(
    ("form", "answer", "expected"),
    [
        (SHORT, "B", True),
        (SHORT, "B. A is wrong", True),
        (SHORT, "A. Not B", False),
        (SHORT, "a good one is B", True),
        (WORKED, "A is too small, D is too large. B", True),
        (WORKED, "Answer: B, because A is wrong", True),
        (WORKED, "Answer: A, because B is wrong", False),
        (WORKED, "none", False),
    ],
)
def test_of_options_the_one_that_is_meant_counts(form, answer, expected):
    assert right(asks("B", form, LETTERS), answer) is expected


def test_a_small_letter_may_be_told_as_a_capital():
    assert right(asks("c", SHORT, tuple("abc")), "The letter is 'C'.")
