"""Compute a verifier's features of two prompts: cosine, words of one only, and word order.

Promises: pure; every feature is the same both ways round; one pair takes a few tenths of a
millisecond once both texts are read. Token rows are worked out anew for the few candidates of a
lookup: a prompt of 12 tokens has 9 KB of them in half precision, more than an entry may take.
Not covered: what a gate says (`cache.language.mismatch`); features are for pairs that passed them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cache.language.lexicon import same_meaning
from cache.language.slots import PromptSlots, read

Floats = NDArray[np.float32]

NAMES = (
    "cosine",
    "content_short", "content_long", "content_gap",
    "matched_share", "matched_of_short", "jaccard_content", "jaccard_all",
    "same_content", "same_set", "inversions",
    "left_few", "left_many", "replaced",
    "rare_few", "rare_many", "left_best", "left_worst", "left_pooled", "spelling",
    "token_min_few", "token_min_many", "token_mean_few", "token_mean_many",
    "token_rare_few", "token_rare_many",
    "chars_ratio", "same_start", "question_same", "polar_same", "values", "names",
)  # fmt: skip
_POLAR = frozenset(
    [
        "is",
        "are",
        "was",
        "were",
        "do",
        "does",
        "did",
        "can",
        "could",
        "should",
        "will",
        "would",
        "has",
        "have",
        "may",
    ]
)
# A token's number in the vocabulary grows with its rarity; the first thousand are marks.
_FIRST_WORD = 1000


class TokenEmbedder(Protocol):
    """What `text.embed.MiniLM` offers beyond `core.ports.Embedder`."""

    def embed_tokens(
        self, text: str
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """A unit row (D,), T token ids, (T, D) rows of the tokens."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word by itself: its unit row (D,), and how rare its rarest piece is."""

    row: Floats
    rarity: float


@dataclass(frozen=True, slots=True)
class PromptReading:
    """A prompt read for comparison.

    row (D,) and tokens (T, D) of length 1, rarity (T,); `words` are those of `slots.words`.
    """

    slots: PromptSlots
    row: Floats
    tokens: Floats
    rarity: Floats
    words: tuple[Word, ...]


class PromptReader:
    """Reads prompts for comparison, and keeps the `kept` latest of them."""

    def __init__(self, embedder: TokenEmbedder, kept: int = 1024) -> None:
        self._embedder = embedder
        self.read = lru_cache(kept)(self._read)
        self._word = lru_cache(4 * kept)(self._read_word)

    def _read(self, text: str) -> PromptReading:
        row, ids, states = self._embedder.embed_tokens(text)
        slots = read(text)
        return PromptReading(
            slots, row, _unit(states[1:-1]), _rarity(ids), tuple(map(self._word, slots.words))
        )

    def _read_word(self, word: str) -> Word:
        row, ids, _ = self._embedder.embed_tokens(word)
        return Word(row, float(_rarity(ids).max(initial=0)))


def features(mine: PromptReading, theirs: PromptReading) -> Floats:
    """(F,) float32 in the order of `NAMES`."""
    found = match(mine.slots.content, theirs.slots.content)
    return np.array(
        [
            float(mine.row @ theirs.row),
            *_lexical(mine.slots, theirs.slots, found),
            *_leftovers(mine, theirs, found),
            *_tokens(mine, theirs),
            *_forms(mine.slots, theirs.slots),
        ],
        dtype=np.float32,
    )


@dataclass(frozen=True, slots=True)
class Match:
    """Which content words of two texts are one: pairs of places, and the places left over."""

    places: tuple[tuple[int, int], ...]
    left: tuple[tuple[int, ...], tuple[int, ...]]


def match(mine: Sequence[str], theirs: Sequence[str]) -> Match:
    """Pair equal stems first, then synonyms, each word once.

    Not left over is what the other text says in another place or within a longer word.
    """
    free = list(range(len(theirs)))
    places: dict[int, int] = {}
    for alike in (str.__eq__, same_meaning):
        for at, word in enumerate(mine):
            if at not in places:
                found = next((one for one in free if alike(word, theirs[one])), None)
                if found is not None:
                    places[at] = found
                    free.remove(found)
    left = tuple(at for at in range(len(mine)) if at not in places and _new(mine[at], theirs))
    right = tuple(at for at in free if _new(theirs[at], mine))
    return Match(tuple(sorted(places.items())), (left, right))


def _new(word: str, other: Sequence[str]) -> bool:
    return not any(same_meaning(word, one) or (len(word) > 3 and word in one) for one in other)


