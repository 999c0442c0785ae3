"""The hunt for wrong answers, with pairs that no part of the cache was made from."""

import tomllib
from pathlib import Path

import pytest

from cache.semantic.consensus import Candidate, ConsensusSettings, EntryChoice, choose
from cache.semantic.pair import PromptReader
from cache.semantic.verify import Verifier
from text.embed import MiniLM

PAIRS = tomllib.loads(Path(__file__).with_name("near_misses.toml").read_text(encoding="utf-8"))
NEAR_MISSES = [(kind, *pair) for kind, pairs in PAIRS["near_misses"].items() for pair in pairs]
EMBEDDER = MiniLM.installed()
VERIFIER = Verifier.load(PromptReader(EMBEDDER))


def chosen(cached: str, query: str, level: str) -> EntryChoice:
    one, other = EMBEDDER.embed([cached, query])
    candidates = [Candidate(cached, float(one @ other), "answer")]
    return choose(query, candidates, VERIFIER, ConsensusSettings(VERIFIER.thresholds[level]))


@pytest.mark.parametrize("level", ["0.01", "0.025"])
@pytest.mark.parametrize(("kind", "cached", "query"), NEAR_MISSES)
def test_no_near_miss_is_served_either_way_round(
    kind: str, cached: str, query: str, level: str
) -> None:
    assert chosen(cached, query, level).entry is None, kind
    assert chosen(query, cached, level).entry is None, kind


def test_most_paraphrases_are_served() -> None:
    served = [pair for pair in PAIRS["paraphrases"] if chosen(*pair, "0.025").entry is not None]
    assert len(served) >= len(PAIRS["paraphrases"]) - 2
