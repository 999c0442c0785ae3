"""What is kept of a prompt: it comes back as it was, and nothing else passes for it."""

import contextlib
import re
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.exact.key import exact_key
from cache.scope import scope_key
from cache.semantic.boundary import KEPT, Boundary
from cache.semantic.entries import SemanticEntry, entry_id, entry_key, near_key, outcome

KEY = exact_key({"n": 1}, endpoint="chat", tenant="t", policy_version="1")
TEXT = "How can I get my card back from the cash machine's slot now?"
ENTRY = SemanticEntry(entry_id(TEXT), TEXT, "0f" * 8, KEY, ("faq", "card"), 1_700_000_000.0)
OUTCOMES = Boundary(((0.9, True), (-1.0, False), (1.0, True)))

words = st.text(st.characters(codec=None), max_size=30)
names = st.one_of(words, st.text("0123456789abcdef", max_size=20), st.just(KEY))


@given(
    st.builds(
        SemanticEntry,
        id=words.filter(lambda text: text.isprintable()),
        text=words,
        answer=names,
        exact_key=names,
        tags=st.lists(words.filter(lambda text: text.isprintable())).map(tuple),
        created_s=st.integers(0, 1 << 40).map(float),
        boundary=st.lists(st.tuples(st.floats(-1, 1), st.booleans()), max_size=KEPT).map(
            lambda outcomes: Boundary(tuple(outcomes))
        ),
    )
)
def test_an_entry_comes_back_as_it_was(entry: SemanticEntry):
    again = SemanticEntry.from_bytes(entry.to_bytes())
    facts = ("id", "text", "answer", "exact_key", "tags", "created_s")
    assert [getattr(again, name) for name in facts] == [getattr(entry, name) for name in facts]
    kept = list(zip(again.boundary.outcomes, entry.boundary.outcomes, strict=True))
    assert all(abs(one - other) < 1e-4 and same == was for (one, same), (other, was) in kept)
    assert SemanticEntry.from_bytes(again.to_bytes()) == again


def test_the_latest_outcomes_are_kept():
    many = Boundary(tuple((step / 200, True) for step in range(KEPT + 9)))
    entry = SemanticEntry("i", "t", "a", KEY, (), 0.0, many)
    kept = SemanticEntry.from_bytes(entry.to_bytes()).boundary.outcomes
    assert len(kept) == KEPT
    assert kept[-1][0] == pytest.approx(many.outcomes[-1][0], abs=1e-4)


def test_bytes_of_the_least_facts_are_an_entry():
    raw = b"\x01\x00" + msgspec.msgpack.encode((b"text", b"h", b"h", 0))
    assert SemanticEntry.from_bytes(raw) == SemanticEntry(entry_id("text"), "text", "", "", (), 0.0)


def test_a_creation_time_is_kept_to_the_second():
    entry = replace(ENTRY, created_s=1_700_000_000.9)
    assert SemanticEntry.from_bytes(entry.to_bytes()).created_s == 1_700_000_000.0


def test_a_short_prompt_takes_few_bytes():
    assert len(TEXT) == 60
    assert len(replace(ENTRY, tags=()).to_bytes()) <= 124


def test_an_entry_that_was_cut_is_refused():
    whole = replace(ENTRY, boundary=OUTCOMES).to_bytes()
    for end in range(len(whole)):
        with pytest.raises(ValueError):
            SemanticEntry.from_bytes(whole[:end])


@pytest.mark.parametrize(
    "raw",
    [
        ENTRY.to_bytes() + b"\x00",
        b"\x00" + ENTRY.to_bytes()[1:],
        b"\x02" + ENTRY.to_bytes()[1:],
        b"\x01\xff" + ENTRY.to_bytes()[2:],
        b"\x01\x03" + ENTRY.to_bytes()[2:],
        b"\x01\x00" + msgspec.msgpack.encode((b"text", b"kshort", b"h", 0)),
        b"\x01\x00" + msgspec.msgpack.encode((b"text", b"", b"h", 0)),
        b"\x01\x00" + msgspec.msgpack.encode((b"\xff", b"h", b"h", 0)),
        b"\x01\x00" + msgspec.msgpack.encode((b"text", b"h", b"h", "soon")),
        b"\x01\x00" + msgspec.msgpack.encode((b"text", b"h", b"h", 0, (), "id", "more")),
        b'{"v":1}\n',
    ],
)
def test_what_is_no_entry_is_refused(raw: bytes):
    with pytest.raises(ValueError):
        SemanticEntry.from_bytes(raw)


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_but_a_value_error(raw: bytes):
    with contextlib.suppress(ValueError):
        SemanticEntry.from_bytes(b"\x01" + raw)


def test_an_outcome_beyond_the_scale_counts_as_its_end():
    assert outcome(1.0000001, True) == outcome(1.0, True)
    assert outcome(-1.5, False) == outcome(-1.0, False) != outcome(-1.0, True)


def test_keys_of_a_scope_lie_in_the_slot_of_its_answers():
    scope = scope_key({"n": 1}, endpoint="chat", tenant="t", policy_version="1")
    tag, sha = scope.removeprefix("hansom:scope:").split(":")
    assert tag in KEY
    assert near_key(scope) == f"hansom:near:{tag}:{sha}"
    assert re.fullmatch(
        rf"hansom:entry:{re.escape(tag)}:[\w-]{{18}}:ab", entry_key(scope, "ab"), re.ASCII
    )


def test_entries_of_two_scopes_or_owners_have_names_of_their_own():
    scopes = [
        scope_key({"n": n}, endpoint="chat", tenant=tenant, policy_version="1")
        for n in range(100)
        for tenant in ("a", "b")
    ]
    assert len({entry_key(scope, "ab") for scope in scopes}) == 200
    assert {len(entry_key(scope, entry_id("text"))) for scope in scopes} == {67}


def test_the_id_is_the_start_of_the_texts_digest():
    assert entry_id("abc") == "ba7816bf8f01cfea"
    assert len(entry_id("\ud800")) == 16
