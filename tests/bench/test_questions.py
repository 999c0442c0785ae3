"""Questions made by code: the same each time, distinct, and with answers that are right."""

import re
from collections import Counter
from datetime import datetime

from bench.grading import BRIEF, SHORT, WORKED, right
from bench.questions import made


def test_a_seed_gives_the_same_distinct_questions_and_another_gives_others():
    one, again, other = made(12), made(12), made(12, seed=1)
    assert one == again
    assert one != other
    assert len({each.prompt for each in one}) == len(one)


def test_every_kind_has_questions_and_some_are_to_be_worked_out():
    kinds = Counter(each.kind for each in made(12))
    assert len(kinds) >= 15
    assert min(kinds.values()) >= 6
    assert {each.form for each in made(12)} == {SHORT, BRIEF, WORKED}


def test_every_gold_answer_is_graded_as_right():
    for each in made(24):
        assert right(each, each.gold), each
        assert right(each, f"Answer: {each.gold}"), each


def test_no_question_is_answered_by_repeating_it():
    repeated = [each for each in made(24) if not each.gold.isdigit() and right(each, each.prompt)]
    # Of two that are named the first counts, so a "yes" or a letter may be hit.
    assert {each.kind for each in repeated} <= {"yes_no", "letters", "opposite"}


def test_sums_and_dates_are_computed():
    for each in made(24):
        if each.kind == "sum":
            found = re.match(r"What is (\d+) ([-+*]) (\d+)\?", each.prompt)
            assert found is not None
            one, sign, other = int(found[1]), found[2], int(found[3])
            known = {"+": one + other, "-": one - other, "*": one * other}
            assert each.gold == str(known[sign])
        if each.kind == "between":
            first, last = (
                datetime.strptime(told, "%B %d, %Y")
                for told in re.findall(r"[A-Z][a-z]+ \d+, \d+", each.prompt)
            )
            assert each.gold == str((last - first).days)
