"""Compare the words of two English prompts: their order, and every word of only one.

Promises: pure and symmetric; a prompt passes against itself. A word that only one text has must be
known to add nothing, or have its match in the other text; else the pair is refused, whatever the
verifier says.
Not covered: other languages, which `cache.language.mismatch` serves only word for word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from cache.language import lexicon, quantity
from cache.language.asking import PRONOUNS, kind_of, words_of
from cache.language.normal_form import courteous
from cache.language.slots import PromptSlots

_SMALL = frozenset(["a", "an", "the", "my", "your", "our", "this", "that", "some"])
# Articles, and verbs that an embedded question moves: "explain what it is".
_LOOSE = _SMALL | {"is", "are", "was", "were"}
_SEARCH_WORDS = 8
_COMES_ABOUT = frozenset(("happen", "occur"))
_GREETINGS = frozenset(["hello", "hi", "hey", "please", "kindly", "thank", "thanks"])
_ROLES = frozenset(["from", "to", "by", "about", "against", "over", "under", "between"])
_COMPARES = frozenset(("than", "vs", "versus"))
_STRONG = _ROLES | _COMPARES
_OTHER_ROLES = (
    {"for", "from"}, {"for", "by"}, {"for", "against"}, {"with", "against"}, {"with", "from"},
)  # fmt: skip
_ENDINGS = ("ation", "ition", "ion", "ment", "ance", "ence", "al", "at")


def reordered(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """The same things in other roles: after another preposition, or in an order that moving one
    phrase does not explain. In a question that phrase has to have its preposition.
    """
    if _permuted(mine, theirs):
        return True
    own, other = ([one for one in _things(slots) if ":" not in one[1]] for slots in (mine, theirs))
    places = _matched([stem for _, stem in own], [stem for _, stem in other])
    order = [place for _, place in places]
    first = [own[at][0] for at, _ in places]
    second = [other[at][0] for at in order]
    if any(map(_conflict, first, second)):
        return True
    if order == sorted(order):
        return False
    asked = all(kind_of(slots) not in ("", "how") for slots in (mine, theirs))
    roles = _STRONG.intersection(first, second) or _COMPARES.intersection(words_of(mine))
    tied = asked or len(order) < 3 or bool(roles)
    return not any(
        _settled(order, start, end, first, second, tied)
        for start in range(len(order))
        for end in range(start + 1, len(order) + 1)
    )


def _permuted(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """A sentence of just the other's words, moved by more than one phrase with a preposition."""
    own, other = ([one for one in words_of(slots) if one not in _LOOSE] for slots in (mine, theirs))
    if own == other or sorted(own) != sorted(other):
        return False
    if len(own) <= _SEARCH_WORDS and not kind_of(mine) and not kind_of(theirs):
        return False  # search words stand in any order
    start = next(at for at, (a, b) in enumerate(zip(own, other, strict=True)) if a != b)
    end = len(own) - next(
        at for at, (a, b) in enumerate(zip(reversed(own), reversed(other), strict=True)) if a != b
    )
    first, second = own[start:end], other[start:end]
    phrases = lexicon.ASKING["prepositions"] - _ROLES
    return not any(
        first[cut:] + first[:cut] == second and (first[0] in phrases or first[cut] in phrases)
        for cut in range(1, len(first))
    )


def _conflict(one: str, other: str) -> bool:
    """Whether two prepositions give one word two roles: "by Freud", "about Freud"."""
    one, other = ("to" if word == "into" else word for word in (one, other))
    both = {one, other}
    return len(both) == 2 and (both <= _ROLES or both in _OTHER_ROLES)


def _settled(
    order: list[int], start: int, end: int, mine: list[str], theirs: list[str], tied: bool
) -> bool:
    """Whether moving one block explains the order; a tied one by the preposition of its role."""
    block, rest = order[start:end], order[:start] + order[end:]
    if block != sorted(block) or rest != sorted(rest) or not rest:
        return False
    if any(block[0] < one < block[-1] for one in rest):
        return False
    if not tied:
        return True
    others = (*range(start), *range(end, len(order)))
    if any(mine[at] != theirs[at] for at in others):
        return False
    before, after = mine[start], theirs[start]
    if before == after != "":
        return True
    return (before == "") != (after == "") and not {before, after} & _STRONG


