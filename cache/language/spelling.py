"""Read how a prompt is written: letter case, marks, symbols, and letters beyond ASCII.

Promises: pure and symmetric; two texts pass only if every mark that can carry meaning stands in
both, and a word that both have is written alike in both, but for the case of a sentence's first
word. With the same words in the same order, nothing but the end mark may differ.
Not covered: what the words mean (`cache.language.wording`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from cache.language import lexicon, quantity
from cache.language.normal_form import LITERAL, courteous, lowered_start, starter
from cache.language.slots import LIMIT_CHARS

_TYPOGRAPHIC = str.maketrans({"’": "'", "ʼ": "'", "‘": "'", "“": '"', "”": '"', "„": '"'})
_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*'?")
_APOSTROPHED = re.compile(r"[a-z]+(?:'[a-z]+)*'?")
_LETTERS = re.compile(r"[^\W\d_]+")
_SENTENCE_ENDS = ".?!:。？！"
# Neutral after a word; an exclamation mark is not: it may be a factorial.
_AFTER_WORD = ".,;:"
_END = re.compile(r"(?:\s*[?？。]|\.{1,3}|…)$")
_FIGURE = re.compile(r"[<>≤≥]?=?[$€£¥₹]?(\d[\d,]*(?:\.\d+)*)([A-Za-z°%€£]*)")
# Spelled so that zeros or commas count: 007, Python 3.0, 1,5.
_ODD = re.compile(r"0\d|.*\.\d*0|.*,(?!\d{3}(?!\d))")
# Where letters and marks themselves are what is asked about, every mark counts.
_ABOUT_MARKS = re.compile(
    r"\b(?:regex|regexp|regular expression|glob|wildcard|pattern|symbol|punctuation|operator"
    r"|character|characters|emoji|emoticon|notation|factorial|letter|letters"
    r"|uppercase|lowercase|escape|string)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a text is written.

    `words` in lower case and order; `forms` each word as written where its case counts; `marks` the
    pieces with anything but letters and figures in them, sorted; `bare` each word by what it is
    without apostrophes; `inner` words with a capital after
    their first letter; `whole` the text without what may always differ.
    """

    words: tuple[str, ...]
    forms: dict[str, frozenset[str]]
    marks: tuple[str, ...]
    bare: dict[str, str]
    inner: frozenset[str]
    whole: str


@lru_cache(maxsize=8192)
def spelled(text: str) -> Spelling:
    """The spelling of a prompt's first `LIMIT_CHARS` characters, without courtesy at its ends."""
    said = courteous(unicodedata.normalize("NFC", text[:LIMIT_CHARS]).translate(_TYPOGRAPHIC))
    strict = _ABOUT_MARKS.search(said) is not None
    pieces = said.split()
    forms: dict[str, set[str]] = {}
    words, marks, inner = [], [], set()
    initial = True
    for at, piece in enumerate(pieces):
        after = pieces[at + 1] if at + 1 < len(pieces) else ""
        core = piece if strict else _core(piece, after)
        for word in _LETTERS.findall(piece):
            lower = word.lower()
            words.append(lower)
            free = initial and starter(word)
            if free and piece.startswith(word):
                core = core.replace(word, lower, 1)
            forms.setdefault(lower, set()).add(lower if free else word)
            if word[1:] != lower[1:]:
                inner.add(lower)
            initial = False
        if _is_mark(core, after):
            marks.append(core)
        words += re.findall(r"\d+", piece)
        initial = initial or piece[-1] in _SENTENCE_ENDS
    whole = _LETTERS.sub(_safe, said.strip() if LITERAL.search(said) else " ".join(pieces))
    return Spelling(
        tuple(words),
        {word: frozenset(found) for word, found in forms.items()},
        tuple(sorted(marks)),
        {word.replace("'", ""): word for word in _APOSTROPHED.findall(said.lower())},
        frozenset(inner),
        whole if strict else _END.sub("", lowered_start(whole)),
    )


def _safe(found: re.Match[str]) -> str:
    lower = found[0].lower()
    return lower if lower in lexicon.SAFE_CASE else found[0]


def case_differs(one: str, other: str) -> bool:
    """A word of both in another case, or a word such as mW or iPhone that only one text has."""
    mine, theirs = spelled(one), spelled(other)
    for word in mine.forms.keys() & theirs.forms.keys() - lexicon.SAFE_CASE:
        if mine.forms[word] != theirs.forms[word]:
            return True
    return _lacks(mine, theirs) or _lacks(theirs, mine)


def _lacks(mine: Spelling, theirs: Spelling) -> bool:
    return any(
        word not in theirs.forms
        and not any(
            lexicon.same_meaning(lexicon.stem(word), lexicon.stem(one)) for one in theirs.forms
        )
        for word in mine.inner
    )


def marks_differ(one: str, other: str) -> bool:
    """A mark that only one text has; or the same words in the same order with other marks."""
    mine, theirs = spelled(one), spelled(other)
    if mine.marks != theirs.marks or _apostrophe(mine, theirs) or _apostrophe(theirs, mine):
        return True
    return mine.words == theirs.words and mine.whole != theirs.whole


def _apostrophe(mine: Spelling, theirs: Spelling) -> bool:
    """Its and it's, boys' and boy's; "whats" is only typed in a hurry."""
    return any(
        bare in theirs.bare and theirs.bare[bare] != word and bare not in lexicon.ASKING["hurried"]
        for bare, word in mine.bare.items()
        if "'" in word
    )


def same_wording(one: str, other: str) -> bool:
    """Whether nothing differs but what `marks_differ` and `case_differs` let pass."""
    return spelled(one).whole == spelled(other).whole


def _core(piece: str, after: str) -> str:
    """A piece without the marks of the sentence around it."""
    ends_sentence = not after or after[:1].isupper()
    core = piece.rstrip(_AFTER_WORD + "?？。…" if ends_sentence else _AFTER_WORD)
    core = core.removeprefix("¿").removeprefix("¡")
    if core[:1] == "(" and _WORD.fullmatch(core[1:3]) and core.count("(") == 1:
        core = core[1:]
    if core[-1:] == ")" and "(" not in core and _WORD.fullmatch(core[-3:-1]):
        core = core[:-1].rstrip(_AFTER_WORD + "?")
    return core


def _is_mark(core: str, after: str) -> bool:
    """Whether a piece holds more than a word of ASCII letters or a figure that gates read."""
    if not core or (core in ("-", "–", "—") and not after[:1].isdigit()) or _WORD.fullmatch(core):
        return False
    if core in ("<", ">", "≤", "≥", "<=", ">=") and after[:1].isdigit():
        return False  # `Refusal.BOUND` reads it
    figure = _FIGURE.fullmatch(core)
    if figure is None or _ODD.match(figure[1]):
        return True
    suffix = figure[2].lower()
    return bool(suffix) and not (
        suffix in ("st", "nd", "rd", "th", "s", "%")
        or suffix in lexicon.SCALES
        or quantity.unit(suffix)
    )
