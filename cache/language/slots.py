"""Extract a prompt's slots: what must be equal for one answer to serve two prompts.

Promises: pure, and the same text gives the same slots; spellings of one value ("1,000" and "1000",
"two" and "2", "km" and "kilometres") read the same. A slot that is read wrongly is read wrongly in
both texts of a pair that agree there, so it costs hits before it costs answers.
Not covered: names in lower case that no list has, and values that only the sense tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from cache.language import lexicon, quantity
from cache.language.detect import language_of
from cache.language.lexicon import stem

# Texts beyond this are not read: a gate refuses them (`cache.language.mismatch`).
LIMIT_CHARS = 2000

_TOKEN = re.compile(
    r"https?://\S+|[\w.+-]+@[\w-]+\.[\w.]+"  # addresses
    r"|(?<![\w-])--?[a-zA-Z][\w-]*(?:=\S+)?"  # flags
    r"|[^\W\d_]+:\S+"  # site:example.org
    r"|[$€£¥₹₩]|°[CcFf]|[℃℉%]"
    r"|\d[\d,]*(?:\.\d+)*(?:st|nd|rd|th)?(?![\w])"  # numbers and versions
    r"|\d[\d,]*(?:\.\d+)*"
    r"|[A-Za-z][\w]*[#+]+(?!\w)"  # c++, c#
    r"|[^\W\d_]+(?=-[^\W\d_])"  # words joined by a hyphen are read one by one
    r"|\w+(?:['’.\-/_:]\w+)*"  # words, and what is written in one piece
    r"|(?<![^\W\d_])[-+*/^=<>×÷≤≥≠]+|[+*/^=<>×÷≤≥≠]+"
)
_QUOTED = re.compile(
    r"(?<![^\s(\[:,=])(?:```.*?```|`[^`]+`|\"[^\"]+\"|“[^”]+”|«[^»]+»"
    r"|'[^']+'(?!\w)|‘[^’]+’(?!\w))",
    re.S,
)
_SENTENCE = re.compile(r"(?:[.!?:;]|\n|^)\s*[\"'“‘(\[]*$")
_WILD = {"i", "ok", "okay", "vs", "pm", "am", "eli5", "faq", "diy", "tldr", "q", "a"}
_TITLES = {"mount", "lake", "river", "city", "company", "corporation", "inc", "ltd", "corp", "mr"}
_SPECIFIC = {
    "who": "who", "whom": "who", "whose": "who", "when": "when", "where": "where", "why": "why",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PromptSlots:
    """What was read from one text; every value in the spelling of `cache.language.lexicon`.

    `numbers` sorted, `ones` how often the word "one" stands there, which may or may not count;
    `quantities` are numbers with the unit right after them; `sources` and `targets` are stems at
    either end of a "to"; `stems` all words in order, `content` those that are asked about, and
    `words` how they are written; `audiences` are those of `people` that the answer is for.
    """

    text: str
    plain: str
    stems: tuple[str, ...]
    content: tuple[str, ...]
    words: tuple[str, ...]
    numbers: tuple[str, ...]
    ones: int
    ordered: tuple[str, ...]
    quantities: frozenset[tuple[str, str]]
    units: frozenset[str]
    currencies: frozenset[str]
    dates: frozenset[str]
    bounds: frozenset[str]
    codes: frozenset[str]
    quoted: frozenset[str]
    names: frozenset[str]
    languages: frozenset[str]
    known: frozenset[str]
    negators: int
    negated: frozenset[str]
    sources: frozenset[str]
    targets: frozenset[str]
    formats: frozenset[str]
    lengths: frozenset[str]
    audiences: frozenset[str]
    people: frozenset[str]
    possessors: frozenset[str]
    question: str
    language: str


@lru_cache(maxsize=8192)
def read(text: str) -> PromptSlots:
    """The slots of a prompt's first `LIMIT_CHARS` characters."""
    text = text[:LIMIT_CHARS].replace("’", "'")
    matches = list(_TOKEN.finditer(text))
    tokens = [match.group() for match in matches]
    lower = [token.lower() for token in tokens]
    stems = tuple(stem(word) for word in lower)
    asked = [(one, word) for one, word in zip(stems, lower, strict=True) if _is_content(one, word)]
    numbers = quantity.numbers(lower)
    negators, negated = _negations(text.lower(), lower, stems)
    sources, targets = _directions(lower, stems)
    seen = set(lower)
    return PromptSlots(
        text=text,
        plain=" ".join(lower),
        stems=stems,
        content=tuple(one for one, _ in asked),
        words=tuple(word for _, word in asked),
        numbers=tuple(sorted(numbers)),
        ones=lower.count("one"),
        ordered=quantity.arithmetic(lower, numbers),
        quantities=quantity.quantities(lower),
        units=quantity.units(lower),
        currencies=quantity.currencies(lower),
        dates=quantity.dates(lower, tokens),
        bounds=quantity.bounds(lower),
        codes=frozenset(word for word in lower if _is_code(word)),
        quoted=frozenset(_bare(found) for found in _QUOTED.findall(text)) - {""},
        names=_names(text, matches),
        languages=frozenset(seen & lexicon.LANGUAGES),
        known=frozenset(_spelling(word) for word in seen & lexicon.CODE_NAMES),
        negators=negators,
        negated=negated,
        sources=sources,
        targets=targets,
        formats=_values(seen, lexicon.FORMATS),
        lengths=_values(seen, lexicon.LENGTHS),
        audiences=_audiences(lower),
        people=_values(seen, lexicon.AUDIENCES) | _audiences(lower),
        possessors=_values(seen, lexicon.POSSESSORS),
        question=_question(lower),
        language=language_of(text),
    )


