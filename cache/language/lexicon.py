"""Load the words of `lexicon.toml` as sets and tables, and the stems under which they are known.

Promises: data only, read once; a word and its inflections share a stem, so that a list names each
word once. Not covered: languages other than English, but for the words that tell which one a text
is in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).with_name("lexicon.toml")
_VOWELS = frozenset("aeiouy")


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """A lower-case word without the endings of number, tense and adverb: `moving`, `moves`: `mov`.

    Coarse on purpose: two words that share a stem by accident only lose a feature's sharpness.
    """
    word = word.removesuffix("'s").removesuffix("’s").replace("'", "").replace("’", "")
    if len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ingly", "edly", "ing", "ed", "ly"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 and _VOWELS & set(root):
            word = root
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    if len(word) > 3 and word[-1] == "y" and word[-2] not in _VOWELS:
        word = word[:-1] + "i"
    return word.removesuffix("e") if len(word) > 3 else word


def _words(text: str) -> list[str]:
    return text.split()


def _table(groups: Mapping[str, str]) -> dict[str, str]:
    """Each spelling with the name of its group."""
    return {word: name for name, words in groups.items() for word in _words(words)}


def _groups(text: str) -> dict[str, frozenset[int]]:
    """Each stem with the numbers of the lines it stands on."""
    found: dict[str, set[int]] = {}
    for number, line in enumerate(text.strip().splitlines()):
        for word in _words(line):
            found.setdefault(stem(word), set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}


def _opposites(text: str) -> dict[str, frozenset[str]]:
    """Each word with those that the first word of a line is set against, both ways."""
    found: dict[str, set[str]] = {}
    for line in text.strip().splitlines():
        first, *others = (stem(word) for word in _words(line))
        for other in others:
            found.setdefault(first, set()).add(other)
            found.setdefault(other, set()).add(first)
    return {word: frozenset(others) for word, others in found.items()}


_DATA = tomllib.loads(_FILE.read_text(encoding="utf-8"))

FRAME: frozenset[str] = frozenset(stem(word) for word in _words(_DATA["frame"]))
SYNONYMS = _groups(_DATA["synonyms"])
OPPOSITES = _opposites(_DATA["antonyms"])
NEGATORS: frozenset[str] = frozenset(_words(_DATA["negators"]))
STARTERS: frozenset[str] = frozenset(_words(_DATA["starters"]))
SAFE_CASE: frozenset[str] = frozenset(_words(_DATA["safe_case"]))
LIGHT: frozenset[str] = frozenset(stem(word) for word in _words(_DATA["light"]))
KINDS: frozenset[str] = frozenset(stem(word) for word in _words(_DATA["kinds"]))
LOOSE: frozenset[str] = frozenset(stem(word) for word in _words(_DATA["loose"]))
_ALIKE = _groups(_DATA["alike"])
NUMBERS: Mapping[str, str] = _DATA["numbers"]
SCALES: Mapping[str, int] = _DATA["scales"]
UNITS = _table(_DATA["units"])
CURRENCIES = _table(_DATA["currencies"])
DATES = _table(_DATA["dates"])
FORMATS = _table(_DATA["formats"])
LENGTHS = _table(_DATA["lengths"])
AUDIENCES = _table(_DATA["audiences"])
POSSESSORS = _table(_DATA["possessors"])
LANGUAGES: frozenset[str] = frozenset(_words(_DATA["names"]["languages"]))
CODE_NAMES: frozenset[str] = frozenset(_words(_DATA["names"]["code"]))
ASKING = {name: frozenset(_words(words)) for name, words in _DATA["asking"].items()}
MODALS = _table(_DATA["modals"])
QUESTION_WORDS = _table(_DATA["question_words"])
NAMED = {kind: frozenset(_words(words)) for kind, words in _DATA["named"].items()}
FUNCTION_WORDS = {name: frozenset(_words(words)) for name, words in _DATA["functions"].items()}
# Words of English that another language has, too: they prove nothing.
SHARED_WORDS = FUNCTION_WORDS["en"] & frozenset[str]().union(
    *(words for name, words in FUNCTION_WORDS.items() if name != "en")
)


@lru_cache(maxsize=65536)
def same_meaning(one: str, other: str) -> bool:
    """Whether two stems are the same or stand in one group of synonyms."""
    if one == other:
        return True
    mine, theirs = SYNONYMS.get(one), SYNONYMS.get(other)
    return mine is not None and theirs is not None and not mine.isdisjoint(theirs)


def alike(one: str, other: str) -> bool:
    """Whether two stems stand in one line of `alike`: any reader takes one for the other."""
    return not _ALIKE.get(one, frozenset()).isdisjoint(_ALIKE.get(other, frozenset()))


def opposed(one: str, other: str) -> bool:
    """Whether two stems are opposites, by the list or by a prefix: `lock`, `unlock`."""
    if other in OPPOSITES.get(one, ()):
        return True
    short, long = sorted((one, other), key=len)
    return len(short) > 2 and long in (f"un{short}", f"dis{short}", f"non{short}", f"im{short}")
