"""Normalise the final answer of a text, so that equal answers compare equal."""

import re

from text.arithmetic import evaluate
from text.reading import final_answer

_CHOICE = re.compile(r"\W*(?:option|choice)?\s*\(?([A-Ja-j])(?:[).:,]\s?.{0,60}|\W*)", re.S)


# One number with words or a unit beside it, but no root, power or letter at it.
_SINGLE = re.compile(r"(?:[^\d§^_]*[\s-])?\(?\d[\d.,]*(?:%|\s[^\d§^_]*|[.,:;)]*)")


_SPACE = re.compile(r"\s+")


def normalise_final(answer: str) -> str | None:
    """The final answer in one form for equal ones, or None without one.

    A number loses its unit, currency and separators; an option is its capital letter; other text
    is compared without case, space at its ends, and marks of the end.
    """
    final = final_answer(answer)
    if final is None:
        return None
    choice = _CHOICE.fullmatch(final.text)
    if choice:
        return choice[1].upper()
    said = final.clean
    value = final.value
    if value is not None and (_SINGLE.fullmatch(said) or evaluate(said) is not None):
        return f"{value + 0.0:.10g}"
    # LaTeX stays as written: as plain arithmetic all its unknown commands look alike.
    text = _SPACE.sub("", final.text) if "\\" in final.text else _SPACE.sub(" ", said)
    return text.strip(" $.,;:!\"'()").casefold() or None
