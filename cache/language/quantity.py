"""Normalise numbers, units, money and dates of a text.

Promises: pure; takes a text's tokens in lower case (`cache.language.slots`). "1,000", "1000" and
"1k" are one number; "3.1" and "3.10" are two, for they may be versions. Not covered: arithmetic:
"24 hours" and "a day" are two quantities.
"""

from __future__ import annotations

import re

from cache.language import lexicon

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)*")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_GLUED = re.compile(r"([\d,.]*\d)([a-zA-Z°%℃℉]+)")
_VERSION = re.compile(r"[vV](\d[\d.]*)")
_OPERATOR = re.compile(r"[-+*/^=<>×÷≤≥≠%]+")
# Everyday words that are units only where something is counted in them.
_EVERYDAY = frozenset(
    {"second", "minute", "hour", "day", "week", "month", "year", "decade", "century", "ms"}
    | {"foot", "bar", "stone", "cup", "bit", "degree"}
    | {"word", "sentence", "paragraph", "line", "page"}
)
_LESS = frozenset(("<", "≤", "<=", "under", "below", "less", "fewer", "within", "most"))
_MORE = frozenset((">", "≥", ">=", "over", "above", "more", "least", "exceeding"))
SUMS = {"plus": "+", "minus": "-", "times": "*", "×": "*", "x": "*", "÷": "/", "divided": "/"}
_COMPARE = frozenset(("<", ">", "≤", "≥", "<=", ">=", "=", "->", "=>"))


def _number(word: str) -> str:
    """`1,000` as `1000`, `2.0` as `2`; `3.10` stays what it is: versions are not decimals."""
    whole = word.rstrip(".,").replace(",", "")
    head, _, tail = whole.partition(".")
    head = head.lstrip("0") or "0"
    return f"{head}.{tail}" if tail.strip("0") else head


def _scaled(number: str, scale: int) -> str:
    try:
        return _number(f"{float(number) * scale:.6f}".rstrip("0"))
    except ValueError:
        return f"{number}x{scale}"


def numbers(lower: list[str]) -> list[str]:
    """All numbers in order, in digits; "five hundred" is one of them."""
    found: list[str] = []
    was_number = False
    for word in lower:
        found_value = value(word)
        if was_number and word in lexicon.SCALES:
            found[-1] = _scaled(found[-1], lexicon.SCALES[word])
            continue
        was_number = found_value is not None
        if word in lexicon.SCALES and len(word) > 2:  # "a million"
            found_value = str(lexicon.SCALES[word])
        if found_value is not None:
            found.append(found_value)
    return found


def value(word: str) -> str | None:
    """The number that a word is, or begins with: `5km`, `500k`, `v2`, `3rd`, `seven`."""
    if word in lexicon.NUMBERS:
        return lexicon.NUMBERS[word]
    if ordinal := _ORDINAL.fullmatch(word):
        return f"#{_number(ordinal[1])}"
    if _NUMBER.fullmatch(word):
        return _number(word)
    if version := _VERSION.fullmatch(word):
        return _number(version[1])
    glued = _GLUED.fullmatch(word)
    if glued and glued[2] in lexicon.SCALES:
        return _scaled(_number(glued[1]), lexicon.SCALES[glued[2]])
    if glued and unit(glued[2]):
        return _number(glued[1])
    return None


def unit(word: str) -> str:
    """The unit, currency or date word in one spelling; "" for any other word."""
    return lexicon.UNITS.get(word) or lexicon.CURRENCIES.get(word) or lexicon.DATES.get(word) or ""


def quantities(lower: list[str]) -> frozenset[tuple[str, str]]:
    """Each number with the unit or currency that it is written with."""
    found = []
    for at, word in enumerate(lower):
        if (glued := _GLUED.fullmatch(word)) and unit(glued[2]):
            found.append((_number(glued[1]), unit(glued[2])))
        elif (number := value(word)) is not None:
            before = lexicon.CURRENCIES.get(lower[at - 1], "") if at else ""
            after = next((name for near in lower[at + 1 : at + 3] if (name := unit(near))), "")
            if before or after:
                found.append((number, before or after))
    return frozenset(found)


def units(lower: list[str]) -> frozenset[str]:
    """Units; those that are everyday words only where something is counted in them."""
    found = set()
    for at, word in enumerate(lower):
        name = lexicon.UNITS.get(word)
        if name is None:
            continue
        counted = at and (
            lower[at - 1] in ("many", "in", "per") or value(lower[at - 1]) is not None
        )
        if counted or name not in _EVERYDAY:
            found.add(name)
    glued = (match for word in lower if (match := _GLUED.fullmatch(word)))
    return frozenset(found | {lexicon.UNITS[one[2]] for one in glued if one[2] in lexicon.UNITS})


def bounds(lower: list[str]) -> frozenset[str]:
    """Which way a number bounds: "under", "at least"; read right before a number only."""
    found = set()
    for at, word in enumerate(lower):
        if value(word) is None:
            continue
        near = set(lower[max(0, at - 3) : at])
        if near & _LESS:
            found.add("less")
        if near & _MORE:
            found.add("more")
    return frozenset(found)


def dates(lower: list[str], tokens: list[str]) -> frozenset[str]:
    """Months, weekdays, seasons, and parts of a day; "May" only where it is no verb."""
    found = {lexicon.DATES[word] for word in lower if word in lexicon.DATES and word != "am"}
    for at, token in enumerate(tokens):
        near = lower[max(0, at - 1) : at] + lower[at + 1 : at + 2]
        dated = any(word in ("in", "of", "on", "until") or word[:1].isdigit() for word in near)
        if token == "May" and at and dated:
            found.add("may")
        if (glued := _GLUED.fullmatch(lower[at])) and glued[2] in lexicon.DATES:
            found.add(lexicon.DATES[glued[2]])
    return frozenset(found)


def arithmetic(lower: list[str], found: list[str]) -> tuple[str, ...]:
    """Operators, and with them the numbers in order, where a sum is asked."""
    marks = [
        SUMS.get(word, word)
        for at, word in enumerate(lower)
        if (_OPERATOR.fullmatch(word) or word in SUMS)
        and at
        and any(value(near) for near in lower[at - 1 : at + 2])
        and word != "%"
    ]
    if len(found) < 2 or not set(marks) - _COMPARE:
        return ()
    return (*marks, *found)


def currencies(lower: list[str]) -> frozenset[str]:
    """Currencies by sign, code or word, also written on to their number."""
    words = set(lower) | {match[2] for word in lower if (match := _GLUED.fullmatch(word))}
    return frozenset(lexicon.CURRENCIES[word] for word in words if word in lexicon.CURRENCIES)
