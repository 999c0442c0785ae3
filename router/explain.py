"""What moved one score: each input is replaced by the mean prompt's, and the prompt scored again.

Promises: pure numpy, over the very functions that serve; the same prompt gives the same account.
Effects are on `rank`, the need of the large model before it is cut at 0, so that an easy prompt is
explained as well as a hard one.
Not covered: causes. Inputs that go together share their effect unevenly, so effects do not add up;
and an embedding has no parts that could be named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.features import NAMES
from router.score import NEIGHBOURS, Weights, distances, mean_logits, rank, sigmoid


@dataclass(frozen=True, slots=True)
class Influence:
    """One input's effect on `rank`, in [-2, 2]; above 0 it speaks for the large model.

    `linear` and `trees` say how far it moves logit P(large right) - logit P(small right) in either
    half of the model, before calibration. `value` and `usual` are the input's own, as in
    `router.features`, and the training mean; both are nan for a group of inputs.
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
    nearest sampled training prompts, nearest first.
    """

    rank: float
    features: tuple[Influence, ...]
    surface: Influence
    embedding: Influence
    embedding_share: float
    cosines: tuple[float, ...]


def explain(
    weights: Weights, embedding: NDArray[np.float32], surface: NDArray[np.float32]
) -> Explanation:
    """Explain one prompt from its (E,) unit embedding and (F,) surface features."""
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
    nearest = np.sort(weights.sample @ embedding)[::-1][:NEIGHBOURS]
    return Explanation(
        rank=float(ranks[0]),
        features=tuple(sorted(features, key=lambda one: -abs(one.effect))),
        surface=whole,
        embedding=meaning,
        embedding_share=abs(meaning.effect) / both if both else 0.0,
        cosines=tuple(float(cosine) for cosine in nearest),
    )


def _gap(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) how much higher the large model's logit is, of (N, 2)."""
    return np.asarray(logits[:, 1] - logits[:, 0])
