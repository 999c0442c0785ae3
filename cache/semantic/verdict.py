"""Choose the refused pair that a model is asked about, and read its answer.

Promises:
- Pure. A pair that another gate refuses is never asked about, nor an entry that has served wrongly.
- Only refusals of the trees are asked about (too far, unsure, neighbours that disagree), and what
  one entry alone leaves unexplained: its person, or other words.
Not covered: the wording (`cache.semantic.question`), and sending it
(`deployments.gateway.lookup.verdicts`).
"""

from __future__ import annotations

from collections.abc import Sequence

from cache.error_budget.budget import Level
from cache.language.mismatch import Mismatch, never, refusals
from cache.semantic.consensus import Candidate, EntryChoice

# `person` and `word` are what one entry alone leaves unexplained: a model reads who is meant, and
# what other words mean. Every other gate stands.
_UNEXPLAINED = frozenset({Mismatch.PERSON, Mismatch.WORD})
ASKED = frozenset({Mismatch.UNSURE, Mismatch.DISTANT, Mismatch.DISAGREEMENT}) | _UNEXPLAINED
# Entries are near enough to ask about from here on; below, a yes is rarely right.
ASKED_COSINE = 0.4
# Longer texts are not asked about: a question is to cost less than most answers.
LIMIT_CHARS = 400


def doubtful(query: str, candidates: Sequence[Candidate], choice: EntryChoice) -> int | None:
    """The place of the nearest entry that a model may be asked about, given nearest first."""
    if choice.entry is not None or choice.reason not in ASKED or never(query) is not None:
        return None
    if len(query) > LIMIT_CHARS:
        return None
    for at, one in enumerate(candidates):
        if one.cosine < ASKED_COSINE:
            return None
        if _may_serve(query, one):
            return at
    return None


def serves(yes: float | None, level: Level, least: float) -> bool:
    """Whether P(yes) is enough; None, a question without an answer, never is.

    At the loose level `least` is; at the strict one half of what is missing to certainty is
    allowed; while the cache is off nothing is.
    """
    if yes is None or level is Level.OFF:
        return False
    return yes >= (least if level is Level.LOOSE else (1 + least) / 2)


def _may_serve(query: str, one: Candidate) -> bool:
    if one.boundary is not None or len(one.text) > LIMIT_CHARS:
        return False
    return never(one.text) is None and _UNEXPLAINED.issuperset(refusals(one.text, query))
