"""Compare two answers to nearly the same prompt, as far as their texts allow.

Promises: pure, and the same both ways round; texts that are equal but for case and space are the
same. "Different" needs a contradiction that has a name (another final answer; a number, name, date
or unit on each side that the other has not; yes against no), or texts about different things.
Other words, another order or more detail are no error: a model gives them at temperature 0, too,
for a prompt in other words. What no rule decides is None.
Not covered: whether either answer is true, and long answers that differ in one detail: only their
ends, their first sentence and their meaning as a whole are compared.
"""

from __future__ import annotations

import re

from cache.language import lexicon
from cache.language.mismatch import Mismatch, refusals
from cache.language.slots import LIMIT_CHARS, PromptSlots, read
from text.final_answer import normalise_final
from text.reading import final_answer

# Cosines of two answers' embeddings (all-MiniLM-L6-v2), where no rule decided. In the table of the
# tests, long answers to one prompt have 0.79 and more, to neighbouring prompts 0.55 to 0.70; short
# ones to one prompt go down to 0.5. In between nothing is said.
SAME_COSINE, OTHER_COSINE, OTHER_COSINE_SHORT = 0.75, 0.6, 0.45
# Up to so many words an answer is a statement, and everything in it counts.
SHORT_WORDS = 40
# Of a short answer within a longer one: so few words of content can be looked for.
_FEW = 4

