"""Which refused pair a model is asked about: never one that a gate refuses."""

import pytest

from cache.error_budget.budget import Level
from cache.language.mismatch import Mismatch
from cache.semantic.boundary import Boundary
from cache.semantic.consensus import Candidate, EntryChoice, ServedBy
from cache.semantic.verdict import ASKED, ASKED_COSINE, LIMIT_CHARS, doubtful, serves

QUERY = "How do I get my money back?"
CACHED = "What is our refund policy?"
UNSURE = EntryChoice(None, Mismatch.UNSURE, 0.4, 0)


def near(text: str = CACHED, cosine: float = 0.6, boundary: Boundary | None = None) -> Candidate:
    return Candidate(text, cosine, "x", boundary)


@pytest.mark.parametrize("reason", sorted(ASKED))
def test_what_the_trees_refuse_is_asked_about(reason: Mismatch) -> None:
    assert doubtful(QUERY, [near()], EntryChoice(None, reason, 0.4, 0)) == 0


@pytest.mark.parametrize("reason", sorted(set(Mismatch) - ASKED))
def test_what_anything_else_refuses_is_not(reason: Mismatch) -> None:
    assert doubtful(QUERY, [near()], EntryChoice(None, reason, 0.4, 0)) is None


def test_what_is_served_is_not() -> None:
    assert doubtful(QUERY, [near()], EntryChoice(0, ServedBy.VERIFIED, 0.99, 0)) is None


@pytest.mark.parametrize(
    ("cached", "query"),
    [
        ("How do I get 5 coins back?", "How do I get 6 coins back?"),
        ("How do I turn it on?", "How do I turn it off?"),
        ("What is the weather today?", "How do I get my money back?"),
        ("What is our refund policy?", "How do I get my money back today?"),
        ("x" * (LIMIT_CHARS + 1), QUERY),
        (CACHED, "How do I get my money back " + "and back " * LIMIT_CHARS),
    ],
    ids=["number", "opposite", "cached of now", "query of now", "long cached", "long query"],
)
def test_a_pair_that_a_gate_refuses_is_not(cached: str, query: str) -> None:
    assert doubtful(query, [near(cached)], UNSURE) is None


def test_the_nearest_that_passes_is_asked_about() -> None:
    pair = [near("How do I get 7 coins back?", 0.9), near(), near("May I return it?", 0.5)]
    assert doubtful(QUERY, pair, UNSURE) == 1


def test_too_far_an_entry_is_not_and_nor_is_one_that_was_wrong_before() -> None:
    assert doubtful(QUERY, [near(cosine=ASKED_COSINE - 0.01)], UNSURE) is None
    assert doubtful(QUERY, [near(cosine=ASKED_COSINE)], UNSURE) == 0
    wrong = Boundary().seen(0.6, same=False)
    assert doubtful(QUERY, [near(boundary=wrong)], UNSURE) is None
    assert doubtful(QUERY, [], UNSURE) is None


def test_a_yes_has_to_be_surer_at_a_stricter_level_and_no_answer_is_a_no() -> None:
    assert serves(0.9, Level.LOOSE, 0.9) and serves(0.95, Level.STRICT, 0.9)
    assert not serves(0.899, Level.LOOSE, 0.9) and not serves(0.949, Level.STRICT, 0.9)
    assert not serves(None, Level.LOOSE, 0.9) and not serves(1.0, Level.OFF, 0.9)
