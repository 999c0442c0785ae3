"""The shipped artefact: it is what its manifest says, and it places prompts it has not seen."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.policy.policy import decide
from router.policy.terms import AUTO, Observation, Policy, TierName
from router.score.conversation import question
from router.score.features import NAMES, surface
from router.score.model import (
    DEFAULT_ARTEFACT,
    MANIFEST_FILE,
    SURFACE_ONLY,
    WEIGHTS_FILE,
    Score,
    ScoreArtefactError,
    Scorer,
    advantage,
    need,
    pack,
    unpack,
)
from text.embed import EMBEDDING_SIZE, MiniLM
from training.router.prompts import own_prompts

SCORER = Scorer.load()
EASY = (
    "What is the capital of France?",
    "Say hello",
    "Translate 'good morning' to Spanish",
    "What colour is the sky?",
    "Thanks!",
    "Summarise: the cat sat on the mat.",
    "What time is it?",
    "Write a haiku about spring",
    "Recommend a good book",
    "How many days are in February?",
    "谢谢你的帮助",
)
HARD = (
    "Prove that there are infinitely many primes congruent to 3 mod 4.",
    "Write a Python function that merges overlapping intervals and give its complexity.",
    "Implement an LRU cache in C++ with O(1) operations",
    "Show that the sum of two continuous functions is continuous using epsilon-delta.",
    "Derive the time complexity of quicksort's average case",
    "Tickets cost $12 for adults and $7 for children. A group of 23 people paid $221 in all, and "
    "4 of the children then left with a full refund. How much did the rest pay per head?",
    "Find the eigenvalues of the matrix [[2,1],[1,3]] and diagonalise it.",
    "Write a lock-free queue in Rust.",
    "用动态规划求最长公共子序列，并证明其正确性。",
)


@pytest.fixture(scope="module")
def embedder() -> MiniLM:
    return MiniLM.installed()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFAULT_ARTEFACT, tmp_path / "copy"))


def scored(embedder: MiniLM, text: str) -> Score:
    messages = [{"role": "user", "content": text}]
    return SCORER.score(embedder.embed([question(messages)])[0], surface(messages))


def placed(embedder: MiniLM, text: str) -> str:
    policy = Policy((TierName("small"), TierName("large")), (SCORER.threshold,))
    return decide(Observation("r", AUTO, {}, scored(embedder, text)), policy).tier


@pytest.mark.parametrize("text", EASY)
def test_plain_requests_go_to_the_small_model(embedder: MiniLM, text: str):
    assert placed(embedder, text) == "small"


@pytest.mark.parametrize("text", HARD)
def test_hard_requests_go_to_the_large_model(embedder: MiniLM, text: str):
    assert placed(embedder, text) == "large"


def test_none_of_these_prompts_was_trained_on():
    trained = {own.text.lower() for own in own_prompts(held_out=False)}
    assert not trained & {text.lower() for text in (*EASY, *HARD)}


units = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).normal(size=EMBEDDING_SIZE).astype(np.float32)
)


@given(units, st.lists(st.floats(-1e6, 1e6, width=32), min_size=len(NAMES), max_size=len(NAMES)))
@settings(deadline=None, max_examples=50)
def test_any_input_gives_values_in_their_ranges_and_the_same_twice(direction, values):
    embedding = direction / np.linalg.norm(direction)
    features = np.array(values, dtype=np.float32)
    score = SCORER.score(embedding, features)
    for share in (score.difficulty, score.p_small, score.p_large, score.need):
        assert 0 <= share <= 1
    assert -1 <= score.gain <= 1
    assert 0 <= score.distance <= 2
    assert score == SCORER.score(embedding, features)


def test_need_is_the_advantage_nearby_and_repairable_difficulty_far_away():
    probability, reach = np.array([[0.4, 0.9]] * 3), np.array([0.5, 0.7, 0.25], dtype=np.float32)
    distance, near = np.array([0.1, 0.6, 0.9]), float(advantage(probability)[0])
    wanted = [near, (near + 0.15) / 2, 0.15]
    assert need(probability, distance, reach) == pytest.approx(wanted, abs=1e-6)


def test_the_advantage_has_the_sign_and_the_scale_of_the_gain():
    probability = np.array([[0.45, 0.55], [0.55, 0.45], [0.3, 0.3], [0.01, 0.99]])
    assert advantage(probability)[:3] == pytest.approx([0.1, -0.1, 0], abs=0.001)
    assert 0.9 < advantage(probability)[3] < 1


def test_a_score_without_an_embedding_says_so_and_is_quick():
    features = surface([{"role": "user", "content": HARD[0]}])
    score = SCORER.score_surface(features)
    assert score.version == SCORER.version + SURFACE_ONLY
    assert score.distance == 1
    easy = SCORER.score_surface(surface([{"role": "user", "content": "Hello!"}]))
    assert 0 <= easy.need < score.need <= 1
    started_s = time.perf_counter()
    for _ in range(100):
        SCORER.score_surface(features)
    assert time.perf_counter() - started_s < 0.3


def test_an_expected_loss_is_no_need():
    reach = np.array([0.5, 0.7, 0.25], dtype=np.float32)
    assert need(np.array([[0.9, 0.4]]), np.array([0.1]), reach).tolist() == [0]


def test_the_artefact_is_small_and_names_its_version():
    assert sum(file.stat().st_size for file in DEFAULT_ARTEFACT.iterdir()) < 2_000_000
    assert SCORER.version == DEFAULT_ARTEFACT.name
    assert 0 < SCORER.threshold < 1


def test_weights_with_one_byte_changed_are_refused(copy: Path):
    packed = bytearray((copy / WEIGHTS_FILE).read_bytes())
    packed[len(packed) // 2] ^= 1
    (copy / WEIGHTS_FILE).write_bytes(packed)
    with pytest.raises(ScoreArtefactError, match="not the file the manifest describes"):
        Scorer.load(copy)


def test_weights_for_other_features_are_refused(copy: Path):
    manifest = json.loads((copy / MANIFEST_FILE).read_text())
    manifest["features"][0] = "other"
    (copy / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(ScoreArtefactError, match="other surface features"):
        Scorer.load(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "v1"}'])
def test_a_broken_manifest_is_refused(copy: Path, text: str):
    (copy / MANIFEST_FILE).write_text(text)
    with pytest.raises(ScoreArtefactError, match="unreadable"):
        Scorer.load(copy)


def test_a_missing_artefact_names_its_folder(tmp_path: Path):
    with pytest.raises(ScoreArtefactError, match="nowhere"):
        Scorer.load(tmp_path / "nowhere")


def test_weights_survive_packing_and_wrong_shapes_are_told():
    weights = unpack((DEFAULT_ARTEFACT / WEIGHTS_FILE).read_bytes(), DEFAULT_ARTEFACT)
    again = unpack(pack(weights), DEFAULT_ARTEFACT)
    assert np.array_equal(weights.sample, again.sample)
    assert weights.problems() == []
    assert "bias" in replace(weights, bias=weights.bias[:1]).problems()[0]


def test_a_pickle_is_not_loaded(copy: Path):
    with (copy / WEIGHTS_FILE).open("wb") as file:
        np.savez(file, centre=np.array([print], dtype=object))
    with pytest.raises(ScoreArtefactError, match="unreadable weights"):
        unpack((copy / WEIGHTS_FILE).read_bytes(), copy)
