"""Choose the requests to trace, and send their spans to an OpenTelemetry collector.

Promises: a span is queued in memory and sent by a thread, so that no request waits for a collector;
the queue is bounded; what is dropped, or could not be sent, is counted
(`hansom_trace_spans`) and told in the log once a minute at most. Closing sends what is left, within
a deadline.
Not covered: keeping spans for a collector that comes back later.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBasedTraceIdRatio
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import log
from core.metrics import Metrics
from core.settings.tracing import TracingSettings
from deployments.gateway.tracing.request_spans import LEFT, LeftOut, RecordedTrace
from deployments.gateway.tracing.span import Outlet, Span, caller, new_id
from deployments.gateway.tracing.trace import active

_logger = logging.getLogger("hansom.tracing")
# What is told here in one event, the library tells in a line a try.
_LIBRARY_LOGS = ("opentelemetry.exporter.otlp.proto.http", "opentelemetry.sdk._shared_internal")
_ROUTES = frozenset({"/v1/chat/completions", "/v1/completions"})
QUEUE_SPANS = 4096
_BATCH_SPANS = 512
_SEND_EVERY_S = 1.0
_SEND_TIMEOUT_S = 5.0
_TELL_EVERY_S = 60.0


class Counted(SpanExporter):
    """An exporter whose successes and failures are counted; failures are logged now and then."""

    def __init__(self, inner: SpanExporter, metrics: Metrics) -> None:
        self._inner = inner
        self._metrics = metrics
        self._told_s = float("-inf")
        self._lost = 0
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; runs in the sending thread."""
        self.taken += len(spans)
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._metrics.trace_spans.labels("sent").inc(len(spans))
        else:
            self.lost("failed", len(spans))
        return result

    def lost(self, why: str, spans: int) -> None:
        """Count spans that were not sent."""
        self._metrics.trace_spans.labels(why).inc(spans)
        self._lost += spans
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            log.event(_logger, "trace_spans_lost", spans=self._lost, last=why)

    def shutdown(self) -> None:
        """Send nothing more, and give up what is being tried again."""
        self._inner.shutdown()


class Bounded(BatchSpanProcessor):
    """The library's queue and thread; a span that finds the queue full is counted and dropped."""

    def __init__(self, exporter: Counted, queue_spans: int) -> None:
        super().__init__(
            exporter,
            max_queue_size=queue_spans,
            schedule_delay_millis=_SEND_EVERY_S * 1000,
            max_export_batch_size=min(_BATCH_SPANS, queue_spans),
        )
        self._counted = exporter
        self._queue_spans = queue_spans
        self._given = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that has ended."""
        if self._given - self._counted.taken >= self._queue_spans:
            self._counted.lost("dropped", 1)
            return
        self._given += 1
        super().on_end(span)


class Tracing:
    """Starts the traces of one gateway replica."""

    def __init__(
        self, settings: TracingSettings, metrics: Metrics, *, queue_spans: int = QUEUE_SPANS
    ) -> None:
        for name in _LIBRARY_LOGS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        sending = OTLPSpanExporter(settings.traces_url, timeout=_SEND_TIMEOUT_S)
        self._exporter = Counted(sending, metrics)
        self._queue = Bounded(self._exporter, queue_spans)
        self._sampler = ParentBasedTraceIdRatio(settings.sample_ratio)
        resource = Resource.create({SERVICE_NAME: settings.service_name})
        self._outlet = Outlet(self._queue.on_end, resource)

    def begin(self, path: str, sent: Mapping[str, str]) -> RecordedTrace | LeftOut:
        """The trace of a request to `path` with these headers; a caller's own goes on."""
        from_, parent = caller(sent)
        trace_id = parent.trace_id if parent.is_valid else new_id(128)
        drawn = self._sampler.should_sample(from_, trace_id, "request")
        sampled = drawn.decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        own = SpanContext(trace_id, new_id(64), False, flags, drawn.trace_state)
        if not sampled:
            return LeftOut(own)
        above = parent if parent.is_valid else None
        span = Span(self._outlet, "request", SpanKind.SERVER, own, above)
        span.note({"http.request.method": "POST", "http.route": path, "url.path": path})
        if id_ := sent.get("x-request-id"):  # a request that is refused has one, too
            span.note({"hansom.request_id": id_})
        return RecordedTrace(span)

    async def close(self, timeout_s: float) -> None:
        """Send what is queued, for `timeout_s` at most."""
        # A thread of our own, as a daemon: the loop's pool would be waited for without a deadline.
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:
            self._queue.shutdown()  # type: ignore[no-untyped-call]  # the library has no hints here
            with suppress(RuntimeError):  # the loop is gone when this was too late
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=end, daemon=True).start()
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            self._exporter.shutdown()


class Traced:
    """An application each of whose generation requests is one trace."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in _ROUTES:
            await self._app(scope, receive, send)
            return
        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        trace = self._tracing.begin(scope["path"], sent)
        status = LEFT

        def watched(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        with active(trace):
            try:
                await self._app(scope, receive, watched)
            finally:
                trace.end(status)
