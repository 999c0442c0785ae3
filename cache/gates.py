"""The gates a neighbour passes before it may answer: what differs, by name.

Promises: pure; a prompt passes against itself; a refusal is the same both ways round; what is
refused is refused whatever the cosine says. Gates are strict: two spellings that they do not know
to be one cost a hit, not a wrong answer.
Not covered: differences in words that no gate knows, which are the verifier's (`cache.verify`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache

from cache import lexicon
from cache.slots import LIMIT_CHARS, Slots, read


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
_TIME = re.compile(
    r"""\b(
      today | tonight | tomorrow | yesterday | nowadays | currently | presently | latest | newest
    | most\ recent(ly)? | up[- ]to[- ]date | right\ now | just\ now | as\ of\ now | until\ now
    | at\ (the|this)\ (moment|time|present)(?!\ (of|when|that|in)) | these\ days
    | so\ far\ (today|this)
    | this\ (very\ )?(minute|hour|morning|afternoon|evening|week|weekend|month|season|quarter)
    | (last|next|past|coming)\ (night|week|weekend|month|hour|few\ days)
    | (is|are|was|it|open|time|happening|on)\ now | now\ (in|at|near) | what\ time\ is\ it
    | current\ (price|value|time|temperature|weather|exchange|rate|interest|inflation|score
        |population|president|prime|ceo|chancellor|king|queen|leader|world|champion|status|version
        |state|date|news|events?|stable|traffic|market|stock|standings?)\w*
    | (how\ (many|much|long)\ )?(days|weeks|hours|minutes|months|time|long)\ (left\ )?(until|till)
    | breaking\ news | news\ (about|on|from|in|today) | headlines | live\ (score|stream|result)s?
    | (weather|forecast)\ (in|for|like|at|near|going) | (stock|share|bitcoin|oil|gold)\ price
    | price\ of\ (bitcoin|btc|ethereum|oil|gold|silver) | who\ is\ (winning|leading|playing)
    | (is|are)\b.{0,60}\b(open|closed|down|delayed|on\ strike)\ (now|yet|still)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_PERSONAL = re.compile(
    r"""\b(
      (what|who|where|how\ old)('s|\ is|\ are|\ was|\ am)\ (my\ (full\ |first\ |last\ )?(name
        |birthday|age|address|email|phone|number|password|location|username|salary|blood\ type
        |wife|husband|boss|job|favou?rite)|i)\b
    | (do|did|can|will)\ you\ (remember|recall|know)\ (me|my|what\ i|who\ i|i)
    | remember\ (that|my) | my\ name\ is | (what|when)\ did\ i\ (say|ask|tell|mention)
    | (i|we)\ (said|told\ you|asked\ you)\ (before|earlier|yesterday|last)
    | my\ (social\ security|ssn|passport\ number|iban|credit\ card\ number)
    )\b | [\w.+-]+@[\w-]+\.\w{2,} | \b\d{3}-\d{2}-\d{4}\b | \b(?:\d[ -]?){13,19}\b""",
    re.IGNORECASE | re.VERBOSE,
)


@lru_cache(maxsize=8192)
def never(query: str) -> Refusal | None:
    """Why a prompt is answered by no other prompt's answer: it asks of now, or of the asker."""
    if len(query) > LIMIT_CHARS:
        return Refusal.TOO_LONG
    if not read(query).stems:
        return Refusal.EMPTY
    if _TIME.search(query):
        return Refusal.TIME
    return Refusal.PERSONAL if _PERSONAL.search(query) else None


def refusal(cached: str, query: str) -> Refusal | None:
    """The first gate that a pair fails, or None. Symmetric."""
    mine, theirs = read(cached), read(query)
    if mine.plain == theirs.plain:
        return None
    for reason, differs in _GATES:
        if differs(mine, theirs):
            return reason
    return None


def refusals(cached: str, query: str) -> tuple[Refusal, ...]:
    """All gates that a pair fails, in their order."""
    mine, theirs = read(cached), read(query)
    if mine.plain == theirs.plain:
        return ()
    return tuple(reason for reason, differs in _GATES if differs(mine, theirs))


def _language(mine: Slots, theirs: Slots) -> bool:
    known = {mine.language, theirs.language} - {""}
    return len(known) > 1


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


_GATES = (
    (Refusal.LANGUAGE, _language),
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
)
