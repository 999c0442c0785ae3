"""Grades an answer to a question whose right answer is known.

Promises: by rule, so that no model judges another, and pure. What an answer marks as its answer
counts before everything else that it says.
Not covered: whether a right answer was reached soundly, and synonyms of the right answer.
"""

import re
from dataclasses import dataclass

SHORT, BRIEF, WORKED = "short", "brief", "worked"
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_SPELLED = re.findall(r"\w+", "zero one two three four five six seven eight nine ten eleven twelve")
_MARKED = re.compile(r"(?i)\banswer\s*(?:is\b|[:=])[\s:*]*([^\n]+)|\\boxed\{([^\n]+)\}")


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, its right answer, and those that it might be taken for (`options`)."""

    kind: str
    form: str
    prompt: str
    gold: str
    options: tuple[str, ...] = ()


def right(question: Question, answer: str) -> bool:
    """Whether an answer is right.

    Of what it marks as its answer, or of a short one's beginning and another one's end: the
    number, or the option that is named first, must be the gold one; other text must hold it.
    """
    marked = [one or other for one, other in _MARKED.findall(answer)]
    if question.options:
        ends = question.form != SHORT and not marked
        return _named(marked[-1] if marked else answer, question.options, ends) == question.gold
    if NUMBER.fullmatch(question.gold):
        return _number_of(question, marked, answer) == _value(question.gold)
    said = marked[-1] if question.form != SHORT and marked else answer
    return _places(question.gold).search(said) is not None


def _named(said: str, options: tuple[str, ...], last: bool) -> str | None:
    """The option that is named first or last."""
    found = [(place.start(), each) for each in options for place in _places(each).finditer(said)]
    return (max(found) if last else min(found))[1] if found else None


def _number_of(question: Question, marked: list[str], answer: str) -> float | None:
    for said in (*reversed(marked), answer):
        said = said.rsplit("=", 1)[-1] if "=" in said and said is not answer else said
        numbers = NUMBER.findall(said) or _spelled(said)
        if numbers:
            ends = said is answer and (question.form != SHORT or "=" in said)
            return _value(numbers[-1] if ends else numbers[0])
    return None


def _spelled(said: str) -> list[str]:
    words = re.findall(r"[a-z]+", said.lower())
    return [str(_SPELLED.index(word)) for word in words if word in _SPELLED]


def _value(number: str) -> float:
    return round(float(number.replace(",", "")), 6)


def _places(wanted: str) -> re.Pattern[str]:
    # An option's letter is a capital: "a" is a word.
    flags = 0 if len(wanted) == 1 and wanted.isupper() else re.I
    return re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)", flags)
