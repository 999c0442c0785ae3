"""An explanation is of the score that serves, and of nothing else."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.score.explain import (
    QUOTED_CHARS,
    SAMPLE_FILE,
    SAMPLE_SHA256,
    Explanation,
    TrainingPrompt,
    explain,
    pack_sample,
    read_sample,
)
from router.score.features import NAMES, surface
from router.score.model import (
    DEFAULT_ARTEFACT,
    MANIFEST_FILE,
    NEIGHBOURS,
    ScoreArtefactError,
    Scorer,
)
from text.embed import MiniLM

PROOF = "Prove that the square root of 2 is irrational."


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.load()


@pytest.fixture(scope="module")
def embedder() -> MiniLM:
    return MiniLM.installed()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFAULT_ARTEFACT, tmp_path / "copy"))


def keep(folder: Path, packed: bytes) -> None:
    """Make `packed` the artefact's sample, with a manifest that describes it."""
    (folder / SAMPLE_FILE).write_bytes(packed)
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest[SAMPLE_SHA256] = hashlib.sha256(packed).hexdigest()
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


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


def test_the_nearest_prompts_are_those_with_the_highest_cosines(scorer: Scorer):
    weights = scorer.weights
    names = [TrainingPrompt("s", str(row)) for row in range(len(weights.sample))]
    usual = weights.centre[: len(NAMES)]
    why = explain(weights, weights.sample[7], usual, names)
    assert why.nearest_prompts is not None
    cosines = weights.sample @ weights.sample[7]
    assert why.nearest_prompts[0].prompt == "7"
    assert [one.cosine for one in why.nearest_prompts] == list(why.cosines)
    for one in why.nearest_prompts:
        assert cosines[int(one.prompt)] == pytest.approx(one.cosine)
    assert why.cosines == pytest.approx(np.sort(cosines)[::-1][:NEIGHBOURS])


def test_without_a_sample_there_are_cosines_and_no_prompts(scorer: Scorer, embedder: MiniLM):
    assert explained(scorer, embedder, PROOF).nearest_prompts is None


def test_every_line_of_the_shipped_sample_is_the_prompt_of_its_row(
    scorer: Scorer, embedder: MiniLM
):
    sample = read_sample(DEFAULT_ARTEFACT, scorer.weights)
    assert sample is not None
    whole = [row for row, one in enumerate(sample) if len(one.prompt) < QUOTED_CHARS // 2]
    assert len(whole) > 50
    for row in whole[::5]:
        cosines = scorer.weights.sample @ embedder.embed([sample[row].prompt])[0]
        assert cosines[row] == pytest.approx(cosines.max(), abs=0.01)
        assert cosines[row] > 0.9
    assert all(len(one.prompt) <= QUOTED_CHARS for one in sample)


@given(st.lists(st.builds(TrainingPrompt, st.text(), st.text()), max_size=3))
def test_a_sample_is_one_line_a_prompt_whatever_it_says(prompts: list[TrainingPrompt]):
    lines = pack_sample(prompts).splitlines()
    assert [TrainingPrompt(**json.loads(line)) for line in lines] == prompts


def test_an_artefact_without_a_sample_has_none(copy: Path, scorer: Scorer):
    (copy / SAMPLE_FILE).unlink()
    assert read_sample(copy, scorer.weights) is None


def test_a_sample_with_one_byte_changed_is_refused(copy: Path, scorer: Scorer):
    packed = bytearray((copy / SAMPLE_FILE).read_bytes())
    packed[len(packed) // 2] ^= 1
    (copy / SAMPLE_FILE).write_bytes(packed)
    with pytest.raises(ScoreArtefactError, match=f"{SAMPLE_FILE} is not the file") as refused:
        read_sample(copy, scorer.weights)
    assert str(copy) in str(refused.value)


def test_a_sample_that_the_manifest_does_not_name_is_refused(copy: Path, scorer: Scorer):
    manifest = json.loads((copy / MANIFEST_FILE).read_text())
    del manifest[SAMPLE_SHA256]
    (copy / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(ScoreArtefactError, match="not the file the manifest describes"):
        read_sample(copy, scorer.weights)


def test_a_sample_of_another_length_is_refused(copy: Path, scorer: Scorer):
    rows = len(scorer.weights.sample)
    keep(copy, pack_sample([TrainingPrompt("own", "Hello")] * (rows - 1)))
    with pytest.raises(ScoreArtefactError, match=f"has {rows - 1} lines, wanted {rows}"):
        read_sample(copy, scorer.weights)


@pytest.mark.parametrize("packed", [b"[]\n", b"{}\n", b"no\n", b"\xff\n", b'"own"\n'])
def test_a_sample_that_is_no_sample_is_refused(copy: Path, scorer: Scorer, packed: bytes):
    keep(copy, packed)
    with pytest.raises(ScoreArtefactError, match=f"unreadable {SAMPLE_FILE}"):
        read_sample(copy, scorer.weights)


def test_serving_does_not_read_the_sample(copy: Path):
    (copy / SAMPLE_FILE).write_bytes(b"not a sample")
    assert Scorer.load(copy).version == "v3"