def _is_content(one: str, word: str) -> bool:
    if one in lexicon.FRAME or word in lexicon.FRAME:
        return False
    return any(char.isalnum() for char in word)


def _values(words: set[str], table: dict[str, str]) -> frozenset[str]:
    return frozenset(table[word] for word in words if word in table)


def _spelling(word: str) -> str:
    """One name for the ways to write a known name, such as `js` and `javascript`."""
    groups = lexicon.SYNONYMS.get(stem(word))
    return f"group {min(groups)}" if groups else word


def _audiences(lower: list[str]) -> frozenset[str]:
    """Find the audiences of an answer: "to a child", "like I'm five"."""
    found = set()
    for at, word in enumerate(lower):
        group = lexicon.AUDIENCES.get(word)
        if group and (
            word == "eli5" or {"for", "to", "like", "as"} & set(lower[max(0, at - 4) : at])
        ):
            found.add(group)
    if {"like", "old"} & set(lower) and "five" in lower:
        found.add("child")
    return frozenset(found)


def _is_code(word: str) -> bool:
    """Flags, addresses, paths, and words made of letters with digits or of several pieces."""
    if len(word) < 2 or quantity.value(word) is not None:
        return False
    if word.startswith(("-", "http")) or any(char in word for char in ":@_#+"):
        return any(char.isalnum() for char in word)
    if any(char.isdigit() for char in word):
        return True
    return "." in word.strip(".") and word not in ("a.m", "p.m", "e.g", "i.e", "u.s", "u.k")


def _bare(quoted: str) -> str:
    return " ".join(_TOKEN.findall(quoted.lower()))


def _names(text: str, matches: list[re.Match[str]]) -> frozenset[str]:
    """Stems of capitalised words within a sentence, and of acronyms anywhere.

    In A Title All Words Are Names: another prompt then has to have them all, in any case.
    """
    capital = [match for match in matches if match.group()[0].isupper()]
    found = set()
    for match in capital:
        word = match.group()
        bare = word.split("'")[0]
        acronym = len(bare) > 1 and bare.isupper()
        if not acronym and _SENTENCE.search(text, 0, match.start()):
            continue
        key = stem(bare.lower())
        low = bare.lower()
        if key in _WILD or key in _TITLES or key in lexicon.FRAME or quantity.unit(low):
            continue
        if low in lexicon.LANGUAGES or low in lexicon.CODE_NAMES:
            continue
        found.add(key)
    return frozenset(found)


def _negations(text: str, lower: list[str], stems: tuple[str, ...]) -> tuple[int, frozenset[str]]:
    """How many negations there are, and the words of content soon after each."""
    count, negated = 0, set()
    for at, word in enumerate(lower):
        if word.endswith("n't") or word in lexicon.NEGATORS:
            count += 1
            after = [one for one in stems[at + 1 : at + 7] if one not in lexicon.FRAME]
            negated.update(after[:3])
        elif word == "non":
            count += 1
            negated.update(stems[at + 1 : at + 2])
        elif word == "free" and at and f"{lower[at - 1]}-free" in text:
            count += 1
            negated.add(stems[at - 1])
    return count, frozenset(negated)


_ARTICLES = {"a", "an", "the", "my", "your", "his", "her", "some", "of", "this", "that", "one"}


def _directions(lower: list[str], stems: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """The words at either end of "from x to y", "x into y", "x -> y", "replace x with y"."""
    sources, targets = set(), set()
    for at, word in enumerate(lower):
        if word == "from":
            sources.add(_next(lower, stems, at, 1))
        elif word in ("to", "into", "->", "=>", "-->", "than"):
            targets.add(_next(lower, stems, at, 1))
            sources.add(_next(lower, stems, at, -1))
    return frozenset(sources - {""}), frozenset(targets - {""})


def _next(lower: list[str], stems: tuple[str, ...], at: int, step: int) -> str:
    at += step
    while 0 <= at < len(lower) and lower[at] in _ARTICLES:
        at += step
    return stems[at] if 0 <= at < len(lower) else ""


def _question(lower: list[str]) -> str:
    """The kind of answer asked for, where the first question word tells; else ""."""
    for at, word in enumerate(lower):
        if word in _SPECIFIC:
            return _SPECIFIC[word]
        if word == "how" and at + 1 < len(lower):
            return {"many": "how many", "much": "how much"}.get(lower[at + 1], "")
        if word in ("what", "which", "what's"):
            return ""
    return ""
