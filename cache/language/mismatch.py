"""Name the differences between two prompts that forbid one answer for both.

Promises: pure; a prompt passes against itself; a refusal is the same both ways round; what is
refused is refused whatever the cosine says. Gates are strict: two spellings that they do not know
to be one cost a hit, not a wrong answer.
Not covered: a paraphrase that passes: whether it asks the same is the verifier's (`cache.verify`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache

from cache.language import asking, lexicon, wording
from cache.language.detect import ENGLISH, GATED
from cache.language.normal_form import same_words
from cache.language.sensitive import about_author, about_now
from cache.language.slots import LIMIT_CHARS, PromptSlots, read
from cache.language.spelling import case_differs, marks_differ, same_wording


class Mismatch(StrEnum):
    """Why a neighbour may not answer, or a prompt is never answered by one: a metric's label."""

    TIME = "time"
    PERSONAL = "personal"
    TOO_LONG = "too_long"
    EMPTY = "empty"
    LANGUAGE = "language"
    QUOTED = "quoted"
    CODE = "code"
    NUMBER = "number"
    ARITHMETIC = "arithmetic"
    BOUND = "bound"
    UNIT = "unit"
    MONEY = "money"
    DATE = "date"
    NAME = "name"
    TARGET_LANGUAGE = "target_language"
    TECHNOLOGY = "technology"
    NEGATION = "negation"
    ANTONYM = "antonym"
    DIRECTION = "direction"
    FORMAT = "format"
    LENGTH = "length"
    AUDIENCE = "audience"
    POSSESSOR = "possessor"
    QUESTION = "question"
    LETTER_CASE = "letter_case"
    SYMBOL = "symbol"
    PERSON = "person"
    TENSE = "tense"
    WORD = "word"
    WORD_ORDER = "word_order"
    UNPROVEN = "unproven"
    UNSUPPORTED_LANGUAGE = "unsupported_language"
    # Those of `cache.semantic.consensus`.
    SCOPE = "scope"
    DISTANT = "distant"
    UNSURE = "unsure"
    DISAGREEMENT = "disagreement"
    EXPLORE = "explore"


# Asks whether, and is no courtesy before another question.
_POLAR = re.compile(
    r"(?:can|could|may|might|should|must|do|does|did|am|is|are|was|were|will|would|has|have) "
    r"(?!you\b|there (?:a|any|some) (?:way|method)|it possible)"
)
_MANNER = re.compile(r"how (?:do|does|did|can|could|should|would|to|might|must|will)\b")


@lru_cache(maxsize=8192)
def never(query: str) -> Mismatch | None:
    """Why a prompt is answered by no other prompt's answer, whatever that is."""
    if len(query) > LIMIT_CHARS:
        return Mismatch.TOO_LONG
    slots = read(query)
    if not slots.stems:
        return Mismatch.EMPTY
    if about_now(query):
        return Mismatch.TIME
    if about_author(query, slots.language):
        return Mismatch.PERSONAL
    return None if slots.language in GATED else Mismatch.UNSUPPORTED_LANGUAGE


def refusal(cached: str, query: str) -> Mismatch | None:
    """The first gate that a pair fails, or None. Symmetric."""
    if same_words(cached, query):
        return None
    mine, theirs = read(cached), read(query)
    return next((reason for reason, differs in _GATES if differs(mine, theirs)), None)


def refusals(cached: str, query: str) -> tuple[Mismatch, ...]:
    """All gates that a pair fails, in their order."""
    if same_words(cached, query):
        return ()
    mine, theirs = read(cached), read(query)
    return tuple(reason for reason, differs in _GATES if differs(mine, theirs))


def unexplained(cached: str, query: str) -> Mismatch | None:
    """What differs without an explanation, for an entry that serves alone. Symmetric.

    Several entries with one answer vouch for one another; a single one has only its own words.
    """
    if same_words(cached, query):
        return None
    mine, theirs = read(cached), read(query)
    return next((reason for reason, differs in _ALONE if differs(mine, theirs)), None)


def _language(mine: PromptSlots, theirs: PromptSlots) -> bool:
    return mine.language != theirs.language


