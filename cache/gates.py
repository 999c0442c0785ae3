"""The gates a neighbour passes before it may answer: what differs, by name.

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

from cache import asking, lexicon, wording
from cache.language import ENGLISH, GATED
from cache.plain import same_words
from cache.sensitive import about_author, about_now
from cache.slots import LIMIT_CHARS, Slots, read
from cache.spelling import case_differs, marks_differ, same_wording


class Refusal(StrEnum):
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
    # Those of `cache.consensus`.
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
def never(query: str) -> Refusal | None:
    """Why a prompt is answered by no other prompt's answer, whatever that is."""
    if len(query) > LIMIT_CHARS:
        return Refusal.TOO_LONG
    slots = read(query)
    if not slots.stems:
        return Refusal.EMPTY
    if about_now(query):
        return Refusal.TIME
    if about_author(query, slots.language):
        return Refusal.PERSONAL
    return None if slots.language in GATED else Refusal.UNSUPPORTED_LANGUAGE


def refusal(cached: str, query: str) -> Refusal | None:
    """The first gate that a pair fails, or None. Symmetric."""
    if same_words(cached, query):
        return None
    mine, theirs = read(cached), read(query)
    return next((reason for reason, differs in _GATES if differs(mine, theirs)), None)


def refusals(cached: str, query: str) -> tuple[Refusal, ...]:
    """All gates that a pair fails, in their order."""
    if same_words(cached, query):
        return ()
    mine, theirs = read(cached), read(query)
    return tuple(reason for reason, differs in _GATES if differs(mine, theirs))


def unexplained(cached: str, query: str) -> Refusal | None:
    """What differs without an explanation, for an entry that serves alone. Symmetric.

    Several entries with one answer vouch for one another; a single one has only its own words.
    """
    if same_words(cached, query):
        return None
    mine, theirs = read(cached), read(query)
    return next((reason for reason, differs in _ALONE if differs(mine, theirs)), None)


def _language(mine: Slots, theirs: Slots) -> bool:
    return mine.language != theirs.language


def _quoted(mine: Slots, theirs: Slots) -> bool:
    """A quotation may lose its marks, not its words."""
    return _unquoted(mine.quoted, theirs) or _unquoted(theirs.quoted, mine)


def _unquoted(quoted: Iterable[str], other: Slots) -> bool:
    return any(f" {one} " not in f" {other.plain} " for one in quoted)


def _code(mine: Slots, theirs: Slots) -> bool:
    return _missing(mine.codes, theirs) or _missing(theirs.codes, mine)


def _missing(codes: Iterable[str], other: Slots) -> bool:
    squeezed = other.plain.replace("-", "").replace(" ", "")
    return any(code not in other.codes and code.replace("-", "") not in squeezed for code in codes)


def _number(mine: Slots, theirs: Slots) -> bool:
    """The same numbers; the word "one" may count as 1 or not."""
    if mine.numbers == theirs.numbers:
        return False
    few, many = sorted((mine, theirs), key=lambda one: len(one.numbers))
    wanting = len(many.numbers) - len(few.numbers)
    if not 0 < wanting <= few.ones:
        return True
    return tuple(sorted((*few.numbers, *["1"] * wanting))) != many.numbers


def _unit(mine: Slots, theirs: Slots) -> bool:
    if mine.units != theirs.units:
        return True
    both = {number for number, _ in mine.quantities} & {number for number, _ in theirs.quantities}
    return any(
        {unit for number, unit in mine.quantities if number == shared}.isdisjoint(
            {unit for number, unit in theirs.quantities if number == shared}
        )
        for shared in both
    )


def _name(mine: Slots, theirs: Slots) -> bool:
    return _unnamed(mine.names, theirs) or _unnamed(theirs.names, mine)


def _unnamed(names: Iterable[str], other: Slots) -> bool:
    """Whether a name is not in the other text, in any case, under no name known for it."""
    return any(not any(lexicon.same_meaning(name, word) for word in other.stems) for name in names)


