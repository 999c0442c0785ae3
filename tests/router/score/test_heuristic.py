"""The rule of thumb."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.score.heuristic import complexity


@given(st.text())
def test_complexity_lies_between_a_plain_line_and_one(text: str):
    assert 0.2 <= complexity(text) <= 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Say hi", 0.2),
        ("Ready?", 0.3),
        ("Explain tides.", 0.5),
        ("Tea and milk and sugar.", 0.4),
        ("x" * 201, 0.4),
        ("Why this and that and those? " * 10, 1.0),
    ],
)
def test_each_rule_adds_its_tenths(text: str, value: float):
    assert complexity(text) == value
