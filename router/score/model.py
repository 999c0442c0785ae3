"""The learned score: how likely each model answers a prompt right, from versioned weights.

Promises: an artefact is data only (no pickle); its weights are used only if their SHA-256 is the
one in the manifest and their shapes fit this code; scoring is pure and takes well under 0.1 ms.
`Score.need` is what a policy compares with its threshold: the large model's advantage, where the
prompt is like those that were learned from. The less alike it is, the more it follows
P(small wrong) times the share of such mistakes that the large model repairs in general: on unknown
ground the difference of two guesses is noise, the first guess is not.
Not covered: the cut-off, which belongs to the policy; and what these models would do in truth on
a prompt unlike any in the training data, which `distance` tells.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import SettingsError
from core.files.problem import missing
from learning.trees import Forest
from router.score.features import NAMES
from text.embed import EMBEDDING_SIZE

DEFAULT_ARTEFACT = Path(__file__).parents[1] / "weights" / "v3"
MANIFEST_FILE, WEIGHTS_FILE = "manifest.json", "weights.npz"
HEADS = 2  # 0: P(small right), 1: P(large right)
# Standardised inputs are cut here: a prompt of 10,000 digits is odd, not 100 times odder.
Z_LIMIT = 4.0
NEIGHBOURS = 5
# What is added to the version of a score that was made without an embedding.
SURFACE_ONLY = "-surface"


class ScoreArtefactError(SettingsError):
    """The router's weights cannot be used; names the folder and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Score:
    """What is expected of a prompt. All but `gain`, in [-1, 1], and `distance` lie in [0, 1].

    `distance` is 1 - mean cosine to the `NEIGHBOURS` nearest of a sample of the training prompts;
    `need` is how much the large model is needed; never negative, for a loss is no need.
    `threshold` is the cut-off that its weights, and what they were taught, came with.
    """

    difficulty: float
    gain: float
    p_small: float
    p_large: float
    distance: float
    need: float
    version: str
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """The arrays of an artefact; F surface features, E embedding size, S sampled prompts.

    centre, scale (F + E,); linear (2, F + E); bias (2,); tree_* as in `Forest`;
    platt (2, 2): slope and offset per head on the mean logit; sample (S, E) unit rows;
    reach (3,): the distances at which a prompt begins to be and is wholly strange, and the share
    of the small model's mistakes that the large one repairs; tree_platt (2, 2): as platt, on the
    logit of the trees alone, for when there is no embedding.
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    linear: NDArray[np.float32]
    bias: NDArray[np.float32]
    tree_feature: NDArray[np.int16]
    tree_threshold: NDArray[np.float32]
    tree_leaf: NDArray[np.float32]
    platt: NDArray[np.float32]
    sample: NDArray[np.float32]
    reach: NDArray[np.float32]
    tree_platt: NDArray[np.float32]

    @property
    def forest(self) -> Forest:
        """The trees of both heads."""
        return Forest(HEADS, self.tree_feature, self.tree_threshold, self.tree_leaf)

    def problems(self) -> list[str]:
        """What does not fit this code, in words; empty when all is well."""
        size = len(NAMES) + EMBEDDING_SIZE
        trees, inner = self.tree_feature.shape if self.tree_feature.ndim == 2 else (0, 0)
        wanted: dict[str, tuple[int, ...]] = {
            "centre": (size,),
            "scale": (size,),
            "linear": (HEADS, size),
            "bias": (HEADS,),
            "tree_threshold": (trees, inner),
            "tree_leaf": (trees, inner + 1),
            "platt": (HEADS, 2),
            "sample": (len(self.sample), EMBEDDING_SIZE),
            "reach": (3,),
            "tree_platt": (HEADS, 2),
        }
        found = [
            f"{name} has shape {getattr(self, name).shape}, wanted {shape}"
            for name, shape in wanted.items()
            if getattr(self, name).shape != shape
        ]
        if trees % HEADS or (inner + 1) & inner:
            found.append(f"tree_feature of shape {self.tree_feature.shape} is not whole trees")
        return found


def mean_logits(
    weights: Weights, embeddings: NDArray[np.float32], surfaces: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(N, 2) mean of the linear and the tree logit, before calibration.

    `embeddings` (N, E) and `surfaces` (N, F), row by row of the same prompts.
    """
    rows = np.hstack([surfaces, embeddings])
    standard = np.clip((rows - weights.centre) / weights.scale, -Z_LIMIT, Z_LIMIT)
    linear = standard @ weights.linear.T + weights.bias
    mean: NDArray[np.float64] = (linear + weights.forest.logits(surfaces)) / 2
    return mean


def distances(sample: NDArray[np.float32], embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) 1 - mean cosine of each (N, E) unit row to its nearest rows of `sample` (S, E)."""
    cosines = embeddings @ sample.T
    nearest = np.partition(cosines, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
    found: NDArray[np.float32] = 1.0 - nearest.mean(axis=1)
    return found


def rank(
    probability: NDArray[np.float64], distance: NDArray[np.float64], reach: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(N,) in [-1, 1]: `need` before its cut at 0, so that expected losses are ordered too.

    From (N, 2) probabilities and (N,) distances.
    """
    near, far, repaired = reach
    strange = np.clip((distance - near) / (far - near), 0, 1)
    wrong = 1 - probability[:, 0]
    return np.asarray((1 - strange) * advantage(probability) + strange * repaired * wrong)


