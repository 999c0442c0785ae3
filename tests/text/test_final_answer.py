"""Equal final answers have one form, whatever stands around them."""

import pytest

from text.final_answer import normalise_final


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The answer is 1,200 dollars.", "So it costs $1200. The answer is 1200."),
        ("The answer is (b).", "The answer is B."),
        ("The answer is 0.50", "The answer is 0.5"),
    ],
)
def test_equal_answers_compare_equal(one: str, other: str):
    assert normalise_final(one) == normalise_final(other) is not None


def test_other_answers_do_not():
    assert normalise_final("The answer is 12.") != normalise_final("The answer is 13.")
    assert normalise_final("The answer is A.") != normalise_final("The answer is B.")


def test_a_text_without_an_answer_has_none():
    assert normalise_final("") is None
