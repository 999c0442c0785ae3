"""The checks of an answer's text, each on word problems of our own."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.measures import auroc
from router.judge.answer import CHECKS, NAMES, doubt, doubt_of, features

EGGS = (
    "Mara's hens lay 16 eggs a day. She eats 3 for breakfast and bakes with 4. She sells the rest "
    "for $2 each. How much does she make every day?"
)
BOXES = "A shop has 12 boxes with 24 pens each. It sells 150 pens. How many pens are left?"
TRAIN = "A train covers 60 miles an hour for 3 hours, then 45 miles an hour for 2 hours. How far?"
SALE = "A coat costs $80. It is on sale for 25% off. How much does the coat cost now?"
BOOKS = "Tom read 48 pages on Monday and half as many on Tuesday. How many pages did he read?"

# Question, a right answer, a wrong answer.
PAIRS = (
    (
        EGGS,
        "She has 16 - 3 - 4 = <<16-3-4=9>>9 eggs left.\nShe makes 9 * 2 = $<<9*2=18>>18.\n#### 18",
        "She has 16 - 3 - 4 = <<16-3-4=9>>9 eggs left.\nShe makes 9 * 2 = $<<9*2=16>>16.\n#### 16",
    ),
    (
        EGGS,
        "Mara sells 16 - 3 - 4 = 9 eggs a day. At $2 each she makes 9 * $2 = $18. "
        "The answer is $18.",
        "Mara sells 16 - 3 = 13 eggs a day. At $2 each she makes 13 * $2 = $26. The answer is $26.",
    ),
    (
        EGGS,
        "First, she uses 3 + 4 = 7 eggs. Then 16 - 7 = 9 eggs remain.\n9 * 2 = 18\n\nShe gets $18.",
        "She uses 3 + 4 = 7 eggs. We don't have enough information to know what she makes.",
    ),
    (
        BOXES,
        r"There are \(12 \times 24 = 288\) pens, so \(288 - 150 = 138\). The answer: \boxed{138}.",
        r"There are \(12 \times 24 = 278\) pens, so \(278 - 150 = 128\). The answer: \boxed{128}.",
    ),
    (
        BOXES,
        "12 boxes × 24 pens = 288 pens\n288 − 150 = 138 pens\n#### 138",
        "24 pens − 12 = 12 pens\n#### 12",
    ),
    (
        BOXES,
        "The shop starts with 12*24=288 pens. After selling 150 it has 288-150=138. Answer: 138",
        "The shop starts with 12*24=288 pens. It has 150-288=-138 pens left. Answer: -138",
    ),
    (
        TRAIN,
        "60 * 3 = <<60*3=180>>180 miles\n45 * 2 = <<45*2=90>>90 miles\n180 + 90 = 270\n#### 270",
        "The average speed is (60 + 45) / 2 = 52.5 miles an hour.\n#### 52.5",
    ),
    (
        TRAIN,
        "In 3 hours it covers 60 * 3 = 180 miles, in 2 hours 45 * 2 = 90 miles. That makes 270 "
        "miles in total. The answer is 270.",
        "In 3 hours it covers 60 * 3 = 180 miles. The answer is 180.",
    ),
    (
        SALE,
        "25% of $80 is 0.25 * 80 = $20. The coat now costs $80 - $20 = $60. The answer is $60.",
        "25% of $80 is 0.25 * 80 = $25. The coat now costs $80 - $25 = $55. The answer is $55.",
    ),
    (
        SALE,
        "The discount is 80 * 25/100 = 20 dollars, so it costs 80 - 20 = 60 dollars.\n#### 60",
        "The price is 80. Wait, let me recheck: 80 / 25 = 3.2. So the coat costs $3.2.\n#### 3.2",
    ),
    (
        BOOKS,
        "On Tuesday Tom read 48/2 = <<48/2=24>>24 pages.\nTogether 48+24 = <<48+24=72>>72\n#### 72",
        "On Tuesday Tom read 48*2 = <<48*2=96>>96 pages.\nTogether 48 + 96 = <<48+96=134>>134.\n"
        "#### 134",
    ),
    (
        BOOKS,
        "Tom read 48 pages and then half of it, 24 pages: 48 + 24 = 72 pages. The answer is 72.",
        "Tom read 48 pages.",
    ),
    (
        BOOKS,
        "Half of 48 is 24. 24 + 48 = 72. So Tom read 72 pages.",
        "Perhaps he read some pages on Tuesday, maybe 20 or so. I think it is probably 68.5 pages.",
    ),
    (
        BOOKS,
        "48 + 48/2 = 48 + 24 = 72\n#### 72",
        "As an AI language model, I cannot know what Tom read.",
    ),
    (
        BOXES,
        "The answer is 138, since 12 * 24 - 150 = 288 - 150 = 138.",
        "The answer is 432000, since 12 * 24 * 150 * 10 = 432000.",
    ),
)
CHOICE = "Which is a metal?\nA. oxygen\nB. iron\nC. helium\nD. neon\nAnswer with a letter."


def of(prompt: str, answer: str) -> dict[str, float]:
    return dict(zip(NAMES, features(prompt, answer).tolist(), strict=True))


@given(st.text(), st.text())
def test_any_texts_give_one_finite_value_per_name_and_a_doubt(prompt: str, answer: str):
    values = features(prompt, answer)
    assert values.shape == (len(NAMES),)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert ((values[: len(CHECKS)] >= 0) & (values[: len(CHECKS)] <= 1)).all()
    assert 0 <= doubt_of(values) <= 1


def test_names_are_distinct_and_begin_with_the_checks():
    assert len(set(NAMES)) == len(NAMES)
    assert NAMES[: len(CHECKS)] == CHECKS


@pytest.mark.parametrize(("question", "right", "wrong"), PAIRS)
def test_a_wrong_solution_is_doubted_more_than_a_right_one(question: str, right: str, wrong: str):
    assert doubt(question, wrong) > doubt(question, right)


def test_wrong_solutions_rank_above_right_ones_across_questions():
    score = [doubt(q, a) for q, right, wrong in PAIRS for a in (right, wrong)]
    assert auroc(np.array(score), np.array([0.0, 1.0] * len(PAIRS))) > 0.9
    assert len(set(score)) == len(score)


@pytest.mark.parametrize(("question", "right", "wrong"), PAIRS)
def test_a_right_solution_fails_no_check_of_its_numbers(question: str, right: str, wrong: str):
    values = of(question, right)
    for name in ("no_final", "fractional", "wrong_arithmetic", "negative", "implausible"):
        assert values[name] == 0, name
    assert values["uncomputed"] == values["refused"] == values["cut_off"] == 0


@pytest.mark.parametrize(
    ("check", "prompt", "answer"),
    [
        ("empty", EGGS, " \n"),
        ("refused", EGGS, "I'm sorry, there is not enough information to answer."),
        ("refused", EGGS, "抱歉,无法回答。"),
        ("cut_off", EGGS, "She has sixteen eggs and then she eats some of them " * 4 + "and the"),
        ("cut_off", "Show a loop.", "Here:\n```python\nfor x in y:\n    pass"),
        ("looped", EGGS, "She has 9 eggs. So she has 9 eggs. " * 40),
        ("other_language", EGGS, "她每天有十六个鸡蛋,吃三个,烤四个,剩下的卖掉,一共赚十八美元。"),
        ("no_final", EGGS, "She makes some money by selling the rest."),
        ("wrong_arithmetic", EGGS, "16 - 7 = 8, so she makes 8 * 2 = 16. The answer is 16."),
        ("unused_numbers", EGGS, "16 - 3 = 13. The answer is 13."),
        ("few_sums", TRAIN, "The train covers 45 * 2 = 90 miles. The answer is 90."),
        ("fractional", BOXES, "288 / 150 = 1.92. The answer is 1.92."),
        ("negative", BOXES, "150 - 288 = -138. The answer is -138."),
        ("implausible", BOOKS, "The answer is 48,000,000."),
        ("echoed", BOXES, "It sells 150 pens. The answer is 150."),
        ("wrong_arithmetic", BOXES, "```python\nprint(12 * 24 - 150)\n```\nThe answer is 128."),
        ("uncomputed", BOXES, "12 * 24 = 288. 288 - 150 = 138. The answer is 500."),
        ("unmarked", BOXES, "There are 138 pens left."),
        ("no_choice", CHOICE, "It is the one in tools."),
        ("several_choices", CHOICE, "The answer is A. No, the answer is B."),
        ("bad_json", "Reply in JSON.", '{"a": 1,}'),
        ("no_code", "Write a function that adds.", "Add them with a plus."),
        ("bad_code", "Write a function that adds.", "```python\ndef add(a, b)\n    return a\n```"),
        ("rechecked", EGGS, "It is 18. Wait, let me recheck. That is a mistake."),
        ("hedged", EGGS, "Perhaps 18, maybe 20, probably 18."),
    ],
)
def test_each_check_finds_its_fault(check: str, prompt: str, answer: str):
    assert of(prompt, answer)[check] > 0.4


@pytest.mark.parametrize(
    ("check", "prompt", "answer"),
    [
        ("cut_off", "What is the capital of France?", "Paris"),
        ("other_language", "Translate this sentence to Chinese: I like tea.", "我喜欢喝茶" * 6),
        ("unused_numbers", "From 2017 to 2019, 5 trees grew 3 feet. How many?", "5 * 3 = 15"),
        ("unused_numbers", SALE, "It costs 75/100 * 80 = 60. The answer is 60."),
        ("no_choice", CHOICE, "B"),
        ("no_choice", CHOICE, "**(B) iron**"),
        ("several_choices", CHOICE, "The answer is B."),
        ("bad_json", "Reply in JSON.", '```json\n{"a": 1}\n```'),
        ("bad_json", "Write about Jason.", "He sails."),
        ("bad_code", "Write a function.", "```python\n>>> 1 +\n```"),
        ("no_code", "Write a function that adds.", "def add(a, b):\n    return a + b"),
        ("no_final", "Explain tides.", "The moon pulls."),
        ("fractional", BOXES, "The answer is 138.00."),
        ("echoed", BOXES, "12 * 24 = 288 and 288 - 138 = 150. The answer is 150."),
        ("uncomputed", BOXES, "150 / 24 = 6.25, so 7 boxes are opened. The answer is 7."),
    ],
)
def test_no_check_fails_what_is_well(check: str, prompt: str, answer: str):
    assert of(prompt, answer)[check] == 0


def test_a_longer_answer_is_doubted_a_little_more():
    short = "The answer is 138, for 12 * 24 - 150 = 138."
    assert doubt(BOXES, short + " The shop is small, and pens sell well here.") > doubt(
        BOXES, short
    )


@pytest.mark.parametrize(
    "piece",
    [
        "\\boxed{",
        "\\boxed{{x}",
        "answer is ",
        "**",
        "```\n",
        "\n ",
        "(A) ",
        "answer A",
        "{",
        "write ",
    ],
)
def test_a_long_or_hostile_text_costs_no_more_than_both_its_ends(piece: str):
    text = piece * (200_000 // len(piece))
    started_s = time.perf_counter()
    features(text, text)
    assert time.perf_counter() - started_s < 0.5
