"""Find the numbers and equations of a text, and check the equations.

Promises: nothing of the text is executed; an expression is parsed and only + - * / ^, brackets and
numbers are computed, within limits of length and size. Time grows linearly with the text, so the
caller bounds it. Where a sign, a word or a letter leaves room for another reading, no verdict is
given: a false alarm costs a call of the large model, a missed slip only leaves doubt as it was.
Read as well: LaTeX (`\\times`, `\\frac`, `\\boxed`), typographic operators, `$` and other currency,
thousands separators, percent, unit words beside numbers, and calculator marks `<<12*3=36>>`.
Not covered: algebra with letters, roots, factorials, conversions of units.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

MAX_EXPRESSION_CHARS = 160
MAX_EQUATIONS = 60
_MAX_NUMBER_CHARS, _MAX_EXPONENT, _MAX_UNIT_WORDS = 24, 64, 4

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_EXPRESSION = re.compile(r"[0-9.+\-*/^() ]+")
_NUMBER = r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_NUMBERS = re.compile(_NUMBER)
_OPAQUE = "§"  # stands for something that is not computed here
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("×·⋅∙∗✕✖", "*"),
        **(dict.fromkeys("÷∕⁄", "/") | dict.fromkeys("−–—‐‑", "-")),
        **(dict.fromkeys("[{［（", "(") | dict.fromkeys("]}］）", ")")),
        **(dict.fromkeys("$€£¥₹￥&", "") | dict.fromkeys("→⇒⟹", "\n")),
        **{"％": "%", "＝": "=", "＋": "+", "²": "^2", "³": "^3", "…": _OPAQUE, "≠": _OPAQUE},
        **{"½": "(1/2)", "¼": "(1/4)", "¾": "(3/4)", "，": ",", "。": "."},
    }
)
_FRACTION = re.compile(r"\\[dtc]?frac\s{0,3}\{([^{}]{1,120})\}\s{0,3}\{([^{}]{1,120})\}")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox|operatorname)\s?\{([^{}]{0,60})\}")
_LATEX = (
    (re.compile(r"\\[dtc]?frac\s?(\d)\s?(\d)"), r"((\1)/(\2))"),
    (re.compile(r"\\[,!]"), ""),
    (re.compile(r"\\(?:times|cdot|ast)(?![a-zA-Z])"), "*"),
    (re.compile(r"\\div(?![a-zA-Z])"), "/"),
    (re.compile(r"\\approx(?![a-zA-Z])"), "≈"),
    (re.compile(r"\\(?:left|right|boxed|displaystyle|big[lr]?|Big[lr]?)(?![a-zA-Z])"), ""),
    (re.compile(r"\\(?:begin|end)\s?\{[a-z*]{1,12}\}"), "\n"),
    (re.compile(r"\\[()\[\]\\]|\\(?:implies|Rightarrow|quad|qquad)(?![a-zA-Z])"), "\n"),
    (re.compile(r"\\[a-zA-Z]+"), _OPAQUE),
    (re.compile(r"\\(.)"), r"\1"),
)
_CLEANING = (
    (re.compile(r"^[ \t>]{0,20}(?:[-*•+]|#{1,6}|\d{1,2}[.)])[ \t]+", re.MULTILINE), "\n"),
    (re.compile(r"(?<=[\d)])\*\*(?=[\d(-])"), "^"),
    (re.compile(r"\*\*|__|`|(?<=\d)\(,\)(?=\d)"), ""),
    (re.compile(r"\.{2,}"), _OPAQUE),
    # A chain may go on over lines that begin with its next sign of equality.
    (re.compile(r"[ \t]{0,9}(?:\n[ \t]{0,9}){1,5}(?==(?!=)|≈)"), " "),
    (re.compile(r"[xX](?:(?<=[\d)%].)(?=[\d(.])|(?<=\s.)\s(?=[\d(.]))"), "*"),
    (re.compile(r"(?<=\d)\s?(?:percent|per cent)\b"), "%"),
)
_OPERATION = re.compile(r"[\d)%][-+*/^]")
_QUOTIENT = re.compile(r"\d+/\d+")
_SHARE = re.compile(r"(?<!%\))[-+]\([\d.]+%\)")  # "80 - 20%" means twenty percent of the eighty
_CALCULATOR = re.compile(r"<<([^<>\n]{1,120})>>")

_TOKEN = re.compile(
    rf"(?P<number>{_NUMBER})|(?P<word>[-/]?[A-Za-z]+(?:['’][a-z]+)?)|(?P<equals>==?|≈)"
    r"|(?P<operator>[-+*/^])|(?P<open>\()|(?P<close>\))|(?P<percent>%)"
    r"|(?P<stop>[.,;?\n\"'<>#]|:(?!\d))|(?P<opaque>\S)"
)
# After these words a number is part of a computation that is told in words.
_SPOKEN = """of times plus minus by over than from to twice thrice half double triple squared
    cubed root sqrt log ln sin cos tan mod modulo divided multiplied hundred thousand million
    billion dozen remainder pi gcd lcm"""
# But behind a result and its unit these only go on telling: "= 12 miles from home".
_TELLING = frozenset({"of", "than", "from", "to"})
# And "of" behind these only names what follows: "a total of 3 * 4 apples".
_NAMED = "total sum cost price profit amount area volume rate speed length distance weight"
# Units that may touch their number; any other letters there are a product with an unknown.
_UNITS = "kg mg lb lbs oz km cm mm ft in mph hr hrs min mins sec ml th nd rd st am pm"
_SPOKEN_WORDS, _UNIT_WORDS = frozenset(_SPOKEN.split()), frozenset(_UNITS.split())
_NAMING = frozenset(_NAMED.split())
# Ratios between units that one line may cross without a word about it.
_CONVERSIONS = (7.0, 12.0, 24.0, 60.0, 100.0, 1000.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Equation:
    """Two sides that a text says are equal, as expressions, and whether they are."""

    left: str
    right: str
    holds: bool


def evaluate(expression: str) -> float | None:
    """The finite value of an expression of numbers, + - * / ^ and brackets; None if it has none."""
    if len(expression) > MAX_EXPRESSION_CHARS or not _EXPRESSION.fullmatch(expression):
        return None
    try:
        value = _value(ast.parse(expression.strip().replace("^", "**"), mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
    return value if math.isfinite(value) else None


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            return -_value(inner) if isinstance(sign, ast.USub) else _value(inner)
        case ast.BinOp(op=ast.Pow(), left=left, right=right):
            exponent = _value(right)
            if abs(exponent) > _MAX_EXPONENT:
                raise ValueError("the exponent is too large")
            return math.pow(_value(left), exponent)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _BINARY[type(sign)](_value(left), _value(right))
    raise ValueError(f"not arithmetic: {type(node).__name__}")


def plain(text: str) -> str:
    """The text with LaTeX and signs as plain arithmetic; calculator marks move to its end."""
    marks = _CALCULATOR.findall(text)
    if marks:
        text = "\n".join([_CALCULATOR.sub("", text), *marks])
    if "\\" in text:
        text = _TEXT.sub(r" \1 ", text)  # units, which stand inside of fractions, too
        for _ in range(3):  # the innermost fraction first
            text = _FRACTION.sub(r"((\1)/(\2))", text)
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    text = text.translate(_CHARACTERS)
    for pattern, replacement in _CLEANING:
        text = pattern.sub(replacement, text)
    return text


def numbers(plain_text: str) -> list[float]:
    """The unsigned numbers of a text that `plain` has made, in their order."""
    found = (each.replace(",", "") for each in _NUMBERS.findall(plain_text))
    return [float(each) for each in found if len(each) <= _MAX_NUMBER_CHARS]


def equations(plain_text: str) -> list[Equation]:
    """The first `MAX_EQUATIONS` equations that could be checked, of a text that `plain` made."""
    lines = (line for line in plain_text.split("\n") if "=" in line or "≈" in line)
    return _Scan("\n".join([*lines, ""])).found


class _Scan:
    """One pass over the tokens of a text, which gathers sides and compares neighbours.

    `side` is being read, `left` stood complete before the last sign of equality, `words` ran since
    the last arithmetic; `hidden`: the side is part of something that is not computed here.
    """

    def __init__(self, text: str) -> None:
        self.text, self.token, self.start, self.last = text, "", 0, ""
        self.found: list[Equation] = []
        self.side: list[str] = []
        self.left, self.words, self.hidden, self.near = "", 0, False, False
        self.units: set[str] = set()
        self.left_units: set[str] = set()
        for match in _TOKEN.finditer(text):
            self.token, self.start = match[0], match.start()
            getattr(self, f"_{match.lastgroup}")()
            if len(self.side) > MAX_EXPRESSION_CHARS:
                self._opaque()
            if len(self.found) >= MAX_EQUATIONS:
                break

    def _number(self) -> None:
        if len(self.token) > _MAX_NUMBER_CHARS or self._before().isalpha():
            self._opaque()
        elif self._complete():
            # Two numbers with nothing between are a mixed number or a list.
            self._stop() if self.words else self._opaque()
        digits = self.token.replace(",", "").lstrip("0")
        self._append(digits if digits[:1].isdigit() else f"0{digits}")

    def _word(self) -> None:
        word, last = self.token.lstrip("-/").lower(), self.last
        self.last = word
        if word == "of" and self.side and (self.side[-1].endswith("%)") or "/" in self.side[-2:]):
            self.side.append("*")
            return
        if word == "of" and not self.side and last in _NAMING:
            return
        touching = self.token[0].isalpha() and self._before().isalnum()
        letter = word not in _UNIT_WORDS if touching else len(word) == 1 and word not in "ai"
        called = self.text[self.start + len(self.token)] in "(_^"
        if letter or called or word in _SPOKEN_WORDS:
            if word in _TELLING and self.words:
                self._compare()
            self._opaque()
            return
        self.words += 1
        if self._complete() and self.words <= _MAX_UNIT_WORDS:
            self.units |= {word.rstrip("s")} if self.words == 1 else set()
        elif self.side:
            self._stop()
        elif self.words > 1:
            self.hidden = False

    def _equals(self) -> None:
        self._compare()
        side = self._expression()
        # A lone number on the far left is mostly the end of a phrase: "cost of 3 shirts = ...".
        self.left = side if self.left or _OPERATION.search(side) else ""
        self.left_units, self.units = self.units, set()
        self.side, self.words, self.hidden, self.near = [], 0, False, self.token == "≈"

    def _operator(self) -> None:
        is_sign = self.token in "-+" and (not self.words or self.text[self.start + 1].isdigit())
        if self._complete() or is_sign:
            self._append(self.token)
        else:
            self._opaque()

    def _open(self) -> None:
        if self._complete():
            if self.words:
                self._stop()
            elif self._before().isspace() and self.side[-1] != ")":
                self._opaque()
            else:
                self.side.append("*")
        self._append("(")

    def _close(self) -> None:
        if self._complete() and self.side.count("(") > self.side.count(")"):
            self._append(")")
        elif not self.hidden:
            self._stop()

    def _percent(self) -> None:
        if self._complete():
            last = self.side[-1]
            self.side[-1] = f"({last}%)" if last[-1].isdigit() else f"{last}%"

    def _stop(self) -> None:
        self._compare()
        self.side, self.left, self.words, self.hidden, self.near = [], "", 0, False, False
        self.left_units, self.units = set(), set()

    def _opaque(self) -> None:
        self.side, self.left, self.words, self.hidden = [], "", 0, True

    def _append(self, token: str) -> None:
        self.words = 0
        if not self.hidden:
            self.side.append(token)

    def _before(self) -> str:
        return self.text[self.start - 1 : self.start]

    def _complete(self) -> bool:
        return bool(self.side) and self.side[-1][-1] in "0123456789)%"

    def _expression(self) -> str:
        """The side after its last bracket that is still open, or nothing if it is incomplete."""
        depth, start = 0, len(self.side) if self._complete() else 0
        while start and depth >= 0:
            start -= 1
            depth += (self.side[start] == ")") - (self.side[start] == "(")
        return "".join(self.side[start + (depth < 0) :]) if self._complete() else ""

    def _compare(self) -> None:
        right = self._expression()
        if self.left and right:
            holds = _holds(self.left, right, self.near, len(self.left_units | self.units))
            if holds is not None:
                self.found.append(Equation(self.left, right, holds))


def _holds(left: str, right: str, near: bool, units: int) -> bool | None:
    """Whether two sides agree under some reading of percent; None if that cannot be told."""
    values = list(product(_readings(left), _readings(right)))
    if not values or any(_agree(one, other, left, right, near) for one, other in values):
        return bool(values) or None
    one, other = values[0]
    ratio = abs(one / other) if one and other else 1.0
    converted = any(math.isclose(max(ratio, 1 / ratio), each) for each in _CONVERSIONS)
    mixed = units > 2 or (units == 2 and not right.replace(".", "").isdigit())
    whole = _QUOTIENT.fullmatch(left) and other == math.floor(one)
    unclear = (units and converted) or mixed or whole or _SHARE.search(left)
    return None if unclear else False


def _readings(side: str) -> list[float]:
    """The values of a side with percent as hundredths and as a unit."""
    forms = [side.replace("%", "/100"), side.replace("%", "")] if "%" in side else [side]
    return [value for value in map(evaluate, forms) if value is not None]


def _agree(one: float, other: float, left: str, right: str, near: bool) -> bool:
    """Equal up to the rounding that the right side shows."""
    gap, size = abs(one - other), max(abs(one), abs(other))
    if gap <= 1e-6 * size or (near and gap <= 0.03 * size + 0.5):
        return True
    exact = "." not in left and (one % 1 == 0 or "/" not in left)
    if exact:
        return False
    decimals = max((len(part) for part in re.findall(r"\.(\d+)", right)), default=0)
    return gap <= (0.5000001 if decimals == 0 else 1.0000001 * 10.0**-decimals)
