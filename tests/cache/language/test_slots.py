"""Slots: spellings of one value read the same, other values read otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.language.slots import read


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("about 1,000 people", "about 1000 people"),
        ("two eggs", "2 eggs"),
        ("five hundred words", "500 words"),
        ("a $500k loan", "a $500,000 loan"),
        ("1.5 million people", "1500000 people"),
        ("on the 3rd day", "on the third day"),
        ("version 2.0", "version 2"),
    ],
)
def test_spellings_of_one_number_are_one(one: str, other: str):
    assert read(one).numbers == read(other).numbers
    assert read(one).numbers


@pytest.mark.parametrize(
    ("one", "other"),
    [("Python 3.1", "Python 3.10"), ("2 eggs", "12 eggs"), ("the 3rd", "3"), ("0.5", "5")],
)
def test_other_numbers_are_others(one: str, other: str):
    assert read(one).numbers != read(other).numbers


def test_a_unit_is_read_with_its_number():
    assert read("convert 5km to miles").quantities == {("5", "km")}
    assert read("5 kilometres in miles").quantities >= {("5", "km")}
    assert read("5 miles in kilometres").quantities >= {("5", "mile")}


def test_money_is_read_with_sign_or_word():
    assert read("under $30").currencies == read("under 30 dollars").currencies == {"usd"}
    assert read("under €30").currencies == {"eur"}


def test_names_are_capitals_within_a_sentence_and_acronyms():
    assert read("Where is Berlin? Ask NASA.").names == {"berlin", "nasa"}
    assert not read("How do I bake bread?").names
    assert read("How To Bake Bread").names == {"bak", "bread"}


def test_a_quotation_is_read_without_its_marks():
    assert read("translate 'Good morning' now").quoted == {"good morning"}
    assert not read("don't say it's so").quoted


def test_sums_keep_their_order_and_operator():
    assert read("What is 17 * 24?").ordered != read("What is 17 + 24?").ordered
    assert read("24 - 17").ordered != read("17 - 24").ordered
    assert read("17 times 24").ordered == read("17 * 24").ordered


def test_negations_are_counted_with_what_they_negate():
    seen = read("Which foods aren't safe, and not cheap?")
    assert seen.negators == 2
    assert "saf" in seen.negated


@given(st.text(max_size=300))
def test_any_text_is_read(text: str):
    assert read(text) == read(text)


@given(st.text(max_size=60))
def test_case_does_not_change_numbers(text: str):
    assert read(text.lower()).numbers == read(text.lower().capitalize().lower()).numbers
