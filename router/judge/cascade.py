"""Judge a small model's answer by its text, its tokens and a second answer.

Promises: pure; the same arguments give the same `AnswerDoubt`; what is not at hand
(log-probabilities, a second answer) neither raises nor lowers it. All else equal, a failed check,
more surprise or a disagreeing second answer never lowers the doubt. Read as P(wrong) it speaks of a
tier that is wrong in a quarter of its calls; one that is wrong more often is doubted too little, by
the difference in logits. Not covered: the cut-off, which the policy owns. A reply without text,
such as a tool call, reads as empty; the caller must not ask for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from router.judge import uncertainty
from router.judge.answer import CHECKS, doubt_of, features
from text.final_answer import normalise_final

# A check is a reason once it failed by as much; a single "perhaps" is none.
_FAILED = 0.45
_UNCERTAIN = 0.5
# Of the logit of the text's doubt, of that of the tokens' doubt, and in logits. Rounded from what
# `training.router.fit_uncertainty` learned of two models: where they differ (the text says much of
# one and nothing of the other, a second answer the other way round), half, and the model it speaks
# of.
TEXT, TOKENS, AGREES, DISAGREES = 0.5, 0.8, -0.45, 0.8
# Learned at even odds, and then put to those of a tier that is right in three calls of four.
_OFFSET = 1.46 - math.log(3)

# Every reason, in the order in which reasons are told, with its words.
REASONS: dict[str, str] = {
    "empty": "it is empty",
    "refused": "it refuses or asks for more",
    "cut_off": "it stops in the middle",
    "looped": "it repeats itself",
    "other_language": "it is in another language",
    "no_final": "it ends without a number",
    "wrong_arithmetic": "its arithmetic is wrong",
    "unused_numbers": "it leaves numbers of the question unused",
    "few_sums": "it has fewer sums than the question has numbers",
    "fractional": "its final number is a fraction",
    "negative": "its final number is negative",
    "implausible": "its final number is too large",
    "echoed": "its final number stands in the question",
    "uncomputed": "none of its equations gives its final number",
    "unmarked": "it does not mark its final answer",
    "no_choice": "it chooses no option",
    "several_choices": "it chooses several options",
    "bad_json": "it is not the JSON asked for",
    "no_code": "it holds no code",
    "bad_code": "its code does not parse",
    "rechecked": "it corrects itself",
    "hedged": "it hedges",
    "uncertain_tokens": "the model was unsure of its words",
    "disagrees": "a second answer differs",
}


@dataclass(frozen=True, slots=True)
class AnswerDoubt:
    """How doubtful an answer is, in [0, 1], and the names of the checks that it failed."""

    value: float
    failed: tuple[str, ...]

    @property
    def words(self) -> str:
        """The value and its reasons for a human."""
        told = ", ".join(REASONS[name] for name in self.failed) or "no check failed"
        return f"doubt {self.value:.3f}: {told}"


def judge(
    prompt: str,
    answer: str,
    logprobs: Sequence[float] | None = None,
    second: str | None = None,
) -> AnswerDoubt:
    """The doubt in `answer` to `prompt`.

    `logprobs` are those of its tokens, natural; `second` is another answer to the same prompt.
    """
    values = features(prompt, answer)
    logit = TEXT * _logit(doubt_of(values)) + _OFFSET
    failed = [name for name, value in zip(CHECKS, values, strict=False) if value >= _FAILED]
    if logprobs:
        tokens = uncertainty.doubt(logprobs)
        logit += TOKENS * _logit(tokens)
        failed += ["uncertain_tokens"] * (tokens >= _UNCERTAIN)
    same = None if second is None else agree(answer, second)
    if same is not None:
        logit += AGREES if same else DISAGREES
        failed += [] if same else ["disagrees"]
    return AnswerDoubt(1.0 / (1.0 + math.exp(-logit)), tuple(failed))


def agree(answer: str, second: str) -> bool | None:
    """Whether two answers have the same final answer; None if one of them has none."""
    one, other = normalise_final(answer), normalise_final(second)
    return None if one is None or other is None else one == other


def _logit(probability: float) -> float:
    inside = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))
