"""An explanation is of the score that serves, and of nothing else."""

import numpy as np
import pytest

from router.embed import MiniLM
from router.explain import Explanation, explain
from router.features import NAMES, surface
from router.score import NEIGHBOURS, Scorer

PROOF = "Prove that the square root of 2 is irrational."


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.load()


@pytest.fixture(scope="module")
def embedder() -> MiniLM:
    return MiniLM.installed()


def explained(scorer: Scorer, embedder: MiniLM, prompt: str) -> Explanation:
    features = surface([{"role": "user", "content": prompt}])
    return explain(scorer.weights, embedder.embed([prompt])[0], features)


@pytest.mark.parametrize("prompt", [PROOF, "Hello!", "", "翻译这句话"])
def test_the_rank_explained_is_the_one_that_is_served(
    scorer: Scorer, embedder: MiniLM, prompt: str
):
    features = surface([{"role": "user", "content": prompt}])
    served = scorer.score(embedder.embed([prompt])[0], features)
    assert np.clip(explained(scorer, embedder, prompt).rank, 0, 1) == pytest.approx(
        served.need, abs=1e-6
    )


def test_the_features_that_moved_it_most_come_first(scorer: Scorer, embedder: MiniLM):
    why = explained(scorer, embedder, PROOF)
    sizes = [abs(one.effect) for one in why.features]
    assert sizes == sorted(sizes, reverse=True)
    assert {one.name for one in why.features} <= set(NAMES)


def test_a_proof_speaks_for_the_large_model(scorer: Scorer, embedder: MiniLM):
    proof = next(
        one for one in explained(scorer, embedder, PROOF).features if one.name == "kind_proof"
    )
    assert proof.value > proof.usual
    assert proof.linear > 0


def test_a_feature_at_its_usual_value_moves_nothing_and_is_left_out(scorer: Scorer):
    size = len(NAMES)
    usual = scorer.weights.centre[:size]
    embedding = np.zeros(len(scorer.weights.centre) - size, dtype=np.float32)
    why = explain(scorer.weights, embedding, usual)
    assert why.features == ()
    assert why.surface.effect == 0.0
    assert why.embedding_share in (0.0, 1.0)


def test_the_trees_never_read_the_embedding(scorer: Scorer, embedder: MiniLM):
    why = explained(scorer, embedder, PROOF)
    assert why.embedding.trees == 0.0
    assert 0 <= why.embedding_share <= 1
    assert len(why.cosines) == NEIGHBOURS
