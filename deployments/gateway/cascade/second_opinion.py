"""Ask a tier beside an answer: a second sample, a check of a hit, a pair of prompts.

Promises: each question is one request and one ledger line of kind `classifier` or `shadow`; a
failure or a strange answer is no opinion, never an error.
Not covered: more than one second sample, and answers of several choices.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

from accounts.worst_case import default_tokens
from cache.semantic.question import question
from core.call import Call, Decision, Usage
from core.errors import HansomError
from core.ledger_line import Kind, Outcome
from core.settings.load import Tier
from deployments.gateway.attempt import Attempt, Recorder
from deployments.gateway.backends.generate import output_cap
from deployments.gateway.backends.tier import TierReplicas
from deployments.gateway.cascade.side_call import asked
from deployments.gateway.cascade.small_model_verdict import yes_or_no, yes_share
from deployments.gateway.dispatch import conversation
from router.judge.uncertainty import perplexity
from wire.relay import parse_usage

# Their lines' places, beyond every attempt to answer and beside
# `deployments.gateway.cascade.small_model_verdict`.
_SAMPLE, _READING, _AGAIN, _VERDICT = 1001, 1002, 1003, 1004
# Each attempt that is judged has places of its own.
_QUESTIONS = 10
# What they are in the ledger, and why they were asked.
_KINDS = {
    _SAMPLE: (Kind.CLASSIFIER, "cascade"),
    _READING: (Kind.CLASSIFIER, "cascade"),
    _AGAIN: (Kind.SHADOW, "check"),
    _VERDICT: (Kind.CLASSIFIER, "cache_verify"),
}
_SAMPLE_TEMPERATURE = 0.8


class SecondOpinion:
    """Asks the tiers of one gateway; a question may last as long as its call has left."""

    def __init__(self, recorder: Recorder, tiers: Mapping[str, TierReplicas]) -> None:
        self._recorder = recorder
        self._tiers = tiers

    async def sample(self, call: Call, tier: Tier, judged: int = 0) -> str | None:
        """Another answer of the same tier, at a temperature that lets it differ.

        Number `judged` of the call's attempts is the one to compare it with.
        """
        asking: dict[str, Any] = {
            "messages": conversation(call),
            "temperature": _SAMPLE_TEMPERATURE,
            **{name: call.body[name] for name in ("stop",) if name in call.body},
            **_output_limit(call, tier),
        }
        why = "a second answer is compared"
        answer = await self._ask(call, tier, asking, _SAMPLE, why, judged)
        return _content(answer)

    async def again(self, call: Call, tier: Tier) -> str | None:
        """The same once more, beside the request: what a check of a cached answer compares with."""
        left_out = ("model", "stream", "stream_options")
        asking = {name: value for name, value in call.body.items() if name not in left_out}
        asking |= output_cap(call, tier)
        answer = await self._ask(call, tier, asking, _AGAIN, "a served answer is checked")
        return _content(answer)

    async def reading(self, call: Call, tier: Tier, text: str, judged: int = 0) -> float | None:
        """The perplexity of `text` as this tier's answer: one prefill, and one token thrown away.

        `text` is what attempt number `judged` answered.

        Cross-model perplexity (arXiv 2603.25450): a large model that is surprised by the small
        one's answer is a better sign of a mistake than the small one's own doubts.
        """
        asking = {
            "messages": [*conversation(call), {"role": "assistant", "content": text}],
            "add_generation_prompt": False,
            "continue_final_message": True,
            "prompt_logprobs": 0,
            "max_tokens": 1,
            "temperature": 0,
        }
        why = "reads the cheaper answer"
        answer = await self._ask(call, tier, asking, _READING, why, judged)
        try:
            found = last_logprobs((answer or {}).get("prompt_logprobs") or [], text)
        except (LookupError, TypeError, ValueError, AttributeError):
            return None
        return perplexity(found) if found else None

    async def serves_too(
        self, call: Call, tier: Tier, cached: str, query: str, timeout_s: float
    ) -> float | None:
        """P(the answer to `cached` serves `query`) by this tier, in [0, 1]; one prefill, one token.

        None without an answer within `timeout_s`, and for one that is neither yes nor no.
        """
        asking, why = yes_or_no(question(cached, query)), "asked whether a cached answer serves"
        answer = await self._ask(call, tier, asking, _VERDICT, why, most_s=timeout_s)
        try:
            return yes_share(answer) if answer else None
        except (LookupError, TypeError, ValueError, AttributeError):
            return None

    async def _ask(
        self,
        call: Call,
        tier: Tier,
        asking: Mapping[str, Any],
        which: int,
        why: str,
        judged: int = 0,
        most_s: float = math.inf,
    ) -> dict[str, Any] | None:
        """`judged` is the number of the attempt that it is about."""
        kind, code = _KINDS[which]
        number = which + _QUESTIONS * judged
        attempt = Attempt(self._recorder, call, Decision(tier.name, code, why), tier, kind, number)
        outcome, usage, answer = Outcome.ERROR, Usage(), None
        try:
            body = {"model": tier.model, **asking}
            left_s = min(attempt.left_s(call), most_s)
            answer = await asked(attempt, self._tiers[tier.name], body, left_s)
            usage, outcome = parse_usage(answer.get("usage")), Outcome.SUCCESS
        except (HansomError, OSError, ValueError, AttributeError):
            pass  # the line says that it failed; the judge goes without
        except asyncio.CancelledError:
            outcome = Outcome.CANCELLED
            raise
        finally:
            attempt.close(outcome, usage, served=False)
        return answer


def _output_limit(call: Call, tier: Tier) -> dict[str, int]:
    """Return the output limit of a choice of the call's own answer."""
    told = call.asked.max_output_tokens or default_tokens(call, tier)
    return output_cap(call, tier) if told is None else {"max_tokens": told}


def _content(answer: Mapping[str, Any] | None) -> str | None:
    """The text of an answer's first choice."""
    try:
        text = answer["choices"][0]["message"]["content"] if answer else None
    except (LookupError, TypeError):
        return None
    return text if isinstance(text, str) else None


def last_logprobs(prompt_logprobs: list[Any], text: str) -> list[float]:
    """The log-probabilities of the last tokens of a prompt, as far back as they spell `text`.

    vLLM tells, for each token but the first, a mapping from token ids to what is known of them,
    the prompt's own token first. Raises `LookupError` or `TypeError` for another form.
    """
    found, left = list[float](), len(text)
    for told in reversed(prompt_logprobs):
        if left <= 0 or told is None:
            break
        own = next(iter(told.values()))
        found.append(float(own["logprob"]))
        left -= len(own["decoded_token"] or "")
    return found[::-1]
