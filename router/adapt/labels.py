"""Store labels of scored prompts, and learn a correction of the score from them.

Promises: a label holds numbers only, never a prompt's text; everything is pure. A label says
how right one tier was; where it says nothing of the other, the shipped probability stands in, at
the level of those labels that do speak of that tier.
Not covered: where labels are kept (`deployments.router.label_store`), and labels that are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from router.adapt.adapt import MIN_ROWS, Adapted, Floats, LabelledPrompt, fit
from router.score.features import NAMES
from router.score.model import HEADS, Scorer, sigmoid
from text.embed import EMBEDDING_SIZE

Kind = TypeVar("Kind")
# From this many labels of a tier on, they tell its level.
LEVEL_LABELS = 10
# How far that may move a logit, and how often the interval is halved.
MOST_SHIFT, SHIFT_STEPS = 20.0, 40
# A new adaptation is worth its tenth of a second when labels have grown by one in so many.
GROWTH = 10


class ScoredPrompt(msgspec.Struct, frozen=True):
    """A prompt as it was scored: the embedding's half-precision and the features' bytes."""

    embedding: bytes
    surface: bytes

    @classmethod
    def of(cls, embedding: NDArray[np.float32], surface: NDArray[np.float32]) -> ScoredPrompt:
        """From (E,) and (F,)."""
        return cls(embedding.astype(np.float16).tobytes(), surface.astype(np.float32).tobytes())

    def to_bytes(self) -> bytes:
        """For a store."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, raw: bytes) -> ScoredPrompt:
        """Read what `to_bytes` wrote; raises `ValueError` for anything else."""
        return _decoded(raw, cls)


class Label(msgspec.Struct, frozen=True):
    """How right a head's tier was on a prompt, in [0, 1]; head 0 is the small one, 1 the large."""

    seen: ScoredPrompt
    head: int
    right: float

    def to_bytes(self) -> bytes:
        """For a store."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Label:
        """Read what `to_bytes` wrote; raises `ValueError` for anything else."""
        return _decoded(raw, cls)

    @property
    def fits(self) -> bool:
        """Whether it is of this code's embedder, features and heads."""
        return (
            len(self.seen.embedding) == 2 * EMBEDDING_SIZE
            and len(self.seen.surface) == 4 * len(NAMES)
            and self.head in range(HEADS)
            and 0 <= self.right <= 1
        )


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a scorer was last taught: the labels ever given until then, and what came of it."""

    given: int
    scorer: Scorer | Adapted

    def wants(self, given: int) -> bool:
        """Whether the labels given by now are worth another lesson.

        Fewer than before are, too: the memory was lost, and with it what it taught.
        """
        if given < self.given:
            return True
        wanted = max(self.given + self.given // GROWTH, self.given + 1, MIN_ROWS)
        return given >= wanted


def taught(scorer: Scorer, labels: Sequence[Label], given: int) -> Lesson:
    """The shipped scorer with what the labels teach, or as it is when they are too few."""
    usable = [label for label in labels if label.fits]
    if len({label.seen for label in usable}) < MIN_ROWS:
        return Lesson(given, scorer)
    return Lesson(given, fit(scorer, labelled(scorer, usable)))


def labelled(scorer: Scorer, labels: Sequence[Label]) -> LabelledPrompt:
    """The labels as rows, one for each prompt; every label must fit. A later one outweighs."""
    places: dict[ScoredPrompt, int] = {}
    for label in labels:
        places.setdefault(label.seen, len(places))
    halves = np.stack([np.frombuffer(seen.embedding, np.float16) for seen in places])
    surfaces = np.stack([np.frombuffer(seen.surface, np.float32) for seen in places])
    embeddings = halves.astype(np.float32)
    shipped = scorer.judge(embeddings, surfaces).probability
    right = np.full_like(shipped, np.nan)
    for label in labels:
        right[places[label.seen], label.head] = label.right
    return LabelledPrompt(embeddings, surfaces, completed(right, shipped))


def completed(right: Floats, shipped: Floats) -> Floats:
    """(N, 2) `right`, what is not known (NaN) filled from the `shipped` (N, 2) probabilities.

    Traffic labels the tier that answered. As it is shipped, the other's probability would say that
    each tier is as good as its shipped level wherever it did not answer. At the level of its labels
    instead, over eight domains with 500 calls labelled so: ECE .065 for .091 and APGR .563 for .535
    where the score chose the tier, .047 for .097 and .569 for .562 where chance did.
    """
    filled = right.copy()
    for head in range(HEADS):
        known, said = np.isfinite(right[:, head]), shipped[:, head]
        if known.sum() >= LEVEL_LABELS:
            said = _levelled(said, known, right[known, head])
        filled[~known, head] = said[~known]
    return filled


def _levelled(said: Floats, known: NDArray[np.bool_], right: Floats) -> Floats:
    """(N,) probabilities, their logits moved alike until the `known` ones have the mean of `right`.

    One more label says what was said, so that labels that all agree prove no certainty. By halving
    the interval: Newton's method may run away where what was said is sure of itself and wrong.
    """
    logits = np.log(said) - np.log1p(-said)
    wanted = (right.sum() + said[known].mean()) / (len(right) + 1)
    low, high = -MOST_SHIFT, MOST_SHIFT
    for _ in range(SHIFT_STEPS):
        middle = (low + high) / 2
        too_low = sigmoid(logits[known] + middle).mean() < wanted
        low, high = (middle, high) if too_low else (low, middle)
    return sigmoid(logits + low)


def _decoded(raw: bytes, kind: type[Kind]) -> Kind:
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a {kind.__name__.lower()}: {error}") from error
