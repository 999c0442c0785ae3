"""The final answer of a text, wherever a solution puts it."""

import pytest

from text.reading import final_answer


@pytest.mark.parametrize(
    ("text", "value", "marked"),
    [
        ("So 9 * 2 = 18.\n#### 18", 18, True),
        ("The answer is $1,200.", 1200, True),
        ("The final answer is: **-5**", -5, True),
        (r"Thus \boxed{\frac{3}{4}}", 0.75, True),
        ('{"reasoning": "...", "answer": "42"}', 42, True),
        ("答案是 12。", 12, True),
        ("First 9 eggs.\nSo she makes **$18** a day from 9 eggs.", 18, False),
        ("She has 12 * 3 = 36 apples.", 36, False),
        ("No number here", None, False),
    ],
)
def test_the_final_answer_is_found_where_solutions_put_it(text: str, value: float, marked: bool):
    final = final_answer(text)
    assert final is not None
    assert (final.value, final.marked) == (value, marked)


def test_a_long_text_without_a_number_has_no_final_answer():
    assert final_answer("word " * 100) is None
    assert final_answer("") is None
