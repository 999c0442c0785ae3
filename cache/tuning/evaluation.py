"""Evaluate the semantic cache on a labelled file at a frozen threshold.

Promises: the shipped gates, verifier and decision, nothing tuned to the file; every wrong hit is
listed. Pairs: one cached prompt, one query. Streams: a cold cache, inserted into on a miss.
Context probes: one cached request, one query, through `cache.scope`.
Not covered: speed, and Redis; intervals hold for files like this one only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.language.mismatch import Mismatch
from cache.scope import scope
from cache.semantic.consensus import Candidate, ConsensusSettings, EntryChoice, choose
from cache.semantic.verify import Verifier
from cache.tuning.dataset import OUT_OF_SCOPE, Pair, Probe, Request, load
from cache.tuning.simulate import SimulatedAnswer, replay
from core.errors import HansomError
from core.ports import Embedder

DEFAULT_LEVEL = "0.025"
_Z = 1.959964  # of 95 %


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `of`, with the Wilson interval of 95 %; None of none."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share itself."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's (1927) score interval, which is right for shares near 0 too."""
        if not self.of:
            return None
        share, n = self.count / self.of, self.of
        middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
        return max(0.0, float(middle - half)), min(1.0, float(middle + half))


@dataclass(frozen=True, slots=True)
class WrongHit:
    """An answer that should not have been served; `score` is the probability that served it."""

    cached: str
    query: str
    reason: str
    score: float
    cosine: float
    family: str = ""


@dataclass(frozen=True, slots=True)
class CacheEvaluation:
    """What a file's rows got. `kind` is pairs, stream or context; `reasons` count decisions."""

    kind: str
    hits: Share
    wrong: Share
    recall: Share
    reasons: dict[str, int]
    families: dict[str, tuple[int, int, int]]
    wrong_hits: tuple[WrongHit, ...]
    version: str
    level: str

    def as_json(self) -> dict[str, object]:
        """One flat object; each share with its `_low` and `_high`."""
        told: dict[str, object] = {"kind": self.kind, "n": self.hits.of}
        shares = {"hit_rate": self.hits, "wrong_share": self.wrong, "recall": self.recall}
        for name, share in shares.items():
            low, high = share.interval or (None, None)
            told |= {name: share.value, f"{name}_low": low, f"{name}_high": high}
        return {
            **told,
            "hits": self.hits.count,
            "wrong": self.wrong.count,
            "reasons": self.reasons,
            "families": {
                name: {"n": rows, "hits": hits, "wrong": wrong}
                for name, (rows, hits, wrong) in self.families.items()
            },
            "wrong_hits": [
                {
                    "cached": one.cached,
                    "query": one.query,
                    "reason": one.reason,
                    "score": one.score,
                    "cosine": one.cosine,
                    "family": one.family,
                }
                for one in self.wrong_hits
            ],
            "weights": self.version,
            "level": self.level,
        }