def _negation(mine: Slots, theirs: Slots) -> bool:
    """As many negations in both, and of something in common."""
    if mine.negators != theirs.negators:
        return True
    if not mine.negated or not theirs.negated:
        return False
    return not any(
        lexicon.same_meaning(one, other) for one in mine.negated for other in theirs.negated
    )


def _antonym(mine: Slots, theirs: Slots) -> bool:
    """A word against its opposite, neither of which the other text has, too."""
    own, other = set(mine.stems), set(theirs.stems)
    ours, others = own - other, other - own
    return any(lexicon.opposed(one, two) for one in ours for two in others)


def _direction(mine: Slots, theirs: Slots) -> bool:
    """What one comes from is what the other goes to."""
    crossed = (mine.sources & theirs.targets) - mine.targets - theirs.sources
    back = (theirs.sources & mine.targets) - theirs.targets - mine.sources
    if crossed and back:
        return True
    return _swapped(mine, theirs)


def _swapped(mine: Slots, theirs: Slots) -> bool:
    """Both texts have x before y around a "to", one of them the other way round."""
    for source in mine.sources & theirs.targets:
        if any(target in theirs.sources for target in mine.targets if target != source):
            return True
    return False


def _disjoint(mine: frozenset[str], theirs: frozenset[str]) -> bool:
    """Both say something, and nothing that they say is the same."""
    return bool(mine and theirs) and mine.isdisjoint(theirs)


def _audience(mine: Slots, theirs: Slots) -> bool:
    return not (mine.audiences <= theirs.people and theirs.audiences <= mine.people)


def _question(mine: Slots, theirs: Slots) -> bool:
    """Two kinds of question; "can I" and "how do I" are two, though neither names its kind."""
    if mine.question and theirs.question:
        return mine.question != theirs.question
    either = (mine.plain, theirs.plain), (theirs.plain, mine.plain)
    return any(_POLAR.match(one) and _MANNER.match(other) for one, other in either)


def _unproven(mine: Slots, theirs: Slots) -> bool:
    """Words differ in a language of which no synonyms are known, and which no verifier has read."""
    if mine.language == theirs.language == ENGLISH:
        return False
    return not same_wording(mine.text, theirs.text)


_GATES = (
    (Refusal.LANGUAGE, _language),
    (Refusal.LETTER_CASE, lambda mine, theirs: case_differs(mine.text, theirs.text)),
    (Refusal.QUOTED, _quoted),
    (Refusal.CODE, _code),
    (Refusal.NUMBER, _number),
    (Refusal.ARITHMETIC, lambda mine, theirs: mine.ordered != theirs.ordered),
    (Refusal.BOUND, lambda mine, theirs: _disjoint(mine.bounds, theirs.bounds)),
    (Refusal.UNIT, _unit),
    (Refusal.MONEY, lambda mine, theirs: mine.currencies != theirs.currencies),
    (Refusal.DATE, lambda mine, theirs: mine.dates != theirs.dates),
    (Refusal.NAME, _name),
    (Refusal.TARGET_LANGUAGE, lambda mine, theirs: mine.languages != theirs.languages),
    (Refusal.TECHNOLOGY, lambda mine, theirs: mine.known != theirs.known),
    (Refusal.NEGATION, _negation),
    (Refusal.ANTONYM, _antonym),
    (Refusal.DIRECTION, _direction),
    (Refusal.FORMAT, lambda mine, theirs: mine.formats != theirs.formats),
    (Refusal.LENGTH, lambda mine, theirs: mine.lengths != theirs.lengths),
    (Refusal.AUDIENCE, _audience),
    (Refusal.POSSESSOR, lambda mine, theirs: _disjoint(mine.possessors, theirs.possessors)),
    (Refusal.QUESTION, _question),
    (Refusal.PERSON, asking.speakers_differ),
    (Refusal.SYMBOL, lambda mine, theirs: marks_differ(mine.text, theirs.text)),
    (Refusal.UNPROVEN, _unproven),
)
_ALONE = (
    (Refusal.PERSON, asking.persons_differ),
    (Refusal.TENSE, asking.tense_differs),
    (Refusal.QUESTION, asking.asks_otherwise),
    (Refusal.WORD, wording.replaced),
    (Refusal.WORD_ORDER, wording.reordered),
)
