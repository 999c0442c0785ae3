"""Read a question and its answer once: numbers, sums, options, listings, final answer.

Promises: both texts are read at their ends only, so time is bounded; never raises, whatever they
are. Not covered: what of it speaks against the answer; see `router.judge.answer`.
"""

import re
import textwrap
from dataclasses import dataclass

from text.arithmetic import Equation, equations, evaluate, numbers, plain
from text.listing import printed

SIDE_CHARS = 3000  # read from each end of a text
SHORT_CHARS = 160  # an answer below this need not be a sentence
_NUMERALS = {
    **{1: "one once", 2: "two half twice double doubled pair pairs both", 6: "six", 8: "eight"},
    **{3: "three third thirds triple thrice", 4: "four fourth quarter quarters", 9: "nine"},
    **{5: "five fifth fifths", 7: "seven week weeks weekly", 10: "ten", 11: "eleven"},
    **{12: "twelve dozen dozens", 100: "hundred hundreds"},
}
_SPELLED = {word: float(value) for value, words in _NUMERALS.items() for word in words.split()}
_MARKS = (
    re.compile(r"\\boxed\s?\{((?:[^{}]|\{(?:[^{}]|\{[^{}]{0,40}\}){0,60}\}){1,80})\}"),
    re.compile(r"####[ \t]*([^\n]{1,80})"),
    re.compile(r"\"(?:final_)?answer\"\s{0,9}:\s{0,9}\"?([^\"\n}]{1,80})", re.I),
    re.compile(r"\banswer\b[^.\n:=]{0,30}?(?:\bis\b|[:=])[:\s*]{0,9}([^\n]{1,80})", re.I),
    re.compile(r"答案(?:应该|应)?[是为：:][\s*]{0,9}([^\n。]{1,80})"),
)
_SENTENCE_END = re.compile(r"[.。!](?=\s|$)|\*\*")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?%?")
_RESULT = re.compile(r"[=≈]\s{0,3}(-?\d[\d,]*(?:\.\d+)?)")
_MINUS = re.compile(r"[^\d(]{0,12}(?<!\d)-\s?\.?\d")
_BOLD = re.compile(r"\*\*([^*\n]{1,60})\*\*")
_ASKS_NUMBER = re.compile(
    r"(?i)\bhow (?:many|much|far|long|old|tall|fast|heavy)\b|\bwhat (?:percent|fraction|number)"
    r"|\b(?:total|sum|average|altogether|remainder)\b|多少|几[个只天]"
)
_FORMULA = re.compile(r"[\\^]|\$[^\s$](?:[^$\n]{0,60}[^\s$])?\$(?!\d)")  # no story of quantities
_PARTS = re.compile(r"\n|[.;:!?](?=\s)")
_COMPUTES = re.compile(r"[=≈]|[\d)%]\s?[A-Za-z/ ]{0,30}[-+*/^]\s?\(?[\d.]")
_OPTION = re.compile(r"(?:^|\n)\s{0,4}\(?([A-J])[.):]\s")
_PYTHON = frozenset({"python", "py", "Python", "python3"})
FENCE = re.compile(r"```[ \t]*(\w*)[^\n]{0,40}\n(.*?)(?:```|\Z)", re.S)
_WORD = re.compile(r"\w+")
_YEARS = frozenset(map(float, range(1900, 2100)))


@dataclass(frozen=True, slots=True)
class Final:
    """The final answer of a text, as written there, and whether the text marks it as such."""

    text: str
    marked: bool

    @property
    def clean(self) -> str:
        """What stands after its last `=`, as plain arithmetic."""
        return plain(self.text).rsplit("=", 1)[-1].strip(" .*:\n")

    @property
    def value(self) -> float | None:
        """Its number, or the first of several."""
        whole = evaluate(self.clean.rstrip("%"))
        found = numbers(self.clean) if whole is None else [whole]
        if not found:
            return None
        return -found[0] if whole is None and _MINUS.match(self.clean) else found[0]


@dataclass(frozen=True, slots=True)
class Read:
    """Both texts, read once.

    Numbers: `asked` in digits, `told` in words, `used` by what the answer computes, or by all of it
    where it computes nothing or the question is no story; `printed` by its `listings`.
    """

    prompt: str
    answer: str
    words: list[str]
    final: Final | None
    value: float | None
    asked: tuple[float, ...]
    told: tuple[float, ...]
    used: frozenset[float]
    equations: tuple[Equation, ...]
    listings: tuple[str, ...]
    printed: tuple[float, ...]
    options: frozenset[str]
    wants_number: bool
    is_story: bool

    @property
    def quantities(self) -> tuple[float, ...]:
        """The numbers asked about, without those that read as years: "from 2017 to 2019"."""
        return tuple(each for each in self.asked if each not in _YEARS)


def final_answer(answer: str) -> Final | None:
    """The final answer of a text: a marked one if there is one, else a number of its last line.

    Of several there, it is the last that the text has as a result, or the last: "96 in 2 days".
    """
    text = answer[-SIDE_CHARS:].strip()
    for pattern in _MARKS:
        found = pattern.findall(text)
        said = _SENTENCE_END.split(found[-1].strip(" *"))[0].strip() if found else ""
        if said:
            return Final(said, True)
    for line in reversed(text[-600:].split("\n")):
        found = _NUMBER.findall(plain((_BOLD.findall(line) or [line])[-1]))
        if found:
            results = set(_RESULT.findall(plain(text)))
            known = [number for number in found if number.strip("%") in results]
            return Final((known or found)[-1], False)
    return Final(text, False) if 0 < len(text) <= SHORT_CHARS else None


def read_pair(prompt: str, answer: str) -> Read:
    """Both texts, by their ends."""
    prompt = prompt[-SIDE_CHARS:]
    if len(answer) > 2 * SIDE_CHARS:
        answer = answer[:SIDE_CHARS] + "\n" + answer[-SIDE_CHARS:]
    question = plain(re.split(r"\n(?:Q|Question|Problem):", prompt)[-1])
    clean, words, final = plain(answer), _WORD.findall(answer.lower()), final_answer(answer)
    options = frozenset(_OPTION.findall(prompt))
    options = options if {"A", "B"} <= options else frozenset()
    asked = tuple(dict.fromkeys(numbers(question)))
    told = tuple(_SPELLED[word] for word in _WORD.findall(question.lower()) if word in _SPELLED)
    is_story = not _FORMULA.search(prompt)
    worked = _worked(clean) if is_story else ""
    wants = bool(asked and not options and _ASKS_NUMBER.search(prompt))
    blocks = FENCE.findall(answer)
    listings = tuple(textwrap.dedent(code) for name, code in blocks[:4] if name in _PYTHON)
    return Read(
        prompt,
        answer,
        words,
        final,
        final.value if final else None,
        asked,
        told,
        _used(worked or clean),
        tuple(equations(clean)),
        listings,
        tuple(number for code in listings for number in printed(code)),
        options,
        wants,
        is_story,
    )


def _worked(clean: str) -> str:
    """The lines and sentences of a text that compute; what only repeats the question is none."""
    return "\n".join(part for part in _PARTS.split(clean) if _COMPUTES.search(part))


def _used(clean: str) -> frozenset[float]:
    spelled = (_SPELLED[word] for word in _WORD.findall(clean.lower()) if word in _SPELLED)
    return frozenset([*numbers(clean), *spelled])