_FENCE = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.S)
_LINE_START = re.compile(r"(?m)^\s*(?:\d{1,2}[.)]|[-*•]|#{1,6})\s+")
_MARKS = re.compile(r"[*_`#]{1,3}")
_POLAR = re.compile(r"\W*(yes|yeah|yep|no|nope|true|false|correct|incorrect)\b", re.I)
_POSITIVE = frozenset({"yes", "yeah", "yep", "true", "correct"})
_REFUSES = re.compile(
    r"\W*(?:i['’]?m (?:very )?sorry|i am sorry|sorry,"
    r"|i (?:cannot|can['’]?t|am unable|['’]?m unable)"
    r"|as an ai\b|i don['’]?t have (?:access|enough|information))",
    re.I,
)
_COMMA = re.compile(r"(?<=\d),(?=\s|$)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_NUMBER = re.compile(r"-?\d[\d.e+-]*")
_OPTION = re.compile(r"[A-J]")


def same_answer(served: str, fresh: str, cosine: float | None) -> bool | None:
    """Whether they say the same; None when it cannot be told.

    `cosine` in [-1, 1] is that of their embeddings, None without an embedder.
    """
    if not served.strip() or not fresh.strip():
        return None
    if served.casefold().split() == fresh.casefold().split():
        return True
    for rule in (_refusing, _finals, _coded):
        if (said := rule(served, fresh)) is not None:
            return said
    if _FENCE.search(served) and _FENCE.search(fresh):
        return None  # other code may do the same, and code that does not looks much alike
    for rule in (_polarity, _stated):
        if (said := rule(served, fresh)) is not None:
            return said
    said = _near(served, fresh, cosine)
    # Two ways to another result look much alike.
    return None if said and any(_marked(served, fresh)) else said


def _refusing(served: str, fresh: str) -> bool | None:
    """Two refusals are the same, whatever they regret; one is not."""
    one, other = (bool(_REFUSES.match(text)) for text in (served, fresh))
    return None if not one and not other else one == other


def _finals(served: str, fresh: str) -> bool | None:
    """By their final answers: equal ones where one is marked, others only where both are.

    Only a number or an option can contradict: a phrase is said in many ways.
    """
    marked = _marked(served, fresh)
    one, other = normalise_final(served), normalise_final(fresh)
    if one is None or other is None or not any(marked):
        return None
    if one == other:
        return True
    for form in (_NUMBER, _OPTION):
        if all(marked) and form.fullmatch(one) and form.fullmatch(other):
            return False
    return None


def _marked(served: str, fresh: str) -> list[bool]:
    """Whether each text marks a final answer."""
    return [found is not None and found.marked for found in map(final_answer, (served, fresh))]


def _coded(served: str, fresh: str) -> bool | None:
    """Code that is equal but for space."""
    one, other = (["".join(block.split()) for block in _FENCE.findall(t)] for t in (served, fresh))
    return True if one and one == other else None


def _polarity(served: str, fresh: str) -> bool | None:
    """Yes against no, where both begin so."""
    one, other = _POLAR.match(served), _POLAR.match(fresh)
    if one is None or other is None:
        return None
    same = (one[1].lower() in _POSITIVE) == (other[1].lower() in _POSITIVE)
    return None if same else False


def _stated(served: str, fresh: str) -> bool | None:
    """By what short answers state, and by the measures in the first sentence of long ones."""
    one, other = _plain(served), _plain(fresh)
    lengths = len(one.split()), len(other.split())
    if max(lengths) > SHORT_WORDS:
        heads = [read(_SENTENCE.split(text, maxsplit=1)[0]) for text in (one, other)]
        return False if _measured(*heads) else _within(read(one), read(other))
    mine, theirs = read(one), read(other)
    if _contradicts(mine, theirs):
        return False
    if _POLAR.match(one) and _POLAR.match(other):
        return True
    return _within(mine, theirs)


def _contradicts(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """Both have what the other has not, of one kind; or one denies just what the other says."""
    values = (
        (_numbers(mine), _numbers(theirs)),
        (mine.dates, theirs.dates),
        (mine.currencies, theirs.currencies),
        (mine.languages, theirs.languages),
        (_unnamed(mine, theirs), _unnamed(theirs, mine)),
    )
    if any(own - other and other - own for own, other in values):
        return True
    if _measured(mine, theirs):
        return True
    named = refusals(mine.text, theirs.text)
    if _alike(mine, theirs) and bool(mine.negators) != bool(theirs.negators):
        return True
    return Mismatch.DIRECTION in named or (
        Mismatch.ANTONYM in named and bool(mine.negators) == bool(theirs.negators)
    )


def _numbers(slots: PromptSlots) -> frozenset[str]:
    return frozenset(number.lstrip("#") for number in slots.numbers)


def _unnamed(mine: PromptSlots, theirs: PromptSlots) -> frozenset[str]:
    """Names in one text that the other does not say in any case or under a known other name."""
    said = [*theirs.stems, *(stem for word in theirs.stems for stem in word.split("-"))]
    return frozenset(
        name for name in mine.names if not any(lexicon.same_meaning(name, word) for word in said)
    )


def _measured(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """One unit with other numbers, or one number with other units."""
    for place in (0, 1):
        own, other = ({(q[place], q[1 - place]) for q in s.quantities} for s in (mine, theirs))
        shared = {key for key, _ in own} & {key for key, _ in other}
        if shared and not {q for q in own if q[0] in shared} & other:
            return True
    return False


def _alike(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """The same content but for words of negation."""
    own, other = (
        {stem for stem, word in zip(one.content, one.words, strict=True) if not _denies(word)}
        for one in (mine, theirs)
    )
    return all(any(lexicon.same_meaning(a, b) for b in other) for a in own) and len(own) == len(
        other
    )


def _denies(word: str) -> bool:
    return word in lexicon.NEGATORS or word.endswith("n't")


def _within(mine: PromptSlots, theirs: PromptSlots) -> bool | None:
    """A few words of content that all stand in the other answer say the same; none of them, not.

    "Paris" in "The capital of France is Paris". What one text alone denies is not said there.
    """
    few, many = sorted((mine, theirs), key=lambda one: len(one.content))
    said = [_found(few, many)]
    if len(few.content) == len(many.content):
        said.append(_found(many, few))
    return True if True in said else False if False in said else None


def _found(few: PromptSlots, many: PromptSlots) -> bool | None:
    if not 0 < len(few.content) <= _FEW or few.negators > many.negators:
        return None
    if few.negators != many.negators and not many.negated.isdisjoint(few.content):
        return None
    found = [any(lexicon.same_meaning(one, word) for word in many.stems) for one in few.content]
    if all(found):
        return True
    return False if not any(found) and _known(few) else None


def _known(slots: PromptSlots) -> bool:
    """Whether it is a bare value: nothing but numbers and words with a capital letter."""
    words = [word for word in slots.text.split() if word.strip(".,!").casefold() in slots.words]
    return bool(words) and all(word[0].isdigit() or word[0].isupper() for word in words)


def _near(served: str, fresh: str, cosine: float | None) -> bool | None:
    """By the cosine, unless short answers differ in a word for which no rule stands."""
    if cosine is None:
        return None
    short = [len(text.split()) <= SHORT_WORDS for text in (served, fresh)]
    if cosine < (OTHER_COSINE_SHORT if any(short) else OTHER_COSINE):
        return False
    if cosine < SAME_COSINE or (all(short) and _one_word_apart(served, fresh)):
        return None
    return True


def _one_word_apart(served: str, fresh: str) -> bool:
    """Each has just one word of content that the other has not: red, blue."""
    one, other = read(_plain(served)), read(_plain(fresh))
    left = [
        {a for a in mine.content if not any(lexicon.same_meaning(a, b) for b in theirs.stems)}
        for mine, theirs in ((one, other), (other, one))
    ]
    return [len(words) for words in left] == [1, 1]


def _plain(text: str) -> str:
    """The first `LIMIT_CHARS` without marks of layout, numbers of items, commas at numbers."""
    text = _MARKS.sub("", _LINE_START.sub("", text[:LIMIT_CHARS]))
    return _COMMA.sub(" ,", text)
