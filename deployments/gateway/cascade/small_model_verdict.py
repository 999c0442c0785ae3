"""Strategy `llm`: ask the small model how hard a call is, and record the cost.

Promises: one short, deterministic request to the cheapest tier, of one token with the log
probabilities of its alternatives; a failure or a strange answer is no verdict, never an error; at
most `timeout_s`.
Not covered: being right. Asked whether they would be right, small models come out near chance
(P(True) in arXiv 2603.25450: AUROC .51 to .60). It is here to be compared with.
"""

import asyncio
import math
from typing import Any

from core.call import Call, Decision, Usage
from core.errors import HansomError
from core.ledger_line import Kind, Outcome
from deployments.gateway.attempt import Attempt, Recorder
from deployments.gateway.backends.tier import TierReplicas
from deployments.gateway.cascade.side_call import asked
from router.score.conversation import question
from wire.relay import parse_usage

_MAX_CHARS = 4000
_ASK = (
    "Is the following request hard for a small language model, so that a larger one should answer "
    "it? Reply with one word, Yes or No.\n\nRequest:\n{text}\n\nHard (Yes or No):"
)


class SmallModelVerdict:
    """Asks the cheapest tier; a `deployments.gateway.dispatch.Judge`."""

    def __init__(self, recorder: Recorder, replicas: TierReplicas, timeout_s: float) -> None:
        self._recorder = recorder
        self._replicas = replicas
        self._timeout_s = timeout_s

    async def __call__(self, call: Call, messages: list[dict[str, object]]) -> float | None:
        """P(hard) in [0, 1], or None."""
        tier = self._recorder.settings.tiers[0]
        decision = Decision(tier.name, "llm", "the small model is asked how hard a call is")
        attempt = Attempt(self._recorder, call, decision, tier, Kind.CLASSIFIER, _ASIDE)
        outcome, usage, verdict = Outcome.ERROR, Usage(), None
        try:
            text = _ASK.format(text=question(messages)[:_MAX_CHARS])
            body = {"model": tier.model, **yes_or_no(text)}
            answer = await asked(attempt, self._replicas, body, self._timeout_s)
            usage, verdict = parse_usage(answer.get("usage")), yes_share(answer)
            outcome = Outcome.SUCCESS
        except (HansomError, OSError, ValueError, LookupError, TypeError):
            pass  # the line says that it failed, and the rules decide
        except asyncio.CancelledError:
            outcome = Outcome.CANCELLED
            raise
        finally:
            attempt.close(outcome, usage, served=False)
        return verdict


def yes_or_no(text: str) -> dict[str, Any]:
    """A chat that asks for one word, and for the probabilities of its alternatives."""
    return {
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 10,
    }


_ASIDE = 1000  # its line's place, beyond every attempt to answer


def yes_share(answer: dict[str, Any]) -> float | None:
    """P(yes) against P(no) among the first token's alternatives; None when it said neither.

    Raises `LookupError` or `TypeError` for an answer that is not of OpenAI's form.
    """
    token = answer["choices"][0]["logprobs"]["content"][0]
    said = {"yes": 0.0, "no": 0.0}
    for one in (token, *(token.get("top_logprobs") or [])[1:]):
        word = str(one["token"]).strip().lower()
        if word in said:
            said[word] += math.exp(min(float(one["logprob"]), 0.0))
    both = said["yes"] + said["no"]
    return said["yes"] / both if both else None
