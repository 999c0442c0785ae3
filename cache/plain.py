"""A prompt in plain form, for wordings that differ in nothing but manners.

Promises: pure; two prompts of one plain form ask the same for the same: case, marks at the end,
contractions, courtesy and the ways to begin "how to" are all that is taken away. Words keep their
order, and whatever stands in quotes or looks like code stays as it is.
Not covered: synonyms, which are the verifier's (`cache.verify`).
"""

from __future__ import annotations

import re
import unicodedata

_MARKED = re.compile(r"""["'`“”‘’«»{}<>=_\\/@#$%^*|~\[\]()]""")
_APOSTROPHE = re.compile(r"[’ʼ`]")
_SPACE = re.compile(r"\s+")
_ENDS = " .!?,;:…"
# In this order; the left side is a regular expression over lower-case words.
_SAME = tuple(
    (re.compile(rf"\b(?:{words})\b"), plain)
    for words, plain in (
        (r"what's|whats", "what is"),
        (r"who's", "who is"),
        (r"where's", "where is"),
        (r"how's", "how is"),
        (r"that's", "that is"),
        (r"it's", "it is"),
        (r"i'm", "i am"),
        (r"don't", "do not"),
        (r"doesn't", "does not"),
        (r"can't|cannot", "can not"),
        (r"isn't", "is not"),
        (r"aren't", "are not"),
        (r"won't", "will not"),
        (r"please|kindly", ""),
        (r"how (?:do|can|could|would|should|might) (?:i|we|you|one) (?=\w)", "how to "),
        (r"what is the way to", "how to"),
    )
)
_COURTESY = re.compile(
    r"^(?:(?:hi|hello|hey)\b[ ,!.]*)?(?:(?:can|could|would|will) you (?:please )?)?"
    r"(?:tell me |explain to me (?=how|what|why|when|where|who))?"
)


def plain(text: str) -> str:
    """The plain form, "" of nothing but courtesy."""
    said = _APOSTROPHE.sub("'", unicodedata.normalize("NFKC", text)).strip()
    lowered = _SPACE.sub(" ", said.casefold()).strip(_ENDS)
    for pattern, same in _SAME:
        lowered = pattern.sub(same, lowered)
    return _COURTESY.sub("", _SPACE.sub(" ", lowered).strip(_ENDS)).strip(_ENDS)


def same_words(one: str, other: str) -> bool:
    """Whether two prompts differ in nothing but manners."""
    if one == other:
        return True
    if _marked(one) != _marked(other):
        return False
    mine = plain(one)
    return bool(mine) and mine == plain(other)


def _marked(text: str) -> list[str]:
    """The words with marks of quotes or code in them, as they are: case may matter there."""
    contractions = _APOSTROPHE.sub("'", text)
    words = re.sub(r"(?<=\w)'(?=\w)", "", contractions).split()
    return [word for word in words if _MARKED.search(word)]
