"""One doubt from an answer's text, its tokens and a second answer."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.judge.answer import CHECKS
from router.judge.cascade import REASONS, AnswerDoubt, agree, judge
from text.final_answer import normalise_final

QUESTION = "Tom read 48 pages on Monday and half as many on Tuesday. How many pages did he read?"
RIGHT = "48/2 = 24 pages. 48 + 24 = 72. The answer is 72."
WRONG = "48/2 = 24 pages. 48 + 24 = 82. The answer is 82."
SURE, UNSURE = [-0.01] * 40, [-2.5] * 40


@given(
    st.text(),
    st.text(),
    st.none() | st.lists(st.floats(max_value=0.0), max_size=20),
    st.none() | st.text(),
)
def test_any_answer_has_a_doubt_with_known_reasons_in_their_order(prompt, answer, tokens, second):
    found = judge(prompt, answer, tokens, second)
    assert 0.0 <= found.value <= 1.0
    assert list(found.failed) == [name for name in REASONS if name in found.failed]
    assert found == judge(prompt, answer, tokens, second)


def test_every_check_is_a_reason_with_words_of_its_own():
    assert set(REASONS) == {*CHECKS, "uncertain_tokens", "disagrees"}
    assert len(set(REASONS.values())) == len(REASONS)


def test_a_failed_check_is_told_by_name_and_in_words():
    found = judge(QUESTION, WRONG)
    assert found.failed == ("wrong_arithmetic",)
    assert found.words == f"doubt {found.value:.3f}: its arithmetic is wrong"


def test_a_sound_answer_has_no_reasons():
    found = judge(QUESTION, RIGHT, SURE, RIGHT)
    assert found.failed == ()
    assert found.words.endswith("no check failed")


def test_unsure_tokens_raise_the_doubt_and_sure_ones_lower_it():
    alone = judge(QUESTION, RIGHT).value
    unsure = judge(QUESTION, RIGHT, UNSURE)
    assert judge(QUESTION, RIGHT, SURE).value < alone < unsure.value
    assert unsure.failed == ("uncertain_tokens",)


@given(st.lists(st.floats(-15.0, 0.0), min_size=1, max_size=40), st.floats(0.0, 5.0))
def test_more_surprise_never_lowers_the_doubt(tokens, more):
    before = judge(QUESTION, RIGHT, tokens).value
    assert judge(QUESTION, RIGHT, [each - more for each in tokens]).value >= before - 1e-6


def test_a_sound_answer_is_kept_and_a_refusal_is_not_at_the_default_cut_off():
    assert judge(QUESTION, RIGHT).value < 0.5
    assert judge(QUESTION, "I cannot answer that, there is not enough information.").value > 0.5


def test_no_tokens_are_as_good_as_none_at_hand():
    assert judge(QUESTION, RIGHT, []) == judge(QUESTION, RIGHT, None)


def test_a_second_answer_that_differs_raises_the_doubt_and_one_that_agrees_lowers_it():
    alone = judge(QUESTION, RIGHT).value
    differs = judge(QUESTION, RIGHT, second=WRONG)
    assert judge(QUESTION, RIGHT, second="#### 72").value < alone < differs.value
    assert differs.failed == ("disagrees",)


def test_a_second_answer_without_a_final_one_changes_nothing():
    assert judge(QUESTION, RIGHT, second="") == judge(QUESTION, RIGHT)


def test_an_empty_answer_is_doubted_above_all():
    found = judge(QUESTION, "")
    assert found.failed[0] == "empty"
    assert found.value > 0.95


def test_a_doubt_is_a_value():
    assert AnswerDoubt(0.5, ()) == AnswerDoubt(0.5, ())
    assert not math.isnan(judge("", "").value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The answer is $1,200.", "#### 1200"),
        (r"So \boxed{\frac{3}{4}}", "The answer is 0.75"),
        ("She has 12 * 3 = 36 apples.", "The answer is 36 apples"),
        ("The answer is (B).", "B) iron"),
        ("Paris.", "The answer is paris"),
        ("答案是 12。", "12"),
        ("The answer is 50%", "#### 50"),
        ("#### 7.0", "#### 7"),
        ("#### -0", "#### 0"),
        (r"\boxed{2 \sqrt{3}}", r"$\boxed{2\sqrt{3}}$"),
    ],
)
def test_equal_final_answers_have_one_form(one: str, other: str):
    assert normalise_final(one) == normalise_final(other) is not None
    assert agree(one, other) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("#### 72", "#### -72"),
        ("The answer is (A).", "The answer is (B)."),
        ("The answer is (2, 3)", "The answer is (2, 4)"),
        ("The answer is 3 hours 20 minutes", "The answer is 3 hours"),
        (r"\boxed{\sqrt{3}}", r"\boxed{3}"),
        (r"\boxed{\sqrt{3}}", r"\boxed{\ln{3}}"),
        (r"\boxed{2x}", r"\boxed{2}"),
        (r"\boxed{x^2}", r"\boxed{2}"),
        ("Paris", "London"),
    ],
)
def test_different_final_answers_stay_different(one: str, other: str):
    assert agree(one, other) is False


def test_no_final_answer_has_no_form():
    assert normalise_final("") is None
    assert agree("", "72") is None