def _quoted(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """A quotation may lose its marks, not its words."""
    return _unquoted(mine.quoted, theirs) or _unquoted(theirs.quoted, mine)


def _unquoted(quoted: Iterable[str], other: PromptSlots) -> bool:
    return any(f" {one} " not in f" {other.plain} " for one in quoted)


def _code(mine: PromptSlots, theirs: PromptSlots) -> bool:
    return _missing(mine.codes, theirs) or _missing(theirs.codes, mine)


def _missing(codes: Iterable[str], other: PromptSlots) -> bool:
    squeezed = other.plain.replace("-", "").replace(" ", "")
    return any(code not in other.codes and code.replace("-", "") not in squeezed for code in codes)


def _number(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """The same numbers; the word "one" may count as 1 or not."""
    if mine.numbers == theirs.numbers:
        return False
    few, many = sorted((mine, theirs), key=lambda one: len(one.numbers))
    wanting = len(many.numbers) - len(few.numbers)
    if not 0 < wanting <= few.ones:
        return True
    return tuple(sorted((*few.numbers, *["1"] * wanting))) != many.numbers


def _unit(mine: PromptSlots, theirs: PromptSlots) -> bool:
    if mine.units != theirs.units:
        return True
    both = {number for number, _ in mine.quantities} & {number for number, _ in theirs.quantities}
    return any(
        {unit for number, unit in mine.quantities if number == shared}.isdisjoint(
            {unit for number, unit in theirs.quantities if number == shared}
        )
        for shared in both
    )


def _name(mine: PromptSlots, theirs: PromptSlots) -> bool:
    return _unnamed(mine.names, theirs) or _unnamed(theirs.names, mine)


def _unnamed(names: Iterable[str], other: PromptSlots) -> bool:
    """Whether a name is not in the other text, in any case, under no name known for it."""
    return any(not any(lexicon.same_meaning(name, word) for word in other.stems) for name in names)


def _negation(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """Whether both prompts have as many negations, of a word in common."""
    if mine.negators != theirs.negators:
        return True
    if not mine.negated or not theirs.negated:
        return False
    return not any(
        lexicon.same_meaning(one, other) for one in mine.negated for other in theirs.negated
    )


def _antonym(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """A word against its opposite, neither of which the other text has, too."""
    own, other = set(mine.stems), set(theirs.stems)
    ours, others = own - other, other - own
    return any(lexicon.opposed(one, two) for one in ours for two in others)


def _direction(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """What one comes from is what the other goes to."""
    crossed = (mine.sources & theirs.targets) - mine.targets - theirs.sources
    back = (theirs.sources & mine.targets) - theirs.targets - mine.sources
    if crossed and back:
        return True
    return _swapped(mine, theirs)


def _swapped(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """Both texts have x before y around a "to", one of them the other way round."""
    for source in mine.sources & theirs.targets:
        if any(target in theirs.sources for target in mine.targets if target != source):
            return True
    return False


def _disjoint(mine: frozenset[str], theirs: frozenset[str]) -> bool:
    """Both say something, and nothing that they say is the same."""
    return bool(mine and theirs) and mine.isdisjoint(theirs)


def _audience(mine: PromptSlots, theirs: PromptSlots) -> bool:
    return not (mine.audiences <= theirs.people and theirs.audiences <= mine.people)


def _question(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """Two kinds of question; "can I" and "how do I" are two, though neither names its kind."""
    if mine.question and theirs.question:
        return mine.question != theirs.question
    either = (mine.plain, theirs.plain), (theirs.plain, mine.plain)
    return any(_POLAR.match(one) and _MANNER.match(other) for one, other in either)


def _unproven(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """Words differ in a language of which no synonyms are known, and which no verifier has read."""
    if mine.language == theirs.language == ENGLISH:
        return False
    return not same_wording(mine.text, theirs.text)


_GATES = (
    (Mismatch.LANGUAGE, _language),
    (Mismatch.LETTER_CASE, lambda mine, theirs: case_differs(mine.text, theirs.text)),
    (Mismatch.QUOTED, _quoted),
    (Mismatch.CODE, _code),
    (Mismatch.NUMBER, _number),
    (Mismatch.ARITHMETIC, lambda mine, theirs: mine.ordered != theirs.ordered),
    (Mismatch.BOUND, lambda mine, theirs: _disjoint(mine.bounds, theirs.bounds)),
    (Mismatch.UNIT, _unit),
    (Mismatch.MONEY, lambda mine, theirs: mine.currencies != theirs.currencies),
    (Mismatch.DATE, lambda mine, theirs: mine.dates != theirs.dates),
    (Mismatch.NAME, _name),
    (Mismatch.TARGET_LANGUAGE, lambda mine, theirs: mine.languages != theirs.languages),
    (Mismatch.TECHNOLOGY, lambda mine, theirs: mine.known != theirs.known),
    (Mismatch.NEGATION, _negation),
    (Mismatch.ANTONYM, _antonym),
    (Mismatch.DIRECTION, _direction),
    (Mismatch.FORMAT, lambda mine, theirs: mine.formats != theirs.formats),
    (Mismatch.LENGTH, lambda mine, theirs: mine.lengths != theirs.lengths),
    (Mismatch.AUDIENCE, _audience),
    (Mismatch.POSSESSOR, lambda mine, theirs: _disjoint(mine.possessors, theirs.possessors)),
    (Mismatch.QUESTION, _question),
    (Mismatch.PERSON, asking.speakers_differ),
    (Mismatch.SYMBOL, lambda mine, theirs: marks_differ(mine.text, theirs.text)),
    (Mismatch.UNPROVEN, _unproven),
)
_ALONE = (
    (Mismatch.PERSON, asking.persons_differ),
    (Mismatch.TENSE, asking.tense_differs),
    (Mismatch.QUESTION, asking.asks_otherwise),
    (Mismatch.WORD, wording.replaced),
    (Mismatch.WORD_ORDER, wording.reordered),
)
