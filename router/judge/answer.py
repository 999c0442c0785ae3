"""Estimate from an answer's text alone whether it is right.

Promises: `features` returns one finite float32 per name in `NAMES`, in that order, for any prompt
and answer; the first `len(CHECKS)` lie in [0, 1] and are 0 for a check that the answer passes.
`doubt` is untrained: failed checks weigh most, length and steps break ties; it ranks, and is no
probability. Both texts are read at their ends only, so time is bounded.
Not covered: whether a fluent answer with sound arithmetic is true. Where the traffic has labels,
learn on `features` instead.
"""

import ast
import json
import math
import re
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from text.arithmetic import evaluate
from text.reading import FENCE, SHORT_CHARS, SIDE_CHARS, Read, read_pair

_REFUSED = """as an ai; language model; i'm sorry; i am sorry; i apologi; unable to; i cannot;
i can't; i won't; enough information; insufficient; more information; cannot be determined;
can't be determined; cannot be answered; cannot determine; cannot be calculated; not specif;
impossible to determine; not provide; not mention; 无法; 抱歉; 信息不足"""
_HEDGED = """perhaps; maybe; probably; possibly; might be; seems; i think; i believe; i guess;
not sure; not certain; unclear; assum; approximately; 可能; 大概"""
_RECHECKED = """wait,; wait!; oops; hmm; actually,; let's rec; let me rec; try again; error;
mistake; double check; double-check; recheck; re-check; re-eval; reevaluate; reconsider; correction;
contradict; however, this; however, we; however, since; not make sense; not match; not possible;
incorrect; 重新; 不对"""
_PHRASES = [re.split(r";\s", phrases) for phrases in (_REFUSED, _HEDGED, _RECHECKED)]
_OPERATION = re.compile(r"[\w)]\s?[-+*/]{1,2}\s?[\w(]")
_LETTER = re.compile(
    r"(?m)(?:[Aa]nswer|[Oo]ption|[Cc]hoice)\b[^A-Z\n]{0,24}\(?([A-J])\b(?!')|答案[^A-Z\n]{0,6}([A-J])"
    r"|^\W{0,4}([A-J])(?:[).:]|\W{0,3}$)|\\boxed\{(?:\\text\{)?\(?([A-J])\b"
)
_TRANSLATES = re.compile(r"translat|翻译|译成|\bin (?:chinese|english|french|german)", re.I)
_ASKS_JSON = re.compile(r"(?i)\b(?:in|as|an?|valid|return|output|only)\b[^.\n]{0,20}\bjson\b")
_ASKS_CODE = re.compile(
    r"(?i)\b(?:write|implement|create|complete)\b[^.\n]{0,60}\b(?:function|program|script|class|code"
    r"|python)\b|编写|写一个(?:函数|程序)|\bdef \w+\("
)
_CODE = re.compile(r"```|\bdef \w+\(|\breturn\b|[;{}]\s*$|^\s*(?:import|class|SELECT)\b", re.M)
_FOREIGN = re.compile(r"[\u0370-\u1fff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_ITEM = re.compile(r"\n\s{0,9}(?:\d{1,2}[.)]|[-*•]|#{1,4})\s")
_STEPS = frozenset({"step", "then", "next", "so", "therefore", "first", "finally", "now"})


def _of_text(read: Read) -> dict[str, float]:
    """Checks of the answer as a text."""
    text = read.answer.lower().replace("’", "'")
    refused, hedged, rechecked = (sum(map(text.count, phrases)) for phrases in _PHRASES)
    return {
        "empty": float(not read.words),
        "refused": min(refused, 1) * (1.0 if len(text) < 600 or refused > 1 else 0.6),
        "cut_off": _cut_off(read),
        "looped": min(max((0.3 - _packed(text)) / 0.2, 0.0), 1.0),
        "other_language": _other_language(read),
        "hedged": 1.0 - 0.7**hedged,
        "rechecked": 1.0 - 0.5**rechecked,
    }


def _cut_off(read: Read) -> float:
    """An open code block, or a long text that stops inside a sentence."""
    text = read.answer.rstrip()
    if text.count("```") % 2 and len(text) < 2 * SIDE_CHARS:
        return 1.0
    if len(text) < SHORT_CHARS or (read.final and read.final.marked):
        return 0.0
    is_open = any(text.count(a) > text.count(b) for a, b in ("()", "{}", "[]"))
    return 0.5 * is_open if re.search(r"[.!?。！？)\]}\"'”`*|$\d]$", text) else 1.0


def _packed(text: str) -> float:
    """Compressed size of the end of a text as a share; honest text stays above 0.3."""
    tail = text[-2000:].encode("utf-8", "replace")
    return len(zlib.compress(tail, 1)) / len(tail) if len(tail) >= 400 else 0.5


def _other_language(read: Read) -> float:
    if min(len(read.prompt), len(read.answer)) < 20 or _TRANSLATES.search(read.prompt):
        return 0.0
    asked, said = (len(_FOREIGN.findall(t)) / len(t) for t in (read.prompt, read.answer))
    return float(abs(asked - said) > 0.4)


def _of_numbers(read: Read) -> dict[str, float]:
    """Checks of arithmetic, and of a final number where one was asked for."""
    wrong = len({(each.left, each.right) for each in read.equations if not each.holds})
    found = {"wrong_arithmetic": 1.0 - 0.4**wrong}
    if not read.wants_number:
        return found
    found["unused_numbers"] = _unused(read)
    found["few_sums"] = _few_sums(read)
    found["unmarked"] = float(read.final is None or not read.final.marked)
    value = read.value
    if value is None or read.final is None:
        return found | {"no_final": 1.0}
    results = [evaluate(each.right.replace("%", "")) or 0.0 for each in read.equations[-8:]]
    computed = _is_computed(value, (*results, *read.printed[-8:]))
    if read.printed and not computed:  # the model imagined what its listing prints
        found["wrong_arithmetic"] = 1.0 - 0.4 ** (wrong + 1)
    fractional = 0.6 if any(each % 1 for each in read.asked) else 1.0
    size = sum(math.log(each) for each in (*read.asked, *read.told, 400.0) if each > 1)
    return found | {
        "fractional": fractional * bool(re.search(r"\.\d*[1-9]", read.final.text)),
        "negative": float(value < 0),
        "implausible": float(math.log(abs(value) + 1) > size),
        "echoed": float(value in read.asked and not computed),
        "uncomputed": float(bool(results or read.printed) and not computed),
    }


def _is_computed(value: float, results: tuple[float, ...]) -> bool:
    """Whether a number is one of the results, or of two of them."""
    joined = (x for a in results for b in results for x in (a, a + b, a - b, a * b))
    # Up to a rounding, up where a part takes a whole, and as a loss or a depth without its sign.
    return any(-0.51 <= abs(value) - abs(each) < 1 for each in joined)


def _unused(read: Read) -> float:
    """Share of the question's numbers that are used in no form."""
    asked = [each for each in read.quantities if each > 1]
    forms = ((n, n / 100, n * 100, 1 - n / 100, 1 + n / 100, 100 - n, 100 + n) for n in asked)
    missing = sum(not any(round(form, 9) in read.used for form in each) for each in forms)
    return missing / max(len(asked), 1)


def _few_sums(read: Read) -> float:
    """Share of the sums that n numbers of a story need, n - 1, that the answer does not show."""
    if not read.is_story:
        return 0.0
    needed = len(read.quantities) + len(set(read.told) - {1.0}) - 1
    listed = sum(len(_OPERATION.findall(code)) for code in read.listings)
    shown = len({(each.left, each.right) for each in read.equations}) + listed
    return max(needed - shown, 0) / max(needed, 1)


def _of_form(read: Read) -> dict[str, float]:
    """Checks of the form that the prompt asks for: a choice, JSON, code."""
    letters = _LETTER.findall(read.answer[-300:]) or _LETTER.findall(read.answer)
    chosen = {letter for groups in letters for letter in groups} & read.options
    blocks = FENCE.findall(read.answer)
    wants_json = bool(_ASKS_JSON.search(read.prompt)) and len(read.answer) < 2 * SIDE_CHARS
    json_text = blocks[0][1] if blocks else read.answer
    return {
        "no_choice": float(bool(read.options) and not chosen),
        "several_choices": float(len(chosen) > 1),
        "bad_json": float(wants_json and not _is_read(json.loads, json_text)),
        "no_code": float(bool(_ASKS_CODE.search(read.prompt)) and not _CODE.search(read.answer)),
        "bad_code": float(
            not all(_is_read(ast.parse, code) or ">>>" in code for code in read.listings)
        ),
    }


def _is_read(reader: Callable[[str], object], text: str) -> bool:
    try:
        reader(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _shape(read: Read, chars: int) -> dict[str, float]:
    """What may be right at any size; mostly log(1 + count)."""
    return {
        "chars": math.log1p(chars),
        "lines": math.log1p(read.answer.count("\n")),
        "steps": math.log1p(sum(w in _STEPS for w in read.words) + len(_ITEM.findall(read.answer))),
        "equations": math.log1p(len(read.equations)),
        "asked_numbers": math.log1p(len(read.asked) + len(read.told)),
        "decimals": math.log1p(len(re.findall(r"\d\.\d", read.answer))),
        "final_size": math.log1p(min(abs(read.value or 0.0), 1e30)),
        "packed": _packed(read.answer),
        "questions": math.log1p(read.answer.count("?")),
        "latex": math.log1p(read.answer.count("\\")),
        "distinct_words": len(set(read.words)) / max(len(read.words), 1),
        "prompt_chars": math.log1p(len(read.prompt)),
    }


# What each adds to the doubt: a failed check, then a unit of the shape, for length is no fault. Of
# equal length, an answer that shows its sums, so that slips would be seen, is the more often right.
_WEIGHTS = {
    **{"empty": 6.0, "refused": 2.5, "cut_off": 2.0, "looped": 2.5, "other_language": 2.0},
    **{"no_final": 3.0, "wrong_arithmetic": 4.0, "unused_numbers": 2.0, "few_sums": 0.5},
    **{"fractional": 2.2, "negative": 2.0, "implausible": 1.5, "echoed": 0.7, "uncomputed": 0.8},
    **{"unmarked": 0.4, "no_choice": 2.0, "several_choices": 1.2},
    **{"bad_json": 2.5, "no_code": 2.5, "bad_code": 2.5},
    **{"rechecked": 1.2, "hedged": 0.8, "chars": 0.5, "lines": 0.0, "steps": 0.1},
    **{"equations": -0.2, "asked_numbers": 0.35, "decimals": 0.1, "final_size": 0.05},
    **{"packed": -2.0, "latex": 0.0, "questions": 0.2, "distinct_words": 0.0, "prompt_chars": 0.1},
}
_OFFSET = -5.0
NAMES: tuple[str, ...] = tuple(_WEIGHTS)
CHECKS: tuple[str, ...] = NAMES[: NAMES.index("chars")]
_SCALE = np.array(list(_WEIGHTS.values()), dtype=np.float32)


def features(prompt: str, answer: str) -> NDArray[np.float32]:
    """(A,) float32, A = len(NAMES): the checks, then the shape."""
    both = read_pair(prompt, answer)
    found = _of_text(both) | _of_numbers(both) | _of_form(both) | _shape(both, len(answer))
    return np.array([found.get(name, 0.0) for name in NAMES], dtype=np.float32)


def doubt(prompt: str, answer: str) -> float:
    """How doubtful the answer is, in [0, 1]."""
    return doubt_of(features(prompt, answer))


def doubt_of(values: NDArray[np.float32]) -> float:
    """The doubt in an answer with these (A,) features."""
    return float(1.0 / (1.0 + np.exp(-(values @ _SCALE + _OFFSET), dtype=np.float64)))