def _things(slots: PromptSlots) -> list[tuple[str, str]]:
    """Each word of content with the preposition before it, "" without one."""
    found = []
    for at, stem in enumerate(slots.stems):
        framed = stem in lexicon.FRAME and (
            stem not in lexicon.ASKING["acts"] or slots.stems[at + 1 : at + 2] == ("to",)
        )
        if framed or stem in PRONOUNS or not any(map(str.isalnum, stem)):
            continue
        back = at - 1
        while back >= 0 and slots.stems[back] in _SMALL:
            back -= 1
        before = slots.stems[back] if back >= 0 else ""
        found.append((before if before in lexicon.ASKING["prepositions"] else "", stem))
    return found


def replaced(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """Whether a word that only one text has is explained by nothing in the other."""
    own = [stem for _, stem in _things(mine)]
    other = [stem for _, stem in _things(theirs)]
    if _greetings(mine.text) != _greetings(theirs.text):
        return True
    places = _matched(own, other)
    kinds = kind_of(mine), kind_of(theirs)
    ours = _left(own, {at for at, _ in places}, other, _named(*kinds))
    others = _left(other, {at for _, at in places}, own, _named(*reversed(kinds)))
    if (ours and others) or _counted(own, other) != _counted(other, own):
        return True
    left = ours or others
    return len(left) > 1 or any(stem not in lexicon.KINDS for stem in left)


@lru_cache(maxsize=8192)
def _greetings(text: str) -> tuple[str, ...]:
    """Words of courtesy that are not courtesy where they stand."""
    words = re.findall(r"[a-z]+", courteous(text).lower())
    return tuple(word for word in words if word in _GREETINGS)


def _named(kind: str, other: str) -> frozenset[str]:
    """Words that stand for the question word of the other text: "what is the price", "how much"."""
    if kind == "what" and other in lexicon.NAMED:
        return frozenset(map(lexicon.stem, lexicon.NAMED[other]))
    if kind.startswith("how ") and other == "what":
        return frozenset((lexicon.stem(kind.removeprefix("how ")),))
    return _COMES_ABOUT if kind == "why" and other == "what" else frozenset()


def _counted(own: Sequence[str], other: Sequence[str]) -> bool:
    """Whether a text has a unit or a date that the other has not: "in one sentence"."""
    return any(stem in _MEASURE_STEMS and stem not in other for stem in own)


def _left(
    own: Sequence[str], matched: set[int], other: Sequence[str], named: frozenset[str]
) -> list[str]:
    joined = "".join(other)
    return [
        stem
        for at, stem in enumerate(own)
        if at not in matched
        and stem not in lexicon.LIGHT
        and stem not in named
        and not _valued(stem)
        and not any(explains(stem, one) for one in other)
        and not ("-" in stem and stem.replace("-", "") in joined)
    ]


def _valued(stem: str) -> bool:
    """Numbers, units and dates have gates of their own."""
    return quantity.value(stem) is not None or stem in _VALUE_STEMS or stem in quantity.SUMS


def _matched(own: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    """Places of words that are one, each used once: equal ones first, then other spellings."""
    free = list(range(len(other)))
    places: dict[int, int] = {}
    for alike in (str.__eq__, explains):
        for at, stem in enumerate(own):
            if at in places:
                continue
            found = next((one for one in free if alike(stem, other[one])), None)
            if found is not None:
                places[at] = found
                free.remove(found)
    return sorted(places.items())


@lru_cache(maxsize=65536)
def explains(one: str, other: str) -> bool:
    """Whether two stems are one word to every reader: inflections, nouns of verbs, synonyms."""
    if one == other or _root(one) == _root(other):
        return True
    if lexicon.alike(one, other):
        return True
    loose = one in lexicon.LOOSE or other in lexicon.LOOSE
    return not loose and lexicon.same_meaning(one, other)


@lru_cache(maxsize=16384)
def _root(stem: str) -> str:
    """Coarser than `lexicon.stem`: `runn` and `run`, `migration` and `migrat`."""
    if len(stem) > 3 and stem[-1] == stem[-2]:
        stem = stem[:-1]
    for ending in _ENDINGS:
        root = stem.removesuffix(ending)
        if root != stem and len(root) >= 4:
            return root
    return stem


_MEASURE_STEMS = frozenset(
    lexicon.stem(word)
    for table in (lexicon.UNITS, lexicon.DATES)
    for word, name in table.items()
    if name != "percent"
)
_VALUE_STEMS = frozenset(
    lexicon.stem(word)
    for table in (lexicon.UNITS, lexicon.CURRENCIES, lexicon.DATES, lexicon.NUMBERS, lexicon.SCALES)
    for word in table
)
