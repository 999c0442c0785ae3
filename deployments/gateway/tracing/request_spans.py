"""Record a request as OpenTelemetry spans: `request` around `admit`, `lookup`, `route`, `generate`.

Promises: attribute names are those of OpenTelemetry's semantic conventions where they have one
(GenAI: `gen_ai.*`), else `hansom.*`; no attribute has a word of a prompt or an answer. Ending never
raises and may happen in any order and context. A trace that the sampler left out costs no spans,
and the engine is told so.
Not covered: which traces are sampled and where spans go (`deployments.gateway.tracing.export`).
"""

import asyncio
from collections.abc import Mapping
from time import time_ns

from opentelemetry.trace import SpanContext, SpanKind

from core.call import Call, Decision, Endpoint, Usage
from core.ledger_line import NOT_MADE, Kind, LedgerLine, Outcome
from core.settings.load import Tier
from deployments.gateway.tracing.span import Span, wire_headers
from deployments.gateway.tracing.trace import AttemptSpan, Attributes, RequestTrace, Step, Value

PROVIDER = "hansom"
LEFT = 499
_OPERATION = {Endpoint.CHAT: "chat", Endpoint.COMPLETION: "text_completion"}
# More of the client's numbers that shape an answer, under the conventions' names.
_NUMBERS = {
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
}
_FAILED = (Outcome.ERROR, Outcome.TIMEOUT)


def asked(call: Call) -> dict[str, Value]:
    """What a request asks for, without a word of it."""
    told: dict[str, Value] = {
        "gen_ai.operation.name": _OPERATION[call.endpoint],
        "gen_ai.request.stream": call.stream,
    }
    for name, asked_for in (
        ("gen_ai.request.max_tokens", call.asked.max_output_tokens),
        ("gen_ai.request.temperature", call.asked.temperature),
        ("gen_ai.request.choice.count", call.asked.choices if call.asked.choices > 1 else None),
    ):
        if asked_for is not None:
            told[name] = asked_for
    for field, name in _NUMBERS.items():
        number = call.body.get(field)
        if isinstance(number, int | float) and not isinstance(number, bool):
            told[name] = number
    return told


def used(usage: Usage) -> dict[str, Value]:
    """Tokens under the conventions' names; what was read from the prefix cache is in the input."""
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens,
    }


class RecordedStep(Step):
    """A step that is a span of its own."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def __exit__(self, *error: object) -> None:
        kind = error[0]
        if isinstance(kind, type):
            if issubclass(kind, asyncio.CancelledError):
                self._span.note({"hansom.outcome": Outcome.CANCELLED.value})
            else:
                self._span.fail(kind.__name__)
        self._span.end()

    def note(self, attributes: Attributes) -> None:
        """See `Step`."""
        self._span.note(attributes)


class RecordedTrace(RequestTrace):
    """The trace of one request to a route. `end` ends what is still open of its own."""

    def __init__(self, request: Span) -> None:
        self.request = request
        self._admit: Span | None = request.child("admit")
        self._cost_usd_micros = 0

    def step(self, name: str) -> Step:
        """See `RequestTrace`."""
        return RecordedStep(self.request.child(name))

    def admitted(self, call: Call) -> None:
        """See `RequestTrace`."""
        self.request.note(
            asked(call)
            | {
                "gen_ai.request.model": call.requested,
                "hansom.request_id": call.request_id,
                "hansom.call_id": call.call_id,
                "hansom.tenant": call.tenant,
            }
        )
        self._end_admission(None)

    def attempt(
        self, call: Call, decision: Decision, tier: Tier, kind: Kind, number: int
    ) -> AttemptSpan:
        """See `RequestTrace`; what no engine makes has no `generate`."""
        return RecordedAttempt(self, call, decision, tier, kind, number)

    def settled(self, line: LedgerLine, *, served: bool) -> None:
        """Add a line's cost; what was `served` says what became of the request."""
        self._cost_usd_micros += line.cost_usd_micros
        if served:
            told: dict[str, Value] = {
                "gen_ai.response.model": line.model,
                "hansom.tier": line.tier,
                "hansom.route.code": line.route_code,
                "hansom.cache.result": line.cache,
                "hansom.outcome": line.outcome.value,
            }
            self.request.note(told)

    def end(self, status: int) -> None:
        """The request is over; the status `LEFT`: the client was gone before there was one."""
        self._end_admission(status)
        self.request.note(
            {
                "http.response.status_code": status,
                "hansom.cost_usd_micros": self._cost_usd_micros,
            }
        )
        if status == LEFT:
            self.request.note({"hansom.outcome": Outcome.CANCELLED.value})
        if status >= 500:
            self.request.fail(str(status))
        self.request.end()

    def _end_admission(self, status: int | None) -> None:
        admit, self._admit = self._admit, None
        if admit is not None:
            if status is not None:
                admit.fail(str(status))
            admit.end()


