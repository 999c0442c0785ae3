"""What tracing adds to a request: while off, left out by the sampler, recorded, and with nobody to
take the spans.

    python -m bench.tracing

Promises: a figure is what one plain request that misses the cache says to its trace, less the same
coroutines that say nothing, in CPU microseconds: of the event loop's thread, which is what requests
wait for, and of the whole process, which also encodes and sends. The collector is a process of its
own. Rounds go in turns; figures are medians of the rounds' own differences.
Not covered: the collector's own work, and a network.
"""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection

from rich.console import Console
from rich.table import Table
from starlette.types import Message, Receive, Scope, Send

from core.call import Call, Decision, Endpoint, Usage
from core.ledger_line import Kind, LedgerLine
from core.metrics import Metrics
from core.parameters import Parameters
from core.settings.load import SimulatedEngine, Tier
from core.settings.tier_price import TierPrice
from core.settings.tracing import TracingSettings
from deployments.gateway.tracing import trace
from deployments.gateway.tracing.export import Traced, Tracing

_PATH = "/v1/chat/completions"
_REQUESTS, _ROUNDS = 3000, 7
_LIGHT = 10  # times as many requests where one costs next to nothing
_NOWHERE = "http://127.0.0.1:9"
_DECISION = Decision("small", "easy", "difficulty 0.10 is below 0.35", 0.1, 0.35, 0.1)
_PRICE = TierPrice.model_validate(
    {"input_usd_per_million_tokens": "0.1", "output_usd_per_million_tokens": "0.4"}
)
_TIER = Tier(
    name="small", model="small-model", engine=SimulatedEngine(kind="simulated"), price=_PRICE
)
_CALL = Call(
    call_id="c" * 32, request_id="r" * 32, endpoint=Endpoint.CHAT, tenant="key-1", requested="auto",
    body={"model": "auto", "temperature": 0, "max_tokens": 64},
    asked=Parameters("auto", temperature=0, max_output_tokens=64), stream=False,
    include_usage=False, arrived_s=0.0, deadline_s=60.0,
)  # fmt: skip
_LINE = LedgerLine(
    call_id="c" * 32, request_id="r" * 32, attempt=0, kind=Kind.ANSWER, tenant="key-1",
    endpoint="chat/completions", requested="auto", tier="small", model="small-model",
    usage=Usage(40, 10, 64), cost_usd_micros=30, saved_usd_micros=200, cache="miss",
)  # fmt: skip
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class TracingCost:
    """CPU microseconds a request."""

    loop_us: float
    process_us: float


async def _look_up() -> None:
    return None


async def _route() -> None:
    return None


_traced_look_up = trace.step(
    "lookup", lambda _: {"hansom.cache.kind": "exact", "hansom.cache.result": "miss"}
)(_look_up)
_traced_route = trace.step(
    "route", lambda _: {"hansom.tier": "small", "hansom.route.reason": _DECISION.reason}
)(_route)


async def silent(_scope: Scope, _receive: Receive, send: Send) -> None:
    """A request that says nothing to any trace."""
    await _look_up()
    await _route()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def telling(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The same with every call that the request path makes for a miss."""
    trace.current().admitted(_CALL)
    await _traced_look_up()
    await _traced_route()
    attempt = trace.current().attempt(_CALL, _DECISION, _TIER, Kind.ANSWER, 0)
    attempt.headers("r0")
    attempt.settling()
    attempt.settled(_LINE, served=True)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _send(_message: Message) -> None:
    return None


async def _receive() -> Message:
    return {"type": "http.disconnect"}


async def costs(app: App, tracing: Tracing | None, requests: int) -> TracingCost:
    """Send `requests` through `app`, and its spans after it; the cost of one."""
    scope = {"type": "http", "method": "POST", "path": _PATH, "headers": [(b"host", b"x")]}
    loop_ns, process_ns = time.thread_time_ns(), time.process_time_ns()
    for at in range(requests):
        await app(scope, _receive, _send)
        if at % 200 == 0:
            await asyncio.sleep(0.002)  # a served gateway lets its sender in as well
    spent_ns = time.thread_time_ns() - loop_ns
    if tracing is not None:
        await tracing.close(2.0)
    return TracingCost(
        spent_ns / requests / 1e3, (time.process_time_ns() - process_ns) / requests / 1e3
    )


def _tracing(endpoint: str, ratio: float) -> Tracing:
    settings = TracingSettings(otlp_endpoint=endpoint, sample_ratio=ratio)
    return Tracing(settings, Metrics(), queue_spans=1 << 17)


async def measured(endpoint: str, requests: int, rounds: int) -> dict[str, TracingCost]:
    """Each case's median cost over `silent`, which every round measures again."""
    cases: dict[str, tuple[str, float] | None] = {
        "off": None,
        "left out by the sampler": (endpoint, 0.0),
        "recorded and sent": (endpoint, 1.0),
        "recorded, no collector there": (_NOWHERE, 1.0),
    }
    found: dict[str, list[TracingCost]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        bare = await costs(silent, None, requests * _LIGHT)
        for name, how in cases.items():
            tracing = _tracing(*how) if how else None
            app: App = Traced(telling, tracing) if tracing else telling
            one = await costs(app, tracing, requests if tracing else requests * _LIGHT)
            if number:  # the first round only warms up
                more = TracingCost(one.loop_us - bare.loop_us, one.process_us - bare.process_us)
                found[name].append(more)
    return {
        name: TracingCost(
            statistics.median(one.loop_us for one in many),
            statistics.median(one.process_us for one in many),
        )
        for name, many in found.items()
    }


class _Taking(BaseHTTPRequestHandler):
    """Takes whatever comes."""

    def do_POST(self) -> None:
        """Answer as a collector does."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *_args: object) -> None:
        """Say nothing."""


def _collect(told: Connection) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Taking)
    told.send(server.server_port)
    server.serve_forever()


@contextmanager
def collector() -> Iterator[str]:
    """A collector in a process of its own; its endpoint."""
    mine, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_collect, args=(its,))
    process.start()
    try:
        yield f"http://127.0.0.1:{mine.recv()}"
    finally:
        process.terminate()
        process.join()


def main() -> None:
    """Measure, and print a table."""
    with collector() as endpoint:
        found = asyncio.run(measured(endpoint, _REQUESTS, _ROUNDS))
    table = Table("tracing", "event loop, µs/request", "whole process, µs/request")
    for name, cost in found.items():
        table.add_row(name, f"{cost.loop_us:.2f}", f"{cost.process_us:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
