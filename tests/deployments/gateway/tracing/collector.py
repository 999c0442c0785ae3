"""A collector that tests look into: a real OTLP/HTTP server on the loopback address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.deployments.engines import port_of


@dataclass(frozen=True)
class Seen:
    """One span as it came over the wire; ids as hexadecimal text."""

    name: str
    trace: str
    id: str
    parent: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: list[str]
    kind: int
    failed: bool


@dataclass
class Collector:
    """What has come; answers every batch with `status`."""

    status: int = 200
    spans: list[Seen] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    batches: int = 0
    raw: list[bytes] = field(default_factory=list)
    endpoint: str = ""

    async def __call__(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.batches += 1
        self.raw.append(body)
        if self.status == 200:
            self._take(ExportTraceServiceRequest.FromString(body))
        return web.Response(status=self.status)

    def tree(self, trace: str | None = None) -> dict[str, list[str]]:
        """The names of each root's children, in the order of their starts."""
        roots = [one for one in self.spans if one.name == "request"]
        chosen = [one for one in roots if trace in (None, one.trace)]
        return {one.trace: [child.name for child in self.under(one)] for one in chosen}

    def under(self, parent: Seen) -> list[Seen]:
        return sorted(
            (one for one in self.spans if (one.trace, one.parent) == (parent.trace, parent.id)),
            key=lambda one: one.start_ns,
        )

    def named(self, name: str) -> list[Seen]:
        """All spans of that name, in the order of their starts."""
        found = [one for one in self.spans if one.name == name]
        return sorted(found, key=lambda one: one.start_ns)

    def one(self, name: str) -> Seen:
        (found,) = self.named(name)
        return found

    def _take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            told = {pair.key: _value(pair.value) for pair in resource.resource.attributes}
            self.services.add(str(told["service.name"]))
            for scope in resource.scope_spans:
                self.spans += [_seen(span) for span in scope.spans]


@asynccontextmanager
async def collecting(status: int = 200) -> AsyncIterator[Collector]:
    """A collector that runs, at `endpoint`."""
    collector, app = Collector(status), web.Application()
    app.router.add_post("/v1/traces", collector)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0.1)
    collector.endpoint = f"http://127.0.0.1:{port_of(server)}"
    try:
        yield collector
    finally:
        await server.close()


def _seen(span: trace_pb2.Span) -> Seen:
    return Seen(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes={pair.key: _value(pair.value) for pair in span.attributes},
        events=[event.name for event in span.events],
        kind=span.kind,
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
    )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, str(kind))
