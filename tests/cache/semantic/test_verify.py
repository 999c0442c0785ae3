"""The verifier: shipped weights are whole and behave; spoilt ones are refused by name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cache.semantic import neighbours, pair
from cache.semantic.pair import PromptReader
from cache.semantic.verify import (
    CONSENSUS,
    DEFAULT_ARTEFACT,
    MANIFEST_FILE,
    PAIR,
    WEIGHTS_FILE,
    Judge,
    Verifier,
    VerifierArtefactError,
    pack,
    unpack,
)
from learning.trees import Forest
from text.embed import MiniLM


@pytest.fixture(scope="module")
def reader() -> PromptReader:
    return PromptReader(MiniLM.installed())


@pytest.fixture(scope="module")
def verifier(reader: PromptReader) -> Verifier:
    return Verifier.load(reader)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFAULT_ARTEFACT, tmp_path / "v1"))


def test_a_rewording_is_likelier_than_a_near_miss(verifier: Verifier):
    cached = "How do I install a printer in the office?"
    reworded = verifier.pair(cached, "What is the way to install a printer in the office?")
    other = verifier.pair(cached, "How do I install a camera in the office?")
    assert reworded > verifier.thresholds["0.025"].pair > other


def test_a_pair_is_judged_the_same_both_ways(verifier: Verifier):
    one, other = "best hiking trails in Peru", "top hiking trails in Peru"
    assert verifier.pair(one, other) == pytest.approx(verifier.pair(other, one), abs=1e-6)
    assert verifier.pair(one, one) == 1


def test_agreement_is_surer_than_disagreement(verifier: Verifier):
    cosines = [0.9, 0.88, 0.86, 0.6]
    agreed = verifier.consensus(cosines, ["x", "x", "x", "y"])
    split = verifier.consensus(cosines, ["x", "y", "y", "y"])
    assert agreed > verifier.thresholds["0.025"].consensus > split


def test_a_higher_cosine_never_makes_a_pair_less_likely():
    packed = (DEFAULT_ARTEFACT / WEIGHTS_FILE).read_bytes()
    judge = unpack(packed, DEFAULT_ARTEFACT)[PAIR]
    draws = np.random.default_rng(0)
    for row in draws.random((20, len(pair.NAMES))).astype(np.float32) * 3:
        said = []
        for cosine in np.linspace(0.5, 1, 21):
            row[0] = cosine
            said.append(judge.probability(row))
        assert np.diff(said).min() >= -1e-9


def test_a_stricter_level_asks_for_more(verifier: Verifier):
    strict, loose = verifier.thresholds["0.01"], verifier.thresholds["0.025"]
    assert strict.pair >= loose.pair
    assert strict.consensus >= loose.consensus


def test_packing_is_deterministic_and_whole():
    forest = Forest(
        1,
        np.zeros((1, 1), dtype=np.int16),
        np.array([[0.5]], dtype=np.float32),
        np.array([[-1, 1]], dtype=np.float32),
    )
    judges = {kind: Judge(forest, 1.0, 0.0) for kind in (PAIR, CONSENSUS)}
    assert pack(judges) == pack(judges)
    back = unpack(pack(judges), Path("x"))[CONSENSUS]
    low, high = (np.full(len(neighbours.NAMES), at, dtype=np.float32) for at in (0, 1))
    assert back.probability(low) == pytest.approx(1 - back.probability(high))
    assert back.probability(high) == pytest.approx(1 / (1 + np.exp(-1)))


def test_other_bytes_than_the_manifests_are_refused(copied: Path, reader: PromptReader):
    with (copied / WEIGHTS_FILE).open("ab") as file:
        file.write(b"x")
    with pytest.raises(VerifierArtefactError, match="not the file"):
        Verifier.load(reader, copied)


def test_other_features_are_refused(copied: Path, reader: PromptReader):
    path = copied / MANIFEST_FILE
    told = json.loads(path.read_text(encoding="utf-8"))
    told["features"]["pair"][0] = "luck"
    path.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(VerifierArtefactError, match="other features"):
        Verifier.load(reader, copied)


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"thresholds": 1}'])
def test_a_broken_manifest_is_refused(copied: Path, reader: PromptReader, manifest: str):
    (copied / MANIFEST_FILE).write_text(manifest, encoding="utf-8")
    with pytest.raises(VerifierArtefactError, match="unreadable"):
        Verifier.load(reader, copied)


def test_a_missing_folder_is_refused(tmp_path: Path, reader: PromptReader):
    with pytest.raises(VerifierArtefactError):
        Verifier.load(reader, tmp_path / "none")


def test_bytes_that_are_no_archive_are_refused():
    with pytest.raises(VerifierArtefactError):
        unpack(b"PK\x03\x04 but no more", Path("x"))
