"""Explain a score: replace each input by the mean prompt's and score again.

Promises: pure numpy, over the very functions that serve; the same prompt gives the same account.
Effects are on `rank`, the need of the large model before it is cut at 0, so that an easy prompt is
explained as well as a hard one.
The nearest training prompts are told from a file of the artefact that serving never reads; it is
used only if it is the one that the manifest describes.
Not covered: causes. Inputs that go together share their effect unevenly, so effects do not add up;
and an embedding has no parts that could be named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.files.problem import missing
from router.score.features import NAMES
from router.score.model import (
    MANIFEST_FILE,
    NEIGHBOURS,
    ScoreArtefactError,
    Weights,
    distances,
    mean_logits,
    rank,
    sigmoid,
)

SAMPLE_FILE, SAMPLE_SHA256 = "sample.jsonl", "sample_sha256"
QUOTED_CHARS = 160


@dataclass(frozen=True, slots=True)
class TrainingPrompt:
    """The data set that a sampled training prompt is of, and how the prompt begins, on one line."""

    source: str
    prompt: str


@dataclass(frozen=True, slots=True)
class NearPrompt:
    """A training prompt and its cosine, in [-1, 1], to the prompt explained."""

    cosine: float
    source: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Influence:
    """One input's effect on `rank`, in [-2, 2]; above 0 it speaks for the large model.

    `linear` and `trees` say how far it moves logit P(large right) - logit P(small right) in either
    half of the model, before calibration. `value` and `usual` are the input's own, as in
    `router.score.features`, and the training mean; both are nan for a group of inputs.
    """

    name: str
    value: float
    usual: float
    effect: float
    linear: float
    trees: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """`features` by size of effect, those at their usual value left out; groups at once beside.

    `embedding_share` in [0, 1]: the embedding's effect over that of both groups. `cosines`: of the
    nearest sampled training prompts, nearest first. `nearest_prompts`: those prompts; None where
    the artefact has not kept them.
    """

    rank: float
    features: tuple[Influence, ...]
    surface: Influence
    embedding: Influence
    embedding_share: float
    cosines: tuple[float, ...]
    nearest_prompts: tuple[NearPrompt, ...] | None


def pack_sample(sample: Iterable[TrainingPrompt]) -> bytes:
    """The bytes of `sample.jsonl`: one JSON object a line, in the order of `Weights.sample`."""
    lines = (json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in sample)
    return "".join(lines).encode()


def read_sample(folder: Path, weights: Weights) -> tuple[TrainingPrompt, ...] | None:
    """The prompts of `weights.sample`, row by row; None for an artefact without their file.

    Raises `ScoreArtefactError` if the file is not the one in the manifest or does not fit the
    weights.
    """
    try:
        packed = (folder / SAMPLE_FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ScoreArtefactError(folder, [f"unreadable {SAMPLE_FILE}: {missing(error)}"]) from error
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        if hashlib.sha256(packed).hexdigest() != manifest.get(SAMPLE_SHA256):
            raise ScoreArtefactError(
                folder, [f"{SAMPLE_FILE} is not the file the manifest describes"]
            )
        lines = [json.loads(line) for line in packed.split(b"\n") if line]
        sample = tuple(TrainingPrompt(str(one["source"]), str(one["prompt"])) for one in lines)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScoreArtefactError(folder, [f"unreadable {SAMPLE_FILE}: {missing(error)}"]) from error
    if len(sample) != len(weights.sample):
        wanted = f"wanted {len(weights.sample)}, a line for each sampled prompt"
        raise ScoreArtefactError(folder, [f"{SAMPLE_FILE} has {len(sample)} lines, {wanted}"])
    return sample


def explain(
    weights: Weights,
    embedding: NDArray[np.float32],
    surface: NDArray[np.float32],
    sample: Sequence[TrainingPrompt] | None = None,
) -> Explanation:
    """Explain one prompt from its (E,) unit embedding and (F,) surface features.

    `sample`: the texts of `weights.sample`, row by row, if they were kept.
    """
    size = len(NAMES)
    usual = weights.centre[:size]
    # Row 0 is the prompt; then one for each feature, one for all of them, one for the embedding.
    surfaces = np.tile(surface, (size + 3, 1))
    surfaces[np.arange(1, size + 1), np.arange(size)] = usual
    surfaces[size + 1] = usual
    embeddings = np.tile(embedding, (size + 3, 1))
    embeddings[size + 2] = weights.centre[size:]
    mean = mean_logits(weights, embeddings, surfaces)
    forest = weights.forest.logits(surfaces)
    slopes, offsets = weights.platt.T
    probability = sigmoid(mean * slopes + offsets)
    # The prompt stays where it is: a mean embedding's distance would say nothing.
    distance = np.repeat(distances(weights.sample, embedding[None]), size + 3).astype(np.float64)
    ranks = rank(probability, distance, weights.reach)
    effect, linear, trees = (
        values[0] - values for values in (ranks, _gap(2 * mean - forest), _gap(forest))
    )

    def influence(row: int, name: str, value: float, mean_value: float) -> Influence:
        moved = (float(part[row]) for part in (effect, linear, trees))
        return Influence(name, value, mean_value, *moved)

    nan = float("nan")
    features = [
        influence(1 + index, name, float(surface[index]), float(usual[index]))
        for index, name in enumerate(NAMES)
        if surfaces[0, index] != usual[index]
    ]
    whole = influence(size + 1, "surface", nan, nan)
    meaning = influence(size + 2, "embedding", nan, nan)
    both = abs(whole.effect) + abs(meaning.effect)
    cosines = weights.sample @ embedding
    nearest = [(float(cosines[row]), int(row)) for row in np.argsort(-cosines)[:NEIGHBOURS]]
    return Explanation(
        rank=float(ranks[0]),
        features=tuple(sorted(features, key=lambda one: -abs(one.effect))),
        surface=whole,
        embedding=meaning,
        embedding_share=abs(meaning.effect) / both if both else 0.0,
        cosines=tuple(cosine for cosine, _ in nearest),
        nearest_prompts=None if sample is None else _quoted(sample, nearest),
    )


def _quoted(
    sample: Sequence[TrainingPrompt], nearest: Iterable[tuple[float, int]]
) -> tuple[NearPrompt, ...]:
    return tuple(
        NearPrompt(cosine, sample[row].source, sample[row].prompt) for cosine, row in nearest
    )


def _gap(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) how much higher the large model's logit is, of (N, 2)."""
    return np.asarray(logits[:, 1] - logits[:, 0])
