"""Choose the stored answer that serves a prompt, if any, and say why.

Promises: pure but for the verifier's memory of texts; an entry serves only past all gates; a
neighbour alone serves on the verifier's word, and several that carry one answer on that of all
neighbours. Every refusal has a reason of `cache.language.mismatch.Mismatch`.
Not covered: finding the neighbours, and who may share with whom (`cache.scope`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from cache.language.mismatch import Mismatch, never, refusal, unexplained
from cache.language.normal_form import same_words
from cache.semantic.boundary import Boundary, explores
from cache.semantic.neighbours import NEIGHBOURS
from cache.semantic.verify import Thresholds

# Farther entries are not worth a gate. No pair of the training sets beyond it is worth serving.
FLOOR_COSINE = 0.5
# Past this many a prompt's candidates are not read: each costs an embedding.
VERIFIED = 3


class ServedBy(StrEnum):
    """On whose word an answer serves: a metric's label."""

    SAME_TEXT = "same_text"
    VERIFIED = "verified"
    CONSENSUS = "consensus"
    # By a model that was asked about the pair (`cache.semantic.verdict`), after the trees refused
    # it.
    JUDGED = "judged"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored entry near a prompt. Entries with one answer have one `answer` key."""

    text: str
    cosine: float
    answer: str
    boundary: Boundary | None = None


@dataclass(frozen=True, slots=True)
class ConsensusSettings:
    """Frozen cut-offs; `delta` is the error bound of `semantic.boundary`, None without outcomes."""

    thresholds: Thresholds
    delta: float | None = None


@dataclass(frozen=True, slots=True)
class EntryChoice:
    """The place among the candidates that serves, or None; and why.

    `confidence` in [0, 1] is the probability that decided, 0 where a gate did; `nearest` is the
    candidate that the reason is about.
    """

    entry: int | None
    reason: Mismatch | ServedBy
    confidence: float
    nearest: int | None = None


class Judges(Protocol):
    """What is asked of `cache.semantic.verify.Verifier`."""

    def pair(self, cached: str, query: str) -> float:
        """P(the answer to `cached` serves `query`)."""

    def consensus(self, cosines: list[float], answers: list[str]) -> float:
        """P(the nearest entry's answer serves), nearest first."""


def choose(
    query: str,
    candidates: Sequence[Candidate],
    verifier: Judges,
    settings: ConsensusSettings,
    draw: float = 0.0,
) -> EntryChoice:
    """Decide over the nearest entries, given nearest first; `draw` in [0, 1) is for exploring."""
    if (reason := never(query)) is not None:
        return EntryChoice(None, reason, 0.0)
    near = candidates[:NEIGHBOURS]
    if not near or near[0].cosine < FLOOR_COSINE:
        return EntryChoice(None, Mismatch.DISTANT, 0.0)
    refused = [_refused(one, query) for one in near]
    choice = _agreed(near, refused, verifier, settings)
    if choice is None or choice.entry is None:
        choice = _verified(query, near, refused, verifier, settings)
    return _explored(choice, candidates, settings, draw)


def _refused(one: Candidate, query: str) -> Mismatch | None:
    """Why an entry may not serve itself; it still has a say in what the neighbours agree on."""
    if one.cosine < FLOOR_COSINE:
        return Mismatch.DISTANT
    return refusal(one.text, query) or never(one.text)


def _agreed(
    near: Sequence[Candidate],
    refused: Sequence[Mismatch | None],
    verifier: Judges,
    settings: ConsensusSettings,
) -> EntryChoice | None:
    """By consensus: at least two entries have the nearest one's answer, and one passes the gates.

    Without a second entry there is no consensus to ask, and the answer is None.
    """
    answer = near[0].answer
    agreeing = [at for at, one in enumerate(near) if one.answer == answer]
    passing = [at for at in agreeing if refused[at] is None]
    if len(agreeing) < 2 or not passing:
        return None
    sure = verifier.consensus([one.cosine for one in near], [one.answer for one in near])
    if sure < settings.thresholds.consensus:
        return EntryChoice(None, Mismatch.DISAGREEMENT, sure, passing[0])
    return EntryChoice(passing[0], ServedBy.CONSENSUS, sure, passing[0])


def _verified(
    query: str,
    near: Sequence[Candidate],
    refused: Sequence[Mismatch | None],
    verifier: Judges,
    settings: ConsensusSettings,
) -> EntryChoice:
    """By the verifier's word on a pair, unless the neighbours contradict it."""
    passing = [at for at, reason in enumerate(refused) if reason is None][:VERIFIED]
    if not passing:
        return EntryChoice(None, refused[0] or Mismatch.UNSURE, 0.0, 0)
    for at in passing:
        if same_words(near[at].text, query):
            return EntryChoice(at, ServedBy.SAME_TEXT, 1.0, at)
    doubts = {at: unexplained(near[at].text, query) for at in passing}
    explained = [at for at in passing if doubts[at] is None]
    if not explained:
        return EntryChoice(None, doubts[passing[0]] or Mismatch.UNSURE, 0.0, passing[0])
    sure = {at: verifier.pair(near[at].text, query) for at in explained}
    best = max(explained, key=lambda at: sure[at])
    if sure[best] < settings.thresholds.pair:
        return EntryChoice(None, Mismatch.UNSURE, sure[best], best)
    if any(refused[at] is None and one.answer != near[best].answer for at, one in enumerate(near)):
        # Others pass the gates and answer otherwise: then all neighbours have to be sure, too.
        together = verifier.consensus([one.cosine for one in near], [one.answer for one in near])
        if near[best].answer != near[0].answer or together < settings.thresholds.consensus:
            return EntryChoice(None, Mismatch.DISAGREEMENT, together, best)
    return EntryChoice(best, ServedBy.VERIFIED, sure[best], best)


def _explored(
    choice: EntryChoice, candidates: Sequence[Candidate], settings: ConsensusSettings, draw: float
) -> EntryChoice:
    """Ask the model all the same where the entry's own outcomes call for it."""
    if choice.entry is None or settings.delta is None:
        return choice
    one = candidates[choice.entry]
    if one.boundary is None:
        return choice
    if explores(one.boundary, one.cosine, settings.delta, draw):
        return EntryChoice(None, Mismatch.EXPLORE, choice.confidence, choice.entry)
    return choice
