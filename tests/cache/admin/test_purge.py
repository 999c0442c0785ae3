"""What a purge selects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.admin.key_names import owner_tag
from cache.admin.purge import HEAD_BYTES, Selection, duration_s, made_s
from cache.exact.answers import CachedAnswer
from cache.exact.key import exact_key
from cache.scope import scope_key
from cache.semantic.entries import SemanticEntry, entry_id, entry_key
from core.call import Usage

MINE, THEIRS = owner_tag("mine"), owner_tag("theirs")
ANSWER = exact_key({}, endpoint="chat", tenant="mine", policy_version="1")
SCOPE = scope_key({}, endpoint="chat", tenant="mine", policy_version="1")
ENTRY = SemanticEntry(entry_id("x"), "x", "0f" * 8, ANSWER, ("faq", "law"), 100.0)
KEY = entry_key(SCOPE, ENTRY.id)


@pytest.mark.parametrize(
    ("selection", "goes"),
    [
        (Selection(), True),
        (Selection(owner=MINE), True),
        (Selection(owner=THEIRS), False),
        (Selection(tag="faq"), True),
        (Selection(tag="news"), False),
        (Selection(keys=frozenset([KEY])), True),
        (Selection(keys=frozenset([ANSWER])), False),
        (Selection(before_s=100.5), True),
        (Selection(before_s=100.0), False),
        (Selection(owner=MINE, tag="faq", keys=frozenset([KEY]), before_s=101), True),
        (Selection(owner=THEIRS, tag="faq", keys=frozenset([KEY]), before_s=101), False),
        (Selection(owner=MINE, tag="news", keys=frozenset([KEY]), before_s=101), False),
        (Selection(owner=MINE, tag="faq", keys=frozenset(["x"]), before_s=101), False),
        (Selection(owner=MINE, tag="faq", keys=frozenset([KEY]), before_s=99), False),
    ],
)
def test_an_entry_goes_when_all_that_is_given_holds(selection: Selection, goes: bool):
    assert selection.entry(KEY, ENTRY) is goes


def test_an_answer_goes_by_owner_key_and_age():
    assert Selection(MINE, None, frozenset([ANSWER]), 10).answer(ANSWER, 9)
    assert not Selection(THEIRS).answer(ANSWER, 9)
    assert not Selection(keys=frozenset([KEY])).answer(ANSWER, 9)
    assert not Selection(before_s=10).answer(ANSWER, 10)
    assert not Selection().answer(KEY, 9)


def test_an_entry_may_bear_a_tag_by_its_set_alone():
    assert Selection(tag="news").entry(KEY, ENTRY, {KEY})


def test_what_cannot_be_read_goes_with_its_owner_but_not_by_its_age_or_tag():
    assert Selection(owner=MINE).entry(KEY, None)
    assert not Selection(tag="faq").entry(KEY, None)
    assert not Selection(before_s=1e9).entry(KEY, None)
    assert not Selection(before_s=1e9).answer(ANSWER, None)


def test_keys_tell_the_owner_that_need_be_looked_at():
    assert Selection(keys=frozenset([KEY, ANSWER])).owners == MINE
    assert Selection(owner=THEIRS, keys=frozenset([KEY])).owners == THEIRS
    assert Selection(tag="faq").owners is None


@given(st.floats(0, 2e9), st.binary(max_size=9000))
def test_the_age_of_an_answer_is_in_its_head(at_s: float, body: bytes):
    raw = CachedAnswer(body, "small", "m", Usage(1, 2, 3), 4, at_s).to_bytes()
    assert made_s(raw[:HEAD_BYTES]) == at_s


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]\n", b"{broken", b'{"created_s":"x"}\n'])
def test_of_other_bytes_it_is_unknown(raw: bytes):
    assert made_s(raw) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129_600), ("1w", 604_800)],
)
def test_spans_of_time_have_units(text: str, seconds: float):
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "2 h", "1y", "2h30m"])
def test_other_spans_are_refused(text: str):
    with pytest.raises(ValueError, match="30m"):
        duration_s(text)