def _lexical(mine: PromptSlots, theirs: PromptSlots, found: Match) -> list[float]:
    own, other = mine.content, theirs.content
    short, long = sorted((len(own), len(other)))
    matched = len(found.places)
    order = [place for _, place in found.places]
    turned = sum(one > two for at, one in enumerate(order) for two in order[at + 1 :])
    few, many = sorted(map(len, found.left))
    return [
        short,
        long,
        long - short,
        2 * matched / max(short + long, 1),
        matched / max(short, 1),
        _jaccard(own, other),
        _jaccard(mine.stems, theirs.stems),
        float(own == other),
        float(not few and not many),
        2 * turned / max(matched * (matched - 1), 1),
        few,
        many,
        float(few == many == 1),
    ]


def _leftovers(mine: PromptReading, theirs: PromptReading, found: Match) -> list[float]:
    """What the words that only one text has are to each other; 1 where none is left."""
    ours = [mine.words[at] for at in found.left[0]]
    others = [theirs.words[at] for at in found.left[1]]
    few, many = sorted(max((word.rarity for word in left), default=0.0) for left in (ours, others))
    if not ours and not others:
        return [few, many, 1.0, 1.0, 1.0, 1.0]
    # A word left in one text alone may be said by any word of the other.
    first = _best(ours, others or list(theirs.words))
    second = _best(others, ours or list(mine.words))
    best, worst = max(first, second), min(first, second)
    pooled = 0.0
    if ours and others:
        one, two = (np.sum([word.row for word in left], axis=0) for left in (ours, others))
        pooled = float(one @ two / (np.linalg.norm(one) * np.linalg.norm(two)))
    spelled = [
        _spelling(mine.slots.words[a], theirs.slots.words[b])
        for a in found.left[0]
        for b in found.left[1]
    ]
    return [few, many, best, worst, pooled, max(spelled, default=0.0)]


def _best(words: list[Word], others: list[Word]) -> float:
    """How near the worst off of some words is to its nearest among others."""
    if not words:
        return 1.0
    if not others:
        return 0.0
    table = np.stack([word.row for word in words]) @ np.stack([word.row for word in others]).T
    return float(table.max(axis=1).min())


def _tokens(mine: PromptReading, theirs: PromptReading) -> list[float]:
    """How well each text's tokens are found in the other: worst, mean, mean by rarity."""
    if not len(mine.tokens) or not len(theirs.tokens):
        return [0.0] * 6
    table = mine.tokens @ theirs.tokens.T
    sides = [(table.max(axis=1), mine.rarity), (table.max(axis=0), theirs.rarity)]
    values = [
        (float(near.min()), float(near.mean()), float(near @ rare / max(rare.sum(), 1e-6)))
        for near, rare in sides
    ]
    return [value for pair in zip(*values, strict=True) for value in sorted(pair)]


def _forms(mine: PromptSlots, theirs: PromptSlots) -> list[float]:
    short, long = sorted((len(mine.text), len(theirs.text)))
    starts = [one.stems[0] if one.stems else "" for one in (mine, theirs)]
    return [
        short / max(long, 1),
        float(starts[0] == starts[1]),
        float(mine.question == theirs.question),
        float((starts[0] in _POLAR) == (starts[1] in _POLAR)),
        len(mine.numbers) + len(theirs.numbers),
        len(mine.names | theirs.names),
    ]


def _jaccard(own: Sequence[str], other: Sequence[str]) -> float:
    both = set(own) | set(other)
    return len(set(own) & set(other)) / len(both) if both else 1.0


def _spelling(one: str, other: str) -> float:
    """Dice overlap of letter pairs: 1 for one word, high for a slip of the finger."""
    pairs = [{word[at : at + 2] for at in range(len(word) - 1)} for word in (one, other)]
    return 2 * len(pairs[0] & pairs[1]) / max(len(pairs[0]) + len(pairs[1]), 1)


def _unit(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / np.maximum(length, 1e-6)
    return unit


def _rarity(ids: NDArray[np.int64]) -> Floats:
    rarity: Floats = np.log(np.maximum(ids[1:-1] - _FIRST_WORD, 1)).astype(np.float32)
    return rarity


def nbytes(reading: PromptReading) -> int:
    """What a reading's arrays take, without the words', which are shared."""
    return math.ceil(reading.row.nbytes + reading.tokens.nbytes + reading.rarity.nbytes)