class RecordedAttempt(AttemptSpan):
    """One attempt: `generate` from its start to its end, then `settle`."""

    def __init__(
        self, trace: RecordedTrace, call: Call, decision: Decision, tier: Tier, kind: Kind,
        number: int,
    ) -> None:  # fmt: skip
        self._trace = trace
        self._settle: Span | None = None
        self._generate: Span | None = None
        if kind in NOT_MADE:
            return
        self._generate = trace.request.child("generate", SpanKind.CLIENT)
        self._generate.note(
            asked(call)
            | {
                "gen_ai.provider.name": PROVIDER,
                "gen_ai.request.model": tier.model,
                "hansom.tier": tier.name,
                "hansom.kind": kind.value,
                "hansom.attempt": number,
                "hansom.route.code": decision.code,
            }
        )

    def headers(self, replica: str) -> Mapping[str, str]:
        """See `AttemptSpan`."""
        if self._generate is None:
            return {}
        self._generate.note({"hansom.replica": replica})
        return wire_headers(self._generate.context)

    def first_byte(self) -> None:
        """See `AttemptSpan`."""
        if self._generate is not None:
            waited_s = (time_ns() - self._generate.started_ns) / 1e9
            self._generate.event("first_token")
            self._generate.note({"gen_ai.response.time_to_first_chunk": waited_s})

    def settling(self) -> None:
        """See `AttemptSpan`."""
        self._settle = self._trace.request.child("settle")

    def settled(self, line: LedgerLine, *, served: bool) -> None:
        """See `AttemptSpan`."""
        settle = self._settle or self._trace.request.child("settle")
        made: dict[str, Value] = used(line.usage) | {"hansom.outcome": line.outcome.value}
        if line.error_code:
            made["hansom.error_code"] = line.error_code
        kept: dict[str, Value] = {
            "hansom.kind": line.kind.value,
            "hansom.cost_usd_micros": line.cost_usd_micros,
            "hansom.saved_usd_micros": line.saved_usd_micros,
            "hansom.cache.result": line.cache,
        }
        if self._generate is None:
            kept |= made
        else:
            made["gen_ai.response.model"] = line.model
            self._generate.note(made)
            if line.outcome in _FAILED:
                self._generate.fail(line.error_code or line.outcome.value)
            self._generate.end(settle.started_ns)
        settle.note(kept)
        settle.end()
        self._trace.settled(line, served=served)


class LeftOut(RequestTrace):
    """A trace that the sampler left out: only the engine hears of it."""

    def __init__(self, request: SpanContext) -> None:
        self._attempt = _LeftOutAttempt(wire_headers(request))

    def attempt(
        self, _call: Call, _decision: Decision, _tier: Tier, _kind: Kind, _number: int
    ) -> AttemptSpan:
        """See `RequestTrace`."""
        return self._attempt

    def end(self, _status: int) -> None:
        """The request is over."""


class _LeftOutAttempt(AttemptSpan):
    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def headers(self, _replica: str) -> Mapping[str, str]:
        return self._headers