def advantage(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) in [-1, 1]: mean of the expected gain and of the gap between the two models' logits.

    The gap is brought to the gain's scale (they are alike where both models are right half of the
    time). Where the subject is new, the level of both probabilities is a guess and moves the gain,
    not the gap: alone it ranked subjects never seen better, and a strange mix of tasks worse.
    """
    logits = np.log(probability) - np.log1p(-probability)
    gap = np.tanh((logits[:, 1] - logits[:, 0]) / 4)
    return np.asarray((probability[:, 1] - probability[:, 0] + gap) / 2)


def need(
    probability: NDArray[np.float64], distance: NDArray[np.float64], reach: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(N,) how much the large model is needed, from (N, 2) probabilities and (N,) distances."""
    return np.asarray(np.clip(rank(probability, distance, reach), 0, 1))


@dataclass(frozen=True, slots=True)
class Judged:
    """N prompts at once: probability (N, 2), distance and rank (N,), float64."""

    probability: NDArray[np.float64]
    distance: NDArray[np.float64]
    rank: NDArray[np.float64]

    def score(self, row: int, version: str) -> Score:
        """The `Score` of one row."""
        p_small, p_large = (float(value) for value in self.probability[row])
        return Score(
            difficulty=1.0 - p_small,
            gain=p_large - p_small,
            p_small=p_small,
            p_large=p_large,
            distance=float(self.distance[row]),
            need=float(np.clip(self.rank[row], 0, 1)),
            version=version,
        )


class Scorer:
    """A loaded artefact. Safe to share between threads: nothing changes after loading."""

    def __init__(self, weights: Weights, version: str, threshold: float) -> None:
        self._weights = weights
        self.version = version
        self.threshold = threshold

    @classmethod
    def load(cls, folder: Path = DEFAULT_ARTEFACT) -> Scorer:
        """Read and check an artefact; raises `ScoreArtefactError`."""
        try:
            manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
            packed = (folder / WEIGHTS_FILE).read_bytes()
            sha256, names = manifest["weights_sha256"], manifest["features"]
            version, threshold = str(manifest["version"]), float(manifest["threshold"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ScoreArtefactError(folder, [f"unreadable: {missing(error)}"]) from error
        if hashlib.sha256(packed).hexdigest() != sha256:
            raise ScoreArtefactError(
                folder, [f"{WEIGHTS_FILE} is not the file the manifest describes"]
            )
        if tuple(names) != NAMES:
            raise ScoreArtefactError(
                folder, ["it was trained on other surface features than these"]
            )
        weights = unpack(packed, folder)
        if problems := weights.problems():
            raise ScoreArtefactError(folder, problems)
        return cls(weights, version, threshold)

    @property
    def weights(self) -> Weights:
        """The arrays behind the scores."""
        return self._weights

    @property
    def familiar(self) -> float:
        """The distance up to which a prompt counts as like those learned from."""
        return float(self._weights.reach[0])

    def judge(self, embeddings: NDArray[np.float32], surfaces: NDArray[np.float32]) -> Judged:
        """Judge N prompts from their (N, E) unit embeddings and (N, F) surface features."""
        slopes, offsets = self._weights.platt.T.astype(np.float64)
        logits = mean_logits(self._weights, embeddings, surfaces)
        probability = sigmoid(logits * slopes + offsets)
        distance = distances(self._weights.sample, embeddings).astype(np.float64)
        return Judged(probability, distance, rank(probability, distance, self._weights.reach))

    def score(self, embedding: NDArray[np.float32], surface: NDArray[np.float32]) -> Score:
        """Score one prompt from its (E,) unit embedding and (F,) surface features."""
        return self.judge(embedding[None], surface[None]).score(0, self.version)

    def score_surface(self, surface: NDArray[np.float32]) -> Score:
        """Score one prompt whose embedding is late, from its (F,) surface features alone.

        The probabilities have a calibration of their own; the version says so, and `distance` is
        1, for nothing is known of how familiar the prompt is.
        """
        slopes, offsets = self._weights.tree_platt.T.astype(np.float64)
        probability = sigmoid(self._weights.forest.logits(surface[None]) * slopes + offsets)
        judged = Judged(probability, np.ones(1), advantage(probability))
        return judged.score(0, self.version + SURFACE_ONLY)


def pack(weights: Weights) -> bytes:
    """The bytes of `weights.npz`; the sample is kept in half precision."""
    buffer = io.BytesIO()
    arrays = {field.name: getattr(weights, field.name) for field in fields(Weights)}
    np.savez_compressed(buffer, **{**arrays, "sample": weights.sample.astype(np.float16)})
    return buffer.getvalue()


def unpack(packed: bytes, source: Path) -> Weights:
    """The arrays of a `weights.npz`; `source` only names it in an error."""
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
            # Weights older than the surface score have trees whose logits need no scaling.
            old = {"tree_platt": np.array([[1, 0]] * HEADS, dtype=np.float32)}
            arrays = {**old, **{name: archive[name] for name in archive.files}}
            arrays = {field.name: arrays[field.name] for field in fields(Weights)}
    except (OSError, ValueError, KeyError) as error:
        raise ScoreArtefactError(source, [f"unreadable weights: {missing(error)}"]) from error
    return Weights(**{**arrays, "sample": arrays["sample"].astype(np.float32)})


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits to probabilities, any shape."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))))
