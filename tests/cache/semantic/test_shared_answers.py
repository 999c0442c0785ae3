"""The corpus of pairs that must not share an answer, and of those that have to."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import training
from cache.semantic.consensus import Candidate, ConsensusSettings, EntryChoice, choose
from cache.semantic.pair import PromptReader
from cache.semantic.verify import Verifier
from text.embed import MiniLM

FILE = Path(training.__path__[0]) / "cache" / "shared_answers.toml"
CORPUS = tomllib.loads(FILE.read_text(encoding="utf-8"))
MUST_NOT = [(kind, *pair) for kind, pairs in CORPUS["must_not_share"].items() for pair in pairs]
MUST = [(kind, *pair) for kind, pairs in CORPUS["must_share"].items() for pair in pairs]
EMBEDDER = MiniLM.installed()
VERIFIER = Verifier.load(PromptReader(EMBEDDER))
LEVELS = sorted(VERIFIER.thresholds)


def chosen(cached: str, query: str, level: str, answers: int = 1) -> EntryChoice:
    """The decision over one stored prompt, or over that prompt `answers` times with one answer."""
    one, other = EMBEDDER.embed([cached, query])
    candidates = [Candidate(cached, min(float(one @ other), 1.0), "answer")] * answers
    return choose(query, candidates, VERIFIER, ConsensusSettings(VERIFIER.thresholds[level]))


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len({frozenset(pair[1:]) for pair in MUST_NOT}) == len(MUST_NOT) >= 400
    assert len(MUST) >= 40


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", CORPUS["must_not_share"])
def test_no_pair_that_must_not_share_is_served_either_way_round(kind: str, level: str) -> None:
    served = [
        (cached, query)
        for one, other in CORPUS["must_not_share"][kind]
        for cached, query in ((one, other), (other, one))
        if chosen(cached, query, level).entry is not None
    ]
    assert served == []


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", CORPUS["must_share"])
def test_every_plain_paraphrase_is_served_both_ways_round(kind: str, level: str) -> None:
    missed = [
        (cached, query, str(chosen(cached, query, level).reason))
        for one, other in CORPUS["must_share"][kind]
        for cached, query in ((one, other), (other, one))
        if chosen(cached, query, level).entry is None
    ]
    assert missed == []


SIGNS = list("!#$%&*+-/<=>@^~|²³½αβ😀→0123456789")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SIGNS), st.sampled_from(SIGNS), st.booleans())
def test_no_two_prompts_with_other_signs_share(one: str, other: str, glued: bool) -> None:
    texts = [f"What does x{'' if glued else ' '}{sign} mean here?" for sign in (one, other)]
    for level in LEVELS:
        assert (chosen(*texts, level).entry is not None) == (one == other)
