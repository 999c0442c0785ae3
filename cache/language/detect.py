"""Tell which language a prompt is in, by its script and its function words.

Promises:
- pure, and conservative: English is recognised by its words, or is short plain ASCII without a
  sign of another language; a mix of two languages is no language ("").
- words in quotes or code do not count, unless there are no others.
Not covered: telling Portuguese from Galician and the like; what has no gates is not served anyway.
"""

from __future__ import annotations

import re
from functools import lru_cache

from cache.language import lexicon

# Those whose prompts `cache.language.mismatch` and `cache.language.sensitive` can read.
GATED = frozenset({"en", "de", "fr", "es", "zh", "ja"})
ENGLISH = "en"
# Without any function word a longer text is not taken for English.
_SHORT_WORDS = 12
# Foreign words that an English text may have for each of its own.
_ENGLISH_LEAD = 4

_QUOTED = re.compile(
    r"```.*?```|`[^`]*`|\"[^\"]*\"|“[^”]*”|„[^“”]*[“”]|«[^»]*»|(?<!\w)['‘][^'’]*['’](?!\w)", re.S
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_CLITIC = re.compile(r"(?<!\w)(?:[ldjnmtsc]|qu)['’](?=\w)")
# Addresses and names of files: their "com" and "de" are no words.
_ADDRESS = re.compile(r"\S*(?:[@/\\_:]|\w\.\w)\S*")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
_OTHER_SCRIPT = re.compile("[\u0370-\u1dff\u1f00-\u1fff\u2c00-\u2dff\ua000-\uabff\uac00-\ud7ff]")
_SCRIPTS = (
    ("hangul", "\uac00", "\ud7ff"), ("hangul", "\u1100", "\u11ff"),
    ("cyrillic", "\u0400", "\u052f"), ("arabic", "\u0600", "\u077f"),
    ("hebrew", "\u0590", "\u05ff"), ("greek", "\u0370", "\u03ff"),
    ("devanagari", "\u0900", "\u097f"), ("thai", "\u0e00", "\u0e7f"),
)  # fmt: skip


@lru_cache(maxsize=8192)
def language_of(text: str) -> str:
    """A code such as "en", the name of another script, or "" when unsure. Answers in any case."""
    bare = _QUOTED.sub(" ", text)
    if not _WORD.search(bare):
        bare = text
    if not bare.isascii() and (script := _by_script(bare)) is not None:
        return script
    return _by_words(_ADDRESS.sub(" ", bare))


def _by_script(text: str) -> str | None:
    """Name the language of a text that is a third or more in another script; else None."""
    letters = sum(map(str.isalpha, text))
    han, kana = len(_HAN.findall(text)), len(_KANA.findall(text))
    foreign = _OTHER_SCRIPT.findall(text)
    if han + kana + len(foreign) == 0 or (han + kana + len(foreign)) * 3 < letters:
        return None
    if foreign:
        if len(foreign) <= (han + kana) // 8:  # a Greek letter in a formula
            return "ja" if kana else "zh"
        return next((name for name, first, last in _SCRIPTS if first <= foreign[0] <= last), "")
    return "ja" if kana else "zh"


def _by_words(text: str) -> str:
    # An acronym is no function word: MIT, LA.
    found = [one for one in _WORD.findall(text) if len(one) < 2 or not one.isupper()]
    words = [_CLITIC.sub("", word.lower()) for word in found or _WORD.findall(text)]
    english = lexicon.FUNCTION_WORDS[ENGLISH]
    known = sum(word in english for word in words)
    marked = sum(not word.isascii() for word in words)
    counts = {
        name: sum(word in own and word not in english for word in words)
        for name, own in lexicon.FUNCTION_WORDS.items()
        if name != ENGLISH
    }
    counts["fr"] += len(_CLITIC.findall(text.lower()))
    best = max(counts.values())
    if not best:
        return _plain_english(text, words, known, marked)
    sure = sum(word in english and word not in lexicon.SHARED_WORDS for word in words)
    if sure >= _ENGLISH_LEAD * best and sure > 2 * marked:
        return ENGLISH
    if best == 1 and sure >= 2 and not marked:  # "El Paso", "the Mona Lisa"
        return ENGLISH
    if sure > best // _ENGLISH_LEAD:
        return ""
    leaders = [name for name, count in counts.items() if count == best]
    return leaders[0] if len(leaders) == 1 else _tied(leaders, words)


def _tied(leaders: list[str], words: list[str]) -> str:
    """The language that words of two languages decide for, those shared with English, too."""
    totals = {name: sum(word in lexicon.FUNCTION_WORDS[name] for word in words) for name in leaders}
    most = max(totals.values())
    first = [name for name in leaders if totals[name] == most]
    return first[0] if len(first) == 1 else ""


def _plain_english(text: str, words: list[str], known: int, marked: int) -> str:
    """English, where no word of another language stands in the text."""
    if known:
        return ENGLISH if known > marked else ""
    return ENGLISH if text.isascii() and len(words) <= _SHORT_WORDS else ""
