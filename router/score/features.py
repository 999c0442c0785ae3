"""Count surface features of a prompt.

Promises: `surface` returns one finite float32 per name in `NAMES`, in that order, for any list of
messages, whatever the text; the work is bounded, because a long text is read at both its ends.
Counts enter as log(1 + count), so that a long prompt does not drown a short one. Runs of spaces
and empty lines count as one, and features outside `STEADY` alone depend on case: who shouts or
indents asks the same question.
Not covered: meaning, which the embedding carries. The features of the conversation around the
question are constant in today's training data, and so weigh nothing until data with them exist.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router.score.conversation import Conversation, Messages, read
from router.score.lexicon import CHINESE_KIND, ENGLISH_KIND, KINDS

# Characters read from each end of a long question; bounds the time of every pattern below.
SIDE_CHARS = 2000

_WORD = re.compile(r"[a-z]+(?:\+\+|'[a-z]+)?")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_HAN_TERM = re.compile("|".join(sorted(CHINESE_KIND, key=len, reverse=True)))

_COUNTED: dict[str, re.Pattern[str]] = {
    "question_marks": re.compile(r"[?？]"),
    "sentences": re.compile(r"[.!?。！？](?=\s|$|[\u3400-\u9fff])"),
    "commas": re.compile(r"[,;，；、]"),
    "numbers": re.compile(r"\d+(?:[.,]\d+)*"),
    "big_numbers": re.compile(r"\d{4,}"),
    "money_or_percent": re.compile(r"[$€£¥]\s?\d|\d\s?[%％]"),
    "latex_commands": re.compile(r"\\[a-zA-Z]{2,}"),
    "dollar_signs": re.compile(r"\$"),
    "operators": re.compile(r"[=<>≤≥≠+*/^×÷∑∫√]"),
    "brackets": re.compile(r"[(\[{]"),
    "code_marks": re.compile(r"```|[{};]\s*$|\w\(\)|->|=>|==|!=|::", re.MULTILINE),
    "snake_or_camel": re.compile(r"[a-z]_[a-z]|[a-z][A-Z]"),
    "options": re.compile(r"^\s*\(?[A-Pa-p][.):]\s", re.MULTILINE),
    "roman_items": re.compile(r"\b(?:I{2,3}|IV|VI{0,3})\b[.):]?", re.IGNORECASE),
    "listed_items": re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE),
    "blanks": re.compile(r"_{2,}|\.{3,}|…"),
    "quotes": re.compile(r"[\"“”「」]|(?<!\w)'"),
    "capitalised": re.compile(r"(?<=[a-z,] )[A-Z][a-z]+"),
    "big_o": re.compile(r"\bO\s?\(", re.IGNORECASE),
}
_RATIOS: dict[str, re.Pattern[str]] = {
    "digit_ratio": re.compile(r"\d"),
    "upper_ratio": re.compile(r"[A-Z]"),
    "han_ratio": _HAN,
    "punctuation_ratio": re.compile(r"[^\w\s]"),
    "non_ascii_ratio": re.compile(r"[^\x00-\x7f]"),
}
_SHAPE = (
    "chars",
    "words",
    "lines",
    "word_length",
    "distinct_word_ratio",
    "longest_word",
    "words_per_sentence",
    "ends_with_question",
    "ends_with_answer_cue",
)
_AROUND = ("user_turns", "earlier_chars", "system_chars", "media_parts", "tool_messages")

NAMES: tuple[str, ...] = (
    *_SHAPE,
    *_COUNTED,
    *_RATIOS,
    *(f"kind_{kind}" for kind in KINDS),
    *_AROUND,
)
# (F,) bool: features that a change of case leaves as they are. Weights are learned on these alone.
_OF_CASE = ("snake_or_camel", "capitalised", "upper_ratio")
STEADY: NDArray[np.bool_] = np.array([name not in _OF_CASE for name in NAMES])

_SPACES = re.compile(r"[^\S\n]+")
_LINE_ENDS = re.compile(r" ?\n[ \n]*")


def surface(messages: Messages) -> NDArray[np.float32]:
    """(F,) float32, F = len(NAMES), for a conversation."""
    return of_conversation(read(messages))


def of_conversation(conversation: Conversation) -> NDArray[np.float32]:
    """(F,) float32 for a conversation that has been read already."""
    text = _evenly_spaced(_sides(conversation.asked))
    words = _WORD.findall(text.lower())
    han = _HAN.findall(text)
    values = [
        *_shape(len(conversation.asked), text, [*words, *han]),
        *(math.log1p(len(pattern.findall(text))) for pattern in _COUNTED.values()),
        *(len(pattern.findall(text)) / max(len(text), 1) for pattern in _RATIOS.values()),
        *_kinds(words, _HAN_TERM.findall(text) if han else ()),
        *_around(conversation),
    ]
    return np.array(values, dtype=np.float32)


def _shape(chars: int, text: str, words: Sequence[str]) -> tuple[float, ...]:
    """The values of `_SHAPE`; a Chinese character counts as a word."""
    count = max(len(words), 1)
    stripped = text.rstrip()
    sentences = len(_COUNTED["sentences"].findall(text))
    return (
        # A text that was read whole is measured without its superfluous spaces.
        math.log1p(len(text) if chars <= 2 * SIDE_CHARS else chars),
        math.log1p(len(words)),
        math.log1p(text.count("\n")),
        sum(map(len, words)) / count,
        len(set(words)) / count,
        math.log1p(max(map(len, words), default=0)),
        math.log1p(len(words) / max(sentences, 1)),
        float(stripped.endswith(("?", "？"))),
        float(stripped.lower().endswith(("answer:", "answer is", "答案：", "答案:"))),
    )


def _kinds(words: Sequence[str], han_terms: Sequence[str]) -> list[float]:
    """log(1 + words of each kind), in the order of `KINDS`."""
    counts = [0] * len(KINDS)
    for word in words:
        kind = ENGLISH_KIND.get(word)
        if kind is not None:
            counts[kind] += 1
    for term in han_terms:
        counts[CHINESE_KIND[term]] += 1
    return [math.log1p(count) for count in counts]


def _around(conversation: Conversation) -> tuple[float, ...]:
    """The values of `_AROUND`."""
    return (
        math.log1p(conversation.user_turns),
        math.log1p(conversation.earlier_chars),
        math.log1p(conversation.system_chars),
        math.log1p(conversation.media_parts),
        math.log1p(conversation.tool_messages),
    )


def _evenly_spaced(text: str) -> str:
    return _LINE_ENDS.sub("\n", _SPACES.sub(" ", text)).strip()


def _sides(text: str) -> str:
    if len(text) <= 2 * SIDE_CHARS:
        return text
    return text[:SIDE_CHARS] + "\n" + text[-SIDE_CHARS:]
