"""The decision: gates first, then the verifier or the neighbours; a reason for everything."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.language.mismatch import Mismatch
from cache.semantic.boundary import Boundary
from cache.semantic.consensus import Candidate, ConsensusSettings, ServedBy, choose
from cache.semantic.verify import Thresholds

SETTINGS = ConsensusSettings(Thresholds(pair=0.9, consensus=0.95))
QUERY = "How do I bake bread?"


@dataclass
class Sure:
    """A verifier that says what it is told to, and remembers what it was asked."""

    pair_says: float = 1.0
    consensus_says: float = 1.0
    asked: list[str] = field(default_factory=list)

    def pair(self, cached: str, query: str) -> float:
        self.asked.append(cached)
        return self.pair_says

    def consensus(self, cosines: list[float], answers: list[str]) -> float:
        self.asked.append("consensus")
        return self.consensus_says


ALONE = [Candidate("Which method is there to bake bread?", 0.93, "x")]
AGREEING = [
    Candidate("Which method is there to bake bread?", 0.93, "x"),
    Candidate("Bread, and how one bakes it", 0.9, "x"),
    Candidate("How do I bake cake?", 0.7, "y"),
]


def test_a_neighbour_alone_serves_on_the_verifiers_word():
    choice = choose(QUERY, ALONE, Sure(0.92), SETTINGS)
    assert (choice.entry, choice.reason, choice.confidence) == (0, ServedBy.VERIFIED, 0.92)


def test_a_doubtful_neighbour_does_not_serve():
    choice = choose(QUERY, ALONE, Sure(0.89), SETTINGS)
    assert (choice.entry, choice.reason, choice.nearest) == (None, Mismatch.UNSURE, 0)


def test_neighbours_that_agree_serve_without_the_verifier():
    verifier = Sure(0.0, 0.97)
    choice = choose(QUERY, AGREEING, verifier, SETTINGS)
    assert (choice.entry, choice.reason) == (0, ServedBy.CONSENSUS)
    assert verifier.asked == ["consensus"]


def test_a_weak_consensus_leaves_it_to_the_verifier_where_nothing_contradicts():
    near = AGREEING[:2]
    assert choose(QUERY, near, Sure(0.95, 0.5), SETTINGS).reason is ServedBy.VERIFIED
    assert choose(QUERY, near, Sure(0.5, 0.5), SETTINGS).reason is Mismatch.UNSURE
    assert choose(QUERY, AGREEING, Sure(0.95, 0.5), SETTINGS).reason is Mismatch.DISAGREEMENT


def test_the_entry_that_serves_passes_the_gates():
    near = [Candidate("How do I bake bread in 5 hours?", 0.95, "x"), *AGREEING]
    choice = choose(QUERY, near, Sure(), SETTINGS)
    assert choice.entry == 1


def test_a_gate_outweighs_everyone():
    near = [
        Candidate("How do I bake 2 loaves?", 0.99, "x"),
        Candidate("What is the way to bake 2 loaves?", 0.98, "x"),
    ]
    verifier = Sure()
    choice = choose("How do I bake 3 loaves?", near, verifier, SETTINGS)
    assert (choice.entry, choice.reason) == (None, Mismatch.NUMBER)
    assert not verifier.asked


def test_a_rival_past_the_gates_is_a_disagreement():
    near = [ALONE[0], Candidate("The way in which to bake bread", 0.925, "y")]
    choice = choose(QUERY, near, Sure(1, 0.5), SETTINGS)
    assert (choice.entry, choice.reason) == (None, Mismatch.DISAGREEMENT)
    other = [ALONE[0], Candidate("How do I bake bread in 5 hours?", 0.925, "y")]
    assert choose(QUERY, other, Sure(1, 0.5), SETTINGS).entry == 0


def test_the_very_text_serves():
    choice = choose(QUERY, [Candidate(QUERY, 1.0, "x")], Sure(), SETTINGS)
    assert (choice.entry, choice.reason) == (0, ServedBy.SAME_TEXT)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("What is the weather in Oslo today?", Mismatch.TIME),
        ("What is my name?", Mismatch.PERSONAL),
    ],
)
def test_some_questions_are_never_served(query: str, reason: Mismatch):
    verifier = Sure()
    choice = choose(query, [Candidate(query, 1.0, "x")], verifier, SETTINGS)
    assert (choice.entry, choice.reason) == (None, reason)
    assert not verifier.asked


def test_an_entry_that_goes_stale_never_serves():
    near = [Candidate("What is the weather in Oslo today?", 0.95, "x")]
    choice = choose("What is the weather of Oslo?", near, Sure(), SETTINGS)
    assert choice.entry is None


def test_far_entries_are_not_looked_at():
    verifier = Sure()
    assert choose(QUERY, [Candidate("x", 0.2, "x")], verifier, SETTINGS).reason is Mismatch.DISTANT
    assert choose(QUERY, [], verifier, SETTINGS).reason is Mismatch.DISTANT
    assert not verifier.asked


def test_an_unexplained_word_keeps_an_entry_from_serving_alone():
    verifier = Sure()
    vegan = Candidate("How do I bake vegan bread?", 0.97, "x")
    choice = choose(QUERY, [vegan], verifier, SETTINGS)
    assert (choice.entry, choice.reason) == (None, Mismatch.WORD)
    assert not verifier.asked
    assert choose(QUERY, [vegan, AGREEING[0]], verifier, SETTINGS).reason is ServedBy.CONSENSUS


def test_the_very_text_is_explored_too_once_it_was_wrong():
    bounded = ConsensusSettings(SETTINGS.thresholds, delta=0.05)
    wrong = Boundary(((1.0, False),) * 3)
    near = [Candidate(QUERY, 1.0, "x", wrong)]
    assert choose(QUERY, near, Sure(), bounded, draw=0.0).reason is Mismatch.EXPLORE


def test_an_entry_may_have_to_be_explored():
    bounded = ConsensusSettings(SETTINGS.thresholds, delta=0.05)
    right = Boundary(((0.7, True),) * 60)
    for boundary, reason in ((Boundary(), Mismatch.EXPLORE), (right, ServedBy.VERIFIED)):
        near = [Candidate(ALONE[0].text, 0.93, "x", boundary)]
        assert choose(QUERY, near, Sure(), bounded, draw=0.5).reason is reason


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from("xyz")), max_size=10),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_whoever_serves_was_sure(found: list[tuple[float, str]], pair: float, consensus: float):
    near = [
        Candidate(f"What is the way to bake bread{'!' * at}", cosine, answer)
        for at, (cosine, answer) in enumerate(sorted(found, reverse=True))
    ]
    choice = choose(QUERY, near, Sure(pair, consensus), SETTINGS)
    assert 0 <= choice.confidence <= 1
    if choice.reason is ServedBy.VERIFIED:
        assert choice.confidence >= SETTINGS.thresholds.pair
    if choice.reason is ServedBy.CONSENSUS:
        assert choice.confidence >= SETTINGS.thresholds.consensus
    assert (choice.entry is None) == isinstance(choice.reason, Mismatch)
