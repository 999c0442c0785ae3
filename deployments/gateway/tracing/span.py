"""A light span for the request path; the SDK sees it only when it has ended.

Promises: what is noted or ended after the end changes nothing, so that the thread which sends a
span never sees it change. The SDK's own spans take four locks and a checked copy of every
attribute, and were most of what tracing cost (docs/benchmarks.md).
Not covered: sampling, sending (`deployments.gateway.tracing.export`), what is noted
(`deployments.gateway.tracing.request_spans`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import getrandbits
from time import time_ns

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from deployments.gateway.tracing.trace import Attributes, Value

_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
_WIRE = TraceContextTextMapPropagator()
_SCOPE = InstrumentationScope("hansom")


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where ended spans go, and whose they are."""

    emit: Callable[[ReadableSpan], None]
    resource: Resource


class Span:
    """One span of a sampled trace, begun when it is made."""

    __slots__ = (
        "_attributes", "_ended", "_events", "_failed", "_kind", "_name", "_outlet", "_parent",
        "context", "started_ns",
    )  # fmt: skip

    def __init__(
        self, outlet: Outlet, name: str, kind: SpanKind, context: SpanContext,
        parent: SpanContext | None,
    ) -> None:  # fmt: skip
        self.context = context
        self.started_ns = time_ns()
        self._outlet = outlet
        self._name = name
        self._kind = kind
        self._parent = parent
        self._attributes: dict[str, Value] = {}
        self._events: list[Event] = []
        self._failed = False
        self._ended = False

    def child(self, name: str, kind: SpanKind = SpanKind.INTERNAL) -> "Span":
        """A span below this one, begun now."""
        own = self.context
        context = SpanContext(own.trace_id, new_id(64), False, own.trace_flags, own.trace_state)
        return Span(self._outlet, name, kind, context, own)

    def note(self, attributes: Attributes) -> None:
        """Add or change attributes."""
        if not self._ended:
            self._attributes.update(attributes)

    def event(self, name: str) -> None:
        """Note that something happens now."""
        if not self._ended:
            self._events.append(Event(name))

    def fail(self, error: str) -> None:
        """It did not do what it was for."""
        self.note({"error.type": error})
        self._failed = True

    def end(self, at_ns: int | None = None) -> None:
        """It is over, or was at `at_ns` since 1970."""
        if self._ended:
            return
        self._ended = True
        span = ReadableSpan(
            self._name, self.context, self._parent, self._outlet.resource, self._attributes,
            self._events, kind=self._kind, status=_ERROR if self._failed else _UNSET,
            start_time=self.started_ns, end_time=at_ns or time_ns(), instrumentation_scope=_SCOPE,
        )  # fmt: skip
        self._outlet.emit(span)


def new_id(bits: int) -> int:
    """A random id that is not 0, which would be none."""
    return getrandbits(bits) or 1


def caller(sent: Mapping[str, str]) -> tuple[Context, SpanContext]:
    """The caller's span by its `traceparent`; one that is not valid when that is not."""
    context = _WIRE.extract(sent, Context())
    return context, get_current_span(context).get_span_context()


def wire_headers(span: SpanContext) -> dict[str, str]:
    """`traceparent`, and `tracestate` where there is one, with `span` as the parent."""
    headers: dict[str, str] = {}
    _WIRE.inject(headers, set_span_in_context(NonRecordingSpan(span), Context()))
    return headers
