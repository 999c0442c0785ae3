"""Estimate the probability that one stored answer serves another prompt, too.

Promises: an artefact is data only (no pickle), used only if its SHA-256 is the one in its manifest
and it was made for these features; probabilities are calibrated on pairs that the trees did not
see; a higher cosine never lowers the probability of a pair.
Not covered: gates (`cache.language.mismatch`) and the decision (`cache.semantic.consensus`).
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cache.semantic import neighbours, pair
from cache.semantic.pair import PromptReader
from core.errors import SettingsError
from core.files.problem import missing
from learning.trees import Forest

DEFAULT_ARTEFACT = Path(__file__).parents[1] / "weights" / "v2"
MANIFEST_FILE, WEIGHTS_FILE = "manifest.json", "weights.npz"
PAIR, CONSENSUS = "pair", "consensus"
FEATURES = {PAIR: pair.NAMES, CONSENSUS: neighbours.NAMES}


class VerifierArtefactError(SettingsError):
    """The verifier's weights cannot be used; names the folder and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The least probability that serves: of a pair, and of a neighbourhood that agrees."""

    pair: float
    consensus: float


@dataclass(frozen=True, slots=True)
class Judge:
    """Trees, and the slope and offset that make their logit a probability."""

    forest: Forest
    slope: float
    offset: float

    def probability(self, features: NDArray[np.float32]) -> float:
        """For one row (F,)."""
        logit = float(self.forest.logits(features[None])[0, 0]) * self.slope + self.offset
        return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))


class Verifier:
    """A loaded artefact over an embedder. Safe to share between threads."""

    def __init__(
        self,
        judges: dict[str, Judge],
        thresholds: dict[str, Thresholds],
        version: str,
        reader: PromptReader,
    ) -> None:
        self._judges = judges
        self._reader = reader
        self.thresholds = thresholds
        self.version = version

    @classmethod
    def load(cls, reader: PromptReader, folder: Path = DEFAULT_ARTEFACT) -> Verifier:
        """Read and check an artefact; raises `VerifierArtefactError`."""
        try:
            manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
            packed = (folder / WEIGHTS_FILE).read_bytes()
            sha256, version = manifest["weights_sha256"], str(manifest["version"])
            thresholds = {
                name: Thresholds(float(told[PAIR]), float(told[CONSENSUS]))
                for name, told in manifest["thresholds"].items()
            }
            names = {kind: tuple(manifest["features"][kind]) for kind in FEATURES}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise VerifierArtefactError(folder, [f"unreadable: {missing(error)}"]) from error
        if hashlib.sha256(packed).hexdigest() != sha256:
            raise VerifierArtefactError(
                folder, [f"{WEIGHTS_FILE} is not the file the manifest describes"]
            )
        if names != FEATURES:
            raise VerifierArtefactError(folder, ["it was trained on other features than these"])
        return cls(unpack(packed, folder), thresholds, version, reader)

    def pair(self, cached: str, query: str) -> float:
        """P(the answer to `cached` serves `query`), in [0, 1]. Symmetric."""
        if cached == query:
            return 1.0
        found = pair.features(self._reader.read(cached), self._reader.read(query))
        return self._judges[PAIR].probability(found)

    def consensus(self, cosines: list[float], answers: list[str]) -> float:
        """P(the nearest entry's answer serves), from the neighbours, nearest first; in [0, 1]."""
        return self._judges[CONSENSUS].probability(neighbours.features(cosines, answers))


def pack(judges: dict[str, Judge]) -> bytes:
    """The bytes of `weights.npz`; the same judges give the same bytes."""
    buffer = io.BytesIO()
    arrays: dict[str, NDArray[np.generic]] = {}
    for kind, judge in judges.items():
        arrays[f"{kind}_feature"] = judge.forest.feature
        arrays[f"{kind}_threshold"] = judge.forest.threshold
        arrays[f"{kind}_leaf"] = judge.forest.leaf
        arrays[f"{kind}_platt"] = np.array([judge.slope, judge.offset])
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def unpack(packed: bytes, source: Path) -> dict[str, Judge]:
    """The judges of a `weights.npz`; `source` only names it in an `VerifierArtefactError`."""
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
            judges = {kind: _judge(kind, dict(archive)) for kind in FEATURES}
    except (OSError, ValueError, KeyError, IndexError, BadZipFile) as error:
        raise VerifierArtefactError(source, [f"unreadable weights: {missing(error)}"]) from error
    return judges


def _judge(kind: str, arrays: dict[str, NDArray[np.generic]]) -> Judge:
    forest = Forest(
        1,
        arrays[f"{kind}_feature"].astype(np.int16),
        arrays[f"{kind}_threshold"].astype(np.float32),
        arrays[f"{kind}_leaf"].astype(np.float32),
    )
    trees, inner = forest.feature.shape
    if forest.threshold.shape != (trees, inner) or forest.leaf.shape != (trees, inner + 1):
        raise ValueError(f"the trees of {kind} do not fit together")
    if forest.feature.size and int(forest.feature.max()) >= len(FEATURES[kind]):
        raise ValueError(f"the trees of {kind} ask for a feature that there is not")
    slope, offset = arrays[f"{kind}_platt"].astype(np.float64)
    return Judge(forest, float(slope), float(offset))
