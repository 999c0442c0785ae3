"""Hold a cheaper tier's answer, judge it, and serve or escalate it.

Promises: the client sees one answer; what judging needs and the client did not ask for
(log-probabilities) is taken out again; the reason says what was found. Judging is pure
(`router.cascade`); the order of attempts is the pipeline's.
Not covered: a stream that must begin at once. `router.cascade.streams` says whether it is routed by
the score alone, waits for the judged answer, or is judged by its first tokens
(`deployments.gateway.cascade.held_stream`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from core.call import Call, Decision, Endpoint, Usage
from core.ledger_line import Outcome
from core.settings.load import Settings
from deployments.gateway.attempt import Attempt
from deployments.gateway.backends.generate import GenerationPlan
from deployments.gateway.dispatch import conversation
from router.judge import uncertainty
from router.judge.cascade import AnswerDoubt, judge
from router.policy.terms import RoutingCode
from router.score.conversation import question
from wire.relay import parse_usage

_STREAMED = ("stream", "stream_options")


class HeldAnswer:
    """A whole answer that the client has not seen, and the open attempt behind it.

    `body` still has what judging needs. Raises `ValueError` for an answer that is not of OpenAI's
    form.
    """

    def __init__(self, ride: GenerationPlan, attempt: Attempt, body: bytes) -> None:
        self.attempt = attempt
        self._ride = ride
        answer = orjson.loads(body)
        try:
            self._choices: list[dict[str, Any]] = list(answer["choices"])
            self._logprobs = [logprobs_of(choice) for choice in self._choices]
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"an answer of another form: {error!r}") from error
        self.usage: Usage = parse_usage(answer.get("usage"))
        self.body = body

    def give_up(self) -> None:
        """Settle its attempt as one whose answer was not given."""
        cache = self._ride.miss.result
        self.attempt.close(Outcome.SUCCESS, self.usage, cache=cache, served=False)

    def cost_usd_micros(self) -> int:
        """Give it up, if it is not yet; what its line says that it cost."""
        self.give_up()
        return self.attempt.final_usd_micros()

    @property
    def passed(self) -> str:
        """Why it is kept when nothing speaks against it."""
        return "its answer passed the checks"

    def because(self, words: str) -> GenerationPlan:
        """Its ride, with what was found in the reason."""
        decision = self._ride.decision
        reason = f"{decision.reason}; {words}"
        return replace(self._ride, decision=replace(decision, reason=reason))

    def as_asked(self, call: Call) -> bytes:
        """The answer as `call` asked for it: without log-probabilities that it did not want."""
        return self.body if wants_logprobs(call) else _without_logprobs(self.body)

    @property
    def text(self) -> str:
        """The text of its only choice; empty where there are several, or a call of a tool."""
        one = len(self._choices) == 1 and not _calls_tools(self._choices[0])
        return _text(self._choices[0]) if one else ""

    def doubt(self, second: str | None = None) -> AnswerDoubt:
        """The doubt in its most doubtful choice; a call of a tool is not judged."""
        prompt = question(conversation(self._ride.call))
        found = [
            judge(prompt, _text(choice), logprobs, second)
            for choice, logprobs in zip(self._choices, self._logprobs, strict=True)
            if not _calls_tools(choice)
        ]
        return max(found, key=lambda one: one.value, default=AnswerDoubt(0.0, ()))

    def token_doubt(self) -> float | None:
        """The doubt in the tokens of its most doubtful choice; None without any to judge."""
        found = [
            uncertainty.doubt(logprobs)
            for choice, logprobs in zip(self._choices, self._logprobs, strict=True)
            if logprobs and not _calls_tools(choice)
        ]
        return max(found, default=None)


def to_hold(ride: GenerationPlan, *, logprobs: bool) -> GenerationPlan:
    """The ride as the engine is asked: whole, and with log-probabilities when they are wanted."""
    body = {name: value for name, value in ride.call.body.items() if name not in _STREAMED}
    held = replace(ride, call=replace(ride.call, body=body, stream=False))
    return with_logprobs(held) if logprobs else held


def with_logprobs(ride: GenerationPlan) -> GenerationPlan:
    """The ride with log-probabilities asked for, unless the client did so itself."""
    call = ride.call
    if wants_logprobs(call):
        return ride
    body = call.body | {"logprobs": True if call.endpoint is Endpoint.CHAT else 0}
    return replace(ride, call=replace(call, body=body))


def dearer(settings: Settings, decision: Decision, tier: str) -> list[str]:
    """The tiers above `tier` that the decision may fall back to, cheapest first."""
    names = [one.name for one in settings.tiers]
    above = names[names.index(tier) + 1 :]
    return [name for name in above if name in decision.fallbacks]


def escalated(
    ride: GenerationPlan, upper: list[str], against: str, give_up: Callable[[], int]
) -> GenerationPlan:
    """The same call for the first of `upper`, then the others.

    Its answer is judged as well, unless no tier is above. `give_up` settles the doubtful attempt
    and returns its cost.
    """
    decision = ride.decision
    reason = f"{decision.reason}; its answer is doubtful ({against}): {upper[0]} instead"
    up = replace(
        decision,
        tier=upper[0],
        code=RoutingCode.ESCALATED.value,
        reason=reason,
        fallbacks=tuple(upper[1:]),
        doubt=decision.doubt if len(upper) > 1 else None,
    )
    return replace(ride, decision=up, earlier=lambda: ride.earlier() + give_up())


def wants_logprobs(call: Call) -> bool:
    """Whether the client itself asked for them."""
    return call.asked.logprobs


def _calls_tools(choice: Mapping[str, Any]) -> bool:
    message = choice.get("message")
    return isinstance(message, dict) and bool(message.get("tool_calls"))


def _text(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    return text if isinstance(text, str) else ""


def logprobs_of(choice: Mapping[str, Any]) -> list[float] | None:
    """Read the chosen tokens' log-probabilities, in chat or completions form, whole or streamed."""
    found = choice.get("logprobs")
    if not isinstance(found, dict):
        return None
    if isinstance(found.get("content"), list):
        return [float(token["logprob"]) for token in found["content"]]
    if isinstance(found.get("token_logprobs"), list):
        return [float(value) for value in found["token_logprobs"] if value is not None]
    return None


def _without_logprobs(body: bytes) -> bytes:
    answer = orjson.loads(body)
    for choice in answer["choices"]:
        choice["logprobs"] = None
    return orjson.dumps(answer)
