"""Classify an English question: about whom, in which tense, and for what.

Promises: pure and symmetric; a prompt differs in nothing from itself.
Not covered: other languages, which `cache.language.mismatch` serves only word for word.
"""

from __future__ import annotations

import re
from functools import lru_cache

from cache.language import lexicon
from cache.language.slots import PromptSlots

PRONOUNS = lexicon.ASKING["pronouns"]
_FIRST = lexicon.ASKING["first"]
_LAST = lexicon.ASKING["last"]
_PAST, _PRESENT, _FUTURE = (lexicon.ASKING[name] for name in ("past", "present", "future"))
# Asks for what only the author's own case can tell.
_OF_SELF = re.compile(
    r"^\W*(?:(?:what|who|where|when|which|how \w+|why)"
    r"(?: (?:is|are|was|were|do|did|does|have|has|am)|'s)?"
    r"|is|are|was|were|am|did|have|has|do|does|will|tell me) (?:my|i)\b",
    re.IGNORECASE,
)
_CONTRACTED = re.compile(r"\b(i|you|he|she|we|they)'(?:m|d|ll|ve|re|s)\b")
# Addressed to the model before the request itself, or to no one in particular.
_ASKING = re.compile(
    r"\b(?:(?:can|could|would|will) you (?:please )?(?=tell|show|give|explain|help|describe|list|"
    r"summari[sz]e|translate|provide|define|convert|calculate|recommend|suggest|name|write)"
    r"|(?:(?:tell|show|give|teach|remind|help|get|find|write) me|explain to me|let me know"
    r"|i (?:want|need|would like|'d like) (?:to (?:know|find out|understand)|you to tell me)"
    r"|i wonder|do you know(?= (?:how|what|why|where|when|who|which)\b)|i'd like to know)"
    r"|how (?:do|would) you (?=say )"
    r"|our (?=solar system|planet|galaxy|sun\b|moon\b|earth\b))"
)
_HOW_TO = re.compile(r"\bhow (?:can|do|could|should|would|might) i\b")
_ASKING_START = re.compile(
    r"^\W*(?:please |hi |hello |hey )?(?:(?:can|could|would|will) you (?:please )?)?"
    r"(?:(?:tell|show|give) me |explain (?:to me )?(?=how|what|why|when|where|who)|do you know )?"
)


def persons_differ(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """Other pronouns: "how do I" and "how do you", "I love him" and "he loves me"."""
    own, other = _persons(mine.text), _persons(theirs.text)
    if (own & _FIRST and other & _FIRST) or any(
        _OF_SELF.search(one.text) for one in (mine, theirs)
    ):
        return own != other
    # "Does it harm my dog", "does it harm dogs": the author stands for anybody.
    return own - _FIRST != other - _FIRST


def speakers_differ(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """Both speak of persons, and of no person in common."""
    own, other = (PRONOUNS.intersection(words_of(one)) for one in (mine, theirs))
    return bool(own and other) and own.isdisjoint(other)


@lru_cache(maxsize=8192)
def _persons(text: str) -> frozenset[str]:
    said = _ASKING.sub(" ", _CONTRACTED.sub(r"\1", text.lower()))
    found = PRONOUNS.intersection(re.findall(r"[a-z]+", said))
    if found <= _FIRST:  # "how do I help you" is not "how to help you"
        found = PRONOUNS.intersection(re.findall(r"[a-z]+", _HOW_TO.sub("how to ", said)))
    return found


def tense_differs(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """Past against present or future; outside of "how", another modal: "can I", "should I"."""
    own, other = (frozenset(words_of(one)) for one in (mine, theirs))
    if _later(own, other) or _later(other, own):
        return True
    how = any(kind_of(one).startswith("how") for one in (mine, theirs))
    one, two = _modals(own), _modals(other)
    return not how and one != two and (bool(one and two) or bool({"should", "must"} & (one | two)))


def _later(own: frozenset[str], other: frozenset[str]) -> bool:
    """Whether one text asks of the past or the future, and the other of another time."""
    if own & _PAST and not own & _PRESENT and not other & _PAST:
        return bool(other & (_PRESENT | _FUTURE))
    return bool(own & _FUTURE and not other & _FUTURE and other & (_PAST | _PRESENT))


@lru_cache(maxsize=8192)
def _split(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z]+(?:'[a-z]+)?", _ASKING_START.sub("", text.lower())))


def words_of(slots: PromptSlots) -> tuple[str, ...]:
    """The words in lower case, without what is said to the model before the question."""
    return _split(slots.text)


def kind_of(slots: PromptSlots) -> str:
    """The kind of question; "polar" of one to be answered by yes or no, "" of none."""
    return _kind(words_of(slots))


def _modals(words: frozenset[str]) -> set[str]:
    return {lexicon.MODALS[word] for word in words & lexicon.MODALS.keys()}


def asks_otherwise(mine: PromptSlots, theirs: PromptSlots) -> bool:
    """Two kinds of question: why and how, "what is" and "what does it do", whether and how."""
    own, other = words_of(mine), words_of(theirs)
    one, two = kind_of(mine), kind_of(theirs)
    if "what" in (one, two) or one == two:
        last = [_last(mine), _last(theirs)]
        code = mine.codes & theirs.codes and "" in last  # "explain ls -l", "what does ls -l do"
        if last[0] != last[1] and "mean" not in last and not code:
            return True
        if "mean" in last and "do" in last:
            return True
    if one == two:
        return False
    for kind, plainer, words in ((one, two, other), (two, one, own)):
        if plainer == "what" and kind in lexicon.NAMED:
            return not lexicon.NAMED[kind] & set(words)
        if plainer == "" and (kind == "what" or kind == "how" or kind.startswith("how ")):
            return False
    return True


def _last(slots: PromptSlots) -> str:
    """The last word, where it turns the question."""
    last = next((stem for stem in reversed(slots.stems) if any(map(str.isalnum, stem))), "")
    return last if last in _LAST else ""


@lru_cache(maxsize=8192)
def _kind(words: tuple[str, ...]) -> str:
    for at, word in enumerate(words):
        if word == "how":
            after = words[at + 1] if at + 1 < len(words) else ""
            return f"how {after}" if after in lexicon.ASKING["degrees"] else "how"
        if word in lexicon.QUESTION_WORDS:
            return lexicon.QUESTION_WORDS[word]
        if at == 0 and word in lexicon.ASKING["polar"]:
            return "polar"
    return ""
