"""Reduce a prompt to its normal form: without blanks and courtesy that carry no meaning.

Promises: pure. Two texts are the same only if they differ in blanks, in the case of a sentence's
first word where that word is no name and no unit, and in courtesy at their ends that is nothing
else. Marks, letters, digits and all other words stay as they are, and so does every text with
code, quotes or several lines in it.
Not covered: contractions, end marks, "how can I" for "how do I": those are for gates and verifier.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from cache.language import lexicon

# Blanks, case and politeness may all be what such a text is about.
LITERAL = re.compile(r"""["`“”„«»{}<>=\\/@#$%^*|~\[\]()\n\t]|(?<!\w)['‘’]|['‘’](?!\w)|\w_|_\w""")
_POLITE = frozenset(("please", "kindly", "bitte", "hi", "hello", "hey", "thanks"))
# Endings that names hardly have; Beijing and Reading are shorter.
_INFLECTED = re.compile(r"[a-z]{5,}ing|[a-z]{3,}(?:tion|tions|ment|ness|ous|able|edly)")
_MARKS = (".", "?", "!")
_BLANKS = re.compile(r"[ \u00a0\u2009\u202f]+")
_SENTENCE_END = re.compile(r"[.!?…:;]\s+")
# Verbs and nouns whose objects are words: "How do I spell please".
_ABOUT_WORDS = re.compile(
    r"\b(?:say|says|said|spell|spelled|write|type|print|echo|translate|translation|pronounce|mean"
    r"|means|word|words|phrase|sentence|text|repeat|rhyme|rhymes|letter|letters|reply|respond"
    r"|rewrite|rephrase|correct|polite|politely|greeting|greet|call|called|title|titled|song|lyrics"
    r"|string|regex|character|characters|message|quote|synonym|synonyms|etymology|origin)\b",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"^(?:(?:hi|hello|hey|good (?:morning|afternoon|evening)|hallo|guten tag|bonjour|hola)"
    r"(?: there)?\s*[,!.]\s*)?(?:(?:please|kindly|bitte|por favor)[, ]\s*)?",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"(?:\s*,\s*(?:please|bitte|por favor|s['’]il vous plaît|s['’]il te plaît|thanks|thank you)"
    r"|\s+(?:please)(?=\s*[.?!]?$)"
    r"|(?<=[.?!])\s*(?:many )?(?:thanks|thank you|danke|merci|gracias|cheers)"
    r"(?: (?:in advance|so much|a lot|very much|you|schön|beaucoup))?)(\s*[.!?]?)$",
    re.IGNORECASE,
)
_BEFORE_HAN = re.compile(
    r"^(?:你好[,，。!！]\s*|您好[,，。!！]\s*)?(?:[请請][问問][,，]?|麻[烦煩]|[请請])"
)
_AFTER_HAN = re.compile(r"(?<=[。?？!！])(?:[谢謝][谢謝]|ありがとう(?:ございます)?)[。!！]?$")


@lru_cache(maxsize=8192)
def plain(text: str) -> str:
    """The text in plain form, "" of nothing but courtesy."""
    said = unicodedata.normalize("NFC", text).strip()
    if LITERAL.search(said):
        return said
    return lowered_start(courteous(_BLANKS.sub(" ", said)))


def same_words(one: str, other: str) -> bool:
    """Whether two prompts are one request, whatever any gate says."""
    if one == other:
        return True
    mine = plain(one)
    return bool(mine) and mine == plain(other)


def courteous(text: str) -> str:
    """The text without courtesy at its ends, where nothing in it is about words."""
    if LITERAL.search(text) or _ABOUT_WORDS.search(text):
        return text
    rest = _AFTER.sub(
        lambda found: "" if text[: found.start()].endswith(_MARKS) else found[1], text
    )
    rest = _AFTER_HAN.sub("", rest)
    bare = _BEFORE_HAN.sub("", _BEFORE.sub("", rest))
    if not bare.strip(" .!?") or _SENTENCE_END.search(bare):
        return text
    # "Hello, Dolly", "Please Please Me": what follows has to be the beginning of a request.
    if bare[:1].isascii() and bare != rest and not _starts(bare):
        return rest
    return bare


def lowered_start(text: str) -> str:
    """The text with its first word in lower case, where that is no name, unit or command."""
    first = re.match(r"[^\W\d_]+(?=$|[ ,?!.])", text)
    if first is None or not first[0][:1].isupper() or not starter(first[0]):
        return text
    return first[0].lower() + text[first.end() :]


def starter(word: str) -> bool:
    """Whether a word is as good with a capital as without at the start of a sentence."""
    lower = word.lower()
    if not (word == lower or word[1:] == lower[1:]):
        return False
    return lower in lexicon.STARTERS or _INFLECTED.fullmatch(lower) is not None


def _starts(text: str) -> bool:
    found = re.match(r"[^\W\d_]+", text)
    return found is not None and starter(found[0]) and found[0].lower() not in _POLITE
