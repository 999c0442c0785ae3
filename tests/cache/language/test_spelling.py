"""What spelling carries: case of units and options, and marks that say something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.language.spelling import case_differs, marks_differ, same_wording


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ("5 MW of power", "5 mW of power", True),
        ("grep -v", "grep -V", True),
        ("What is a taxi?", "what is a taxi?", False),
    ],
)
def test_case_differs_where_it_carries_meaning(one: str, other: str, differs: bool):
    assert case_differs(one, other) is differs and case_differs(other, one) is differs


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ("What is 5?", "What is 5!", True),
        ("What is C", "What is C++", True),
        ("A taxi", "A  taxi", False),
    ],
)
def test_marks_differ_where_they_carry_meaning(one: str, other: str, differs: bool):
    assert marks_differ(one, other) is differs and marks_differ(other, one) is differs


@given(st.text(max_size=60))
def test_a_text_is_spelled_as_itself(text: str):
    assert same_wording(text, text)
    assert not case_differs(text, text) and not marks_differ(text, text)
