"""A span is what the SDK would have made of it, and never changes once it was handed over."""

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from deployments.gateway.tracing.span import Outlet, Span, caller, new_id, wire_headers

TRACE, PARENT = 0xAF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


def of(emitted: list[ReadableSpan]) -> Span:
    state = TraceState([("vendor", "1")])
    context = SpanContext(TRACE, PARENT, False, TraceFlags(TraceFlags.SAMPLED), state)
    outlet = Outlet(emitted.append, Resource({"service.name": "x"}))
    return Span(outlet, "request", SpanKind.SERVER, context, None)


def test_a_child_is_of_its_parents_trace_and_ends_by_itself() -> None:
    emitted: list[ReadableSpan] = []
    root = of(emitted)
    child = root.child("generate", SpanKind.CLIENT)
    child.note({"a": 1})
    child.event("first_token")
    child.fail("timeout")
    child.end(child.started_ns + 5)
    (got,) = emitted
    assert (got.name, got.kind, got.status.status_code) == (
        "generate", SpanKind.CLIENT, StatusCode.ERROR,
    )  # fmt: skip
    assert got.context.trace_id == TRACE
    assert got.parent is root.context
    assert got.attributes == {"a": 1, "error.type": "timeout"}
    assert [one.name for one in got.events] == ["first_token"]
    assert (got.end_time or 0) - (got.start_time or 0) == 5
    assert got.to_json()


def test_what_comes_after_the_end_changes_nothing() -> None:
    emitted: list[ReadableSpan] = []
    span = of(emitted)
    span.note({"a": 1})
    span.end()
    span.note({"b": 2})
    span.event("late")
    span.fail("late")
    span.end()
    (got,) = emitted
    assert got.attributes == {"a": 1}
    assert list(got.events) == []
    assert got.status.status_code is StatusCode.UNSET


def test_headers_and_back_are_the_same_span() -> None:
    context = of([]).context
    headers = wire_headers(context)
    assert headers == {
        "traceparent": f"00-{TRACE:032x}-{PARENT:016x}-01",
        "tracestate": "vendor=1",
    }
    _, found = caller(headers)
    assert (found.trace_id, found.span_id, found.trace_flags) == (TRACE, PARENT, 1)
    assert found.trace_state == context.trace_state


def test_no_header_is_no_caller_and_no_id_is_zero() -> None:
    assert not caller({})[1].is_valid
    assert all(0 < new_id(1) < 2 for _ in range(20))