@dataclass(frozen=True, slots=True)
class Examiner:
    """What answers a file's rows: an embedder, a verifier and one of its frozen levels."""

    embedder: Embedder
    verifier: Verifier
    level: str = DEFAULT_LEVEL

    @property
    def settings(self) -> ConsensusSettings:
        """The level's cut-offs. Raises `HansomError` for a level that the weights do not have."""
        try:
            return ConsensusSettings(self.verifier.thresholds[self.level])
        except KeyError:
            known = ", ".join(self.verifier.thresholds)
            raise HansomError(f"These weights have the levels {known}, not {self.level}.") from None

    def evaluate_file(self, path: Path) -> CacheEvaluation:
        """Examine all rows of a file. Raises `cache.tuning.dataset.WrongFile`."""
        rows = load(path)
        first = rows[0]
        if isinstance(first, Pair):
            return self._pairs([row for row in rows if isinstance(row, Pair)])
        if isinstance(first, Request):
            return self._stream([row for row in rows if isinstance(row, Request)])
        return self._context([row for row in rows if isinstance(row, Probe)])

    def pair_choice(self, cached: str, query: str) -> tuple[EntryChoice, float]:
        """The decision over one cached prompt, and its cosine."""
        one, other = self.embedder.embed([cached, query])
        cosine = min(float(one @ other), 1.0)
        near = [Candidate(cached, cosine, "the only one")]
        return choose(query, near, self.verifier, self.settings), cosine

    def _pairs(self, pairs: Sequence[Pair]) -> CacheEvaluation:
        outcomes = []
        for one in pairs:
            choice, cosine = self.pair_choice(one.cached, one.query)
            outcomes.append(
                _Outcome(one.cached, one.query, choice, cosine, bool(one.label), one.family)
            )
        return self._report("pairs", outcomes, sum(one.label for one in pairs))

    def _context(self, probes: Sequence[Probe]) -> CacheEvaluation:
        outcomes = []
        for one in probes:
            cached, query = (
                scope(body, endpoint="chat/completions", tenant=tenant, policy_version="")
                for body, tenant in zip(one.bodies, one.tenants, strict=True)
            )
            choice, cosine = EntryChoice(None, Mismatch.SCOPE, 0.0), 0.0
            if cached is not None and query is not None and cached.key == query.key:
                choice, cosine = self.pair_choice(cached.text, query.text)
            texts = [side.text if side else "" for side in (cached, query)]
            outcomes.append(_Outcome(texts[0], texts[1], choice, cosine, one.hit, one.family))
        return self._report("context", outcomes, sum(one.hit for one in probes))

    def _stream(self, requests: Sequence[Request]) -> CacheEvaluation:
        settings = self.settings
        reasons: Counter[str] = Counter()

        def decide(text: str, near: Sequence[Candidate]) -> EntryChoice:
            choice = choose(text, near, self.verifier, settings)
            reasons[choice.reason] += 1
            return choice

        rows = self.embedder.embed([one.text for one in requests])
        found = replay(requests, rows, decide)
        served = [one for one in found if one is not None]
        wrong = [one for one in served if not one.right]
        return CacheEvaluation(
            "stream",
            Share(len(served), len(requests)),
            Share(len(wrong), len(served)),
            Share(len(served) - len(wrong), _repeats(requests)),
            dict(reasons),
            {},
            tuple(_wrong_hit(one) for one in wrong),
            self.verifier.version,
            self.level,
        )

    def _report(self, kind: str, outcomes: Sequence[_Outcome], positives: int) -> CacheEvaluation:
        served = [one for one in outcomes if one.choice.entry is not None]
        wrong = [one for one in served if not one.right]
        families: dict[str, tuple[int, int, int]] = {}
        for one in outcomes:
            rows, hits, bad = families.get(one.family, (0, 0, 0))
            hit = one.choice.entry is not None
            families[one.family] = rows + 1, hits + hit, bad + (hit and not one.right)
        return CacheEvaluation(
            kind,
            Share(len(served), len(outcomes)),
            Share(len(wrong), len(served)),
            Share(len(served) - len(wrong), positives),
            dict(Counter(str(one.choice.reason) for one in outcomes)),
            families,
            tuple(
                WrongHit(
                    one.cached,
                    one.query,
                    str(one.choice.reason),
                    one.choice.confidence,
                    one.cosine,
                    one.family,
                )
                for one in wrong
            ),
            self.verifier.version,
            self.level,
        )


@dataclass(frozen=True, slots=True)
class _Outcome:
    cached: str
    query: str
    choice: EntryChoice
    cosine: float
    right: bool
    family: str


def _wrong_hit(one: SimulatedAnswer) -> WrongHit:
    return WrongHit(
        one.cached, one.query, str(one.choice.reason), one.choice.confidence, one.cosine
    )


def _repeats(requests: Sequence[Request]) -> int:
    """Requests whose reply another one before them had: no cache can serve more."""
    known: set[str] = set()
    count = 0
    for one in requests:
        count += one.answer in known
        if one.answer != OUT_OF_SCOPE:
            known.add(one.answer)
    return count
