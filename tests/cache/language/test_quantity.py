"""Numbers, units, bounds and dates in one spelling, however they are written."""

import pytest

from cache.language import quantity


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("five hundred", ["500"]),
        ("5 of 12", ["5", "12"]),
        ("seven", ["7"]),
        ("no number here", []),
    ],
)
def test_numbers_are_read_in_digits_and_in_order(words: str, found: list[str]):
    assert quantity.numbers(words.split()) == found


@pytest.mark.parametrize(
    ("word", "number"), [("3rd", "#3"), ("5km", "5"), ("seven", "7"), ("taxi", None)]
)
def test_a_word_is_or_begins_with_a_number_and_an_ordinal_is_marked(word: str, number: str | None):
    assert quantity.value(word) == number


def test_a_quantity_has_its_unit_whichever_way_it_is_written():
    assert quantity.quantities(["run", "5", "km"]) == quantity.quantities(
        ["run", "5", "kilometers"]
    )
    assert quantity.quantities(["run", "5", "km"]) != quantity.quantities(["run", "5", "miles"])
    assert quantity.quantities(["run", "far"]) == frozenset()


def test_currencies_are_one_by_sign_code_and_word():
    by_word = quantity.currencies(["ten", "euros"])
    assert by_word and by_word == quantity.currencies(["10", "eur"])
    assert quantity.currencies(["ten", "dollars"]) != by_word


def test_a_bound_counts_right_before_a_number_only():
    assert quantity.bounds(["under", "5", "euros"])
    assert quantity.bounds(["under", "5", "euros"]) != quantity.bounds(["over", "5", "euros"])
    assert quantity.bounds(["under", "the", "table"]) == frozenset()


def test_may_is_a_month_only_where_it_is_no_verb():
    in_may, may_i = ["flights", "in", "May"], ["May", "I", "fly"]
    assert quantity.dates([word.lower() for word in in_may], in_may)
    assert not quantity.dates([word.lower() for word in may_i], may_i)
