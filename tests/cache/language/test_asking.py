"""Questions about other persons, times or things are other questions."""

import pytest

from cache.language.asking import asks_otherwise, kind_of, persons_differ, tense_differs
from cache.language.slots import read


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I learn Spanish?", "How do you learn Spanish?"),
        ("I love him", "He loves me"),
    ],
)
def test_another_person_is_another_question(one: str, other: str):
    assert persons_differ(read(one), read(other))
    assert persons_differ(read(other), read(one))
    assert not persons_differ(read(one), read(one))


def test_another_time_is_another_question():
    was, is_ = read("Who was the president of France?"), read("Who is the president of France?")
    assert tense_differs(was, is_) and not tense_differs(was, was)


def test_why_is_not_how_and_a_yes_or_no_is_neither():
    why, how = read("Why does a taxi wait?"), read("How does a taxi wait?")
    polar = read("Does a taxi wait?")
    assert asks_otherwise(why, how) and asks_otherwise(polar, how)
    assert kind_of(polar) == "polar" and kind_of(read("A taxi.")) == ""
    assert not asks_otherwise(how, read("How does a cab wait?"))
