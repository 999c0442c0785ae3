"""Checks of answers by program, for `bench.quantization`.

Not covered: whether an answer is well said. `python` runs what a model wrote, in a process of its
own with a deadline and an empty folder; it is no sandbox, so only for models one trusts this far.
"""

import json
import re
import subprocess
import sys
import tempfile
import typing

_RUN_TIMEOUT_S = 10
_FENCE = re.compile(r"```(?:\w+)?\n(.*?)(?:```|\Z)", re.DOTALL)


def passes(check: dict[str, typing.Any], answer: str) -> bool:
    """Whether `answer` satisfies the one check given; KeyError for a check of no known kind."""
    (kind, wanted) = next(iter(check.items()))
    return _CHECKS[kind](wanted, answer)


def _has(words: list[str], answer: str) -> bool:
    return all(word.lower() in answer.lower() for word in words)


def _any(words: list[str], answer: str) -> bool:
    return any(word.lower() in answer.lower() for word in words)


def _number(wanted: float, answer: str) -> bool:
    numbers = re.findall(r"-?\d+(?:\.\d+)?", answer.replace(",", ""))
    return bool(numbers) and float(numbers[-1]) == wanted


def _only(wanted: str, answer: str) -> bool:
    return answer.strip().strip(".!\"'").lower() == wanted.lower()


def _lines(wanted: int, answer: str) -> bool:
    return len([line for line in answer.splitlines() if line.strip()]) == wanted


def _json(wanted: dict[str, typing.Any], answer: str) -> bool:
    try:
        found = json.loads(_code(answer))
    except json.JSONDecodeError:
        return False
    return isinstance(found, dict) and all(
        key in found and value in (None, found[key]) for key, value in wanted.items()
    )


def _python(asserts: str, answer: str) -> bool:
    program = f"{_code(answer)}\n{asserts}\n"
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", program],
                cwd=folder,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_RUN_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


def _code(answer: str) -> str:
    """The first fenced block, or the whole answer."""
    fenced = _FENCE.search(answer)
    return fenced.group(1) if fenced else answer


_CHECKS: dict[str, typing.Callable[[typing.Any, str], bool]] = {
    "has": _has,
    "any": _any,
    "number": _number,
    "only": _only,
    "lines": _lines,
    "json": _json,
    "python": _python,
}
