"""Each request is one trace with the spans of its life, whatever becomes of it."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, url_attributes

from core.metrics import Metrics
from core.settings.load import Settings
from core.settings.tracing import TracingSettings
from deployments.gateway.reply import Reply
from deployments.gateway.tracing import trace
from deployments.gateway.tracing.export import Traced, Tracing
from deployments.gateway.tracing.request_spans import LeftOut, RecordedTrace
from tests.deployments.engines import Engine, answers, chunks, dies, plays, refuses
from tests.deployments.gateway.cascade.test_held_answer import TURNS, WRONG, cascade, says
from tests.deployments.gateway.lookup.test_single_flight import WORDS, nobody
from tests.deployments.gateway.test_endpoint import BODY, CHAT, RAW_JSON, Leaving, app_of
from tests.deployments.gateway.tracing.collector import Collector, Seen, collecting
from tests.deployments.rig import Rig, at_home, call, rig, settings_of
from tests.ledger.lines import until

MISS = ["admit", "lookup", "route", "generate", "settle"]
SECRET = "the prompt itself"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Traces:
    """A traced request path, and what its collector has got."""

    path: Rig
    tracing: Tracing
    collector: Collector
    http: httpx.AsyncClient
    app: Traced

    async def ask(self, **more: Any) -> httpx.Response:
        headers = more.pop("headers", {})
        return await self.http.post(CHAT, json=BODY | more, headers=headers)

    async def sent(self) -> Collector:
        await self.path.pipeline.close()
        await until(lambda: not self.path.recorder.late.waiting)
        await self.tracing.close(5.0)
        return self.collector


@asynccontextmanager
async def traces(
    folder: Path, small: Sequence[Engine] = (), large: Sequence[Engine] = (),
    *, settings: Settings | None = None, ratio: float = 1.0, **rigged: Any,
) -> AsyncIterator[Traces]:  # fmt: skip
    settings = settings or settings_of()
    async with (
        collecting() as collector,
        rig(folder, small, large, settings=settings, **rigged) as path,
    ):
        wanted = TracingSettings(otlp_endpoint=collector.endpoint, sample_ratio=ratio)
        tracing = Tracing(wanted, path.recorder.metrics)
        app = Traced(app_of(path, settings)[0], tracing)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hansom") as http:
            yield Traces(path, tracing, collector, http, app)
        await tracing.close(1.0)


async def test_a_miss_is_one_trace_with_every_step(tmp_path: Path) -> None:
    engine = Engine(answers())
    async with traces(tmp_path, [engine]) as run:
        headers = {"x-request-id": "r-7"}
        asked = {"temperature": 0, "max_tokens": 9, "metadata": {"a": SECRET}}
        answer = await run.ask(messages=[{"role": "user", "content": SECRET}], headers=headers,
                               **asked)  # fmt: skip
        got = await run.sent()
    assert list(got.tree().values()) == [MISS]
    assert got.services == {"hansom"}
    request, generate, settle = got.one("request"), got.one("generate"), got.one("settle")
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "url.path": CHAT,
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "auto",
        "gen_ai.request.stream": False,
        "gen_ai.request.temperature": 0,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.response.model": "small-model",
        "hansom.request_id": "r-7",
        "hansom.call_id": request.attributes["hansom.call_id"],
        "hansom.tenant": "anonymous",
        "hansom.tier": "small",
        "hansom.route.code": request.attributes["hansom.route.code"],
        "hansom.cache.result": "miss",
        "hansom.outcome": "success",
        "hansom.cost_usd_micros": settle.attributes["hansom.cost_usd_micros"],
    }
    assert got.one("lookup").attributes == {
        "hansom.cache.kind": "exact", "hansom.cache.result": "miss",
    }  # fmt: skip
    route = got.one("route").attributes
    told = answer.headers["x-hansom-route-reason"]
    assert f"{route['hansom.route.code']}; {route['hansom.route.reason']}" == told
    assert generate.attributes["gen_ai.request.model"] == "small-model"
    assert generate.attributes["gen_ai.usage.input_tokens"] == 7
    assert generate.attributes["gen_ai.usage.cache_read.input_tokens"] == 3
    assert generate.attributes["gen_ai.usage.output_tokens"] == 2
    assert generate.attributes["hansom.replica"] == "r0"
    assert generate.events == [], "plain answers have no first token"
    assert [one.failed for one in got.spans] == [False] * 6
    assert SECRET.encode() not in b"".join(got.raw)


async def test_spans_lie_inside_their_request_and_follow_each_other(tmp_path: Path) -> None:
    async with traces(tmp_path, [Engine(answers(wait_s=0.02))]) as run:
        await run.ask()
        got = await run.sent()
    request = got.one("request")
    steps = got.under(request)
    for before, after in pairwise(steps):
        assert before.end_ns <= after.start_ns
    assert request.start_ns <= steps[0].start_ns
    assert steps[-1].end_ns <= request.end_ns
    generate = got.one("generate")
    assert generate.end_ns - generate.start_ns >= 0.02e9


async def test_an_exact_hit_has_no_route_and_no_generate(tmp_path: Path) -> None:
    async with traces(tmp_path, [Engine(answers())]) as run:
        for _ in range(2):
            await run.ask(temperature=0)
            await run.path.pipeline.close()
        got = await run.sent()
    assert list(got.tree().values()) == [MISS, ["admit", "lookup", "settle"]]
    settle = got.named("settle")[1].attributes
    assert (settle["hansom.kind"], settle["hansom.cost_usd_micros"]) == ("cache_hit", 0)
    assert settle["gen_ai.usage.output_tokens"] == 2
    assert got.named("request")[1].attributes["hansom.cache.result"] == "exact"


async def test_each_attempt_is_a_span_when_replicas_and_tiers_fail(tmp_path: Path) -> None:
    small = [Engine(dies), Engine(refuses(500))]
    async with traces(tmp_path, small, [Engine(answers())]) as run:
        asked = await run.ask(messages=at_home("r0", "r1"))
        assert asked.status_code == 200
        got = await run.sent()
    pair = ["generate", "settle"]
    assert list(got.tree().values()) == [["admit", "lookup", "route", *pair * 3]]
    tries = got.named("generate")
    told = [(one.attributes["hansom.kind"], one.attributes["hansom.tier"]) for one in tries]
    assert told == [("answer", "small"), ("retry", "small"), ("fallback", "large")]
    assert [one.failed for one in tries] == [True, True, False]
    assert tries[0].attributes["error.type"] == "engine_unreachable"
    assert got.one("request").attributes["hansom.tier"] == "large"
    assert got.one("request").attributes["hansom.route.code"] == "fallback"
    assert not got.one("request").failed


async def test_an_escalation_is_a_second_generate_and_the_request_costs_both(
    tmp_path: Path,
) -> None:
    small, large = Engine(says(WRONG)), Engine(answers((" 36",)))
    async with traces(tmp_path, [small], [large], settings=cascade()) as run:
        await run.ask(**TURNS)
        got = await run.sent()
        lines = await run.path.lines()
    (steps,) = got.tree().values()
    assert sorted(steps) == sorted([*MISS, "generate", "settle"])
    told = [one.attributes["hansom.kind"] for one in got.named("generate")]
    assert told == ["answer", "escalation"]
    request = got.one("request").attributes
    assert request["hansom.tier"] == "large", "what was given up is not the request's answer"
    assert request["hansom.cost_usd_micros"] == sum(line.cost_usd_micros for line in lines)


async def test_a_stream_tells_its_first_token_and_its_end(tmp_path: Path) -> None:
    events: list[bytes | float] = [*chunks([" a", " b"])]
    events.insert(2, 0.05)
    async with traces(tmp_path, [Engine(plays(events))]) as run:
        answer = await run.ask(stream=True)
        assert answer.text.endswith("data: [DONE]\n\n")
        got = await run.sent()
    assert list(got.tree().values()) == [MISS]
    generate = got.one("generate")
    assert generate.events == ["first_token"]
    assert 0 < generate.attributes["gen_ai.response.time_to_first_chunk"] < 5
    assert generate.attributes["gen_ai.usage.output_tokens"] == 2
    assert generate.end_ns - generate.start_ns >= 0.05e9, "it lasts as long as its stream"


async def test_a_client_that_hangs_up_ends_every_span(tmp_path: Path) -> None:
    engine = Engine(plays(chunks([" a"])[:2], then="stall"))
    async with traces(tmp_path, [engine]) as run:
        client = Leaving(1)
        scope = {"type": "http", "method": "POST", "path": CHAT, "headers": RAW_JSON}
        task = asyncio.create_task(run.app(scope, client._messages.get, client._send))
        await until(lambda: len(client.sent) > 1)
        client.leave()
        await task
        got = await run.sent()
    assert list(got.tree().values()) == [MISS]
    assert got.one("generate").attributes["hansom.outcome"] == "cancelled"
    assert got.one("settle").attributes["hansom.kind"] == "cancelled"
    assert not any(one.failed for one in got.spans), "to leave is the client's right"


async def test_a_refused_request_ends_in_its_admission(tmp_path: Path) -> None:
    async with traces(tmp_path) as run:
        answer = await run.ask(model=SECRET, headers={"x-request-id": "r-8"})
        got = await run.sent()
    assert answer.status_code == 404
    assert list(got.tree().values()) == [["admit"]]
    assert (got.one("admit").failed, got.one("request").failed) == (True, False)
    assert got.one("request").attributes["hansom.request_id"] == "r-8"
    assert SECRET.encode() not in b"".join(got.raw)


async def test_a_stream_that_ends_in_another_context_ends_its_own_spans(tmp_path: Path) -> None:
    """As when the event loop closes a generator that nobody finished."""
    engine = Engine(plays(chunks([" a"])[:2], then="stall"))
    async with traces(tmp_path, [engine]) as run:
        own = run.tracing.begin(CHAT, {})
        with trace.active(own):
            reply = await run.path.respond(call(stream=True))
        assert trace.current() is trace.OFF
        assert isinstance(reply, Reply) and not isinstance(reply.body, bytes)
        await anext(reply.body)
        other = run.tracing.begin(CHAT, {})
        with trace.active(other):
            await asyncio.create_task(reply.body.aclose())  # type: ignore[arg-type]
        own.end(200)
        other.end(200)
        got = await run.sent()
    trees = sorted(got.tree().values(), key=len)
    assert trees == [["admit"], ["admit", "lookup", "route", "generate", "settle"]]
    assert got.one("generate").attributes["hansom.outcome"] == "cancelled"


async def test_callers_of_one_generation_keep_their_own_traces(tmp_path: Path) -> None:
    engine = Engine(answers(wait_s=0.1))
    async with traces(tmp_path, [engine], flights=nobody()) as run:
        await asyncio.gather(run.ask(temperature=0), run.ask(temperature=0))
        got = await run.sent()
    # The leader's second line takes off what the other pays.
    assert sorted(got.tree().values(), key=len) == [
        ["admit", "lookup", "settle"],
        [*MISS, "settle"],
    ]
    kinds = sorted(one.attributes["hansom.kind"] for one in got.named("settle"))
    assert kinds == ["answer", "credit", "joined"]


async def test_a_generation_that_another_caller_goes_on_with_is_in_that_ones_trace(
    tmp_path: Path,
) -> None:
    turns = iter([plays(chunks(WORDS)[:3], then="die"), answers(WORDS)])

    async def act(request: Any, body: Any) -> Any:
        return await next(turns)(request, body)

    async with traces(tmp_path, [Engine(act)], flights=nobody()) as run:
        await asyncio.gather(*(run.ask(temperature=0, stream=True) for _ in range(2)))
        got = await run.sent()
    tries = got.named("generate")
    assert [one.failed for one in tries] == [True, False]
    assert len({one.trace for one in tries}) == 2, "though one task made both"


async def test_callers_trace_goes_on_and_reaches_the_engine(tmp_path: Path) -> None:
    engine = Engine(answers())
    async with traces(tmp_path, [engine]) as run:
        await run.ask(headers={"traceparent": PARENT, "tracestate": "vendor=1"})
        got = await run.sent()
    request, generate = got.one("request"), got.one("generate")
    assert (request.trace, request.parent) == (PARENT[3:35], PARENT[36:52])
    assert {one.trace for one in got.spans} == {PARENT[3:35]}
    assert engine.headers[0]["traceparent"] == f"00-{generate.trace}-{generate.id}-01"
    assert engine.headers[0]["tracestate"] == "vendor=1"


@pytest.mark.parametrize("sent", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
async def test_a_wrong_traceparent_is_a_trace_of_its_own(tmp_path: Path, sent: str) -> None:
    async with traces(tmp_path, [Engine(answers())]) as run:
        assert (await run.ask(headers={"traceparent": sent})).status_code == 200
        got = await run.sent()
    assert got.one("request").parent == ""
    assert int(got.one("request").trace, 16) > 0


async def test_what_is_not_sampled_leaves_no_span_and_the_engine_knows(tmp_path: Path) -> None:
    engine = Engine(answers())
    async with traces(tmp_path, [engine], ratio=0.0) as run:
        await run.ask()
        await run.ask(headers={"traceparent": PARENT})
        got = await run.sent()
    assert list(got.tree()) == [PARENT[3:35]], "a caller who records wants the rest as well"
    flags = int(engine.headers[0]["traceparent"][-2:], 16)
    assert flags & 1 == 0, "the last bit says whether it is sampled"


async def test_without_tracing_the_engine_is_sent_no_trace(tmp_path: Path) -> None:
    engine = Engine(answers())
    async with rig(tmp_path, [engine]) as path:
        await path.ask(call())
    assert "traceparent" not in engine.headers[0]
    assert trace.current() is trace.OFF


async def test_other_routes_are_not_traced(tmp_path: Path) -> None:
    async with traces(tmp_path) as run:
        assert (await run.http.get("/healthz")).status_code == 200
        got = await run.sent()
    assert got.spans == []


def spans(metrics: Metrics, result: str) -> float:
    return metrics.registry.get_sample_value("hansom_trace_spans_total", {"result": result}) or 0


async def begin_and_end(tracing: Tracing, requests: int) -> None:
    for _ in range(requests):
        tracing.begin(CHAT, {}).end(200)  # two spans: admit and request


@pytest.mark.parametrize("status", [400, 503, None], ids=["refused", "busy", "nobody there"])
async def test_a_collector_that_takes_nothing_costs_a_log_line_and_a_count(
    status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr("core.log.event", lambda _, name, **more: told.append((name, more)))
    async with collecting(status or 200) as collector:
        endpoint = collector.endpoint if status else "http://127.0.0.1:9"
        metrics = Metrics()
        tracing = Tracing(TracingSettings(otlp_endpoint=endpoint), metrics)
        await begin_and_end(tracing, 5)
        began_s = time.monotonic()
        await tracing.close(0.5)
        assert time.monotonic() - began_s < 2
        await until(lambda: spans(metrics, "failed") == 10)
    assert spans(metrics, "sent") == 0
    assert [name for name, _ in told] == ["trace_spans_lost"]


async def test_a_full_queue_drops_spans_and_counts_them() -> None:
    async with collecting() as collector:
        metrics = Metrics()
        wanted = TracingSettings(otlp_endpoint=collector.endpoint)
        tracing = Tracing(wanted, metrics, queue_spans=8)
        await begin_and_end(tracing, 1000)
        await tracing.close(5.0)
    sent, dropped = spans(metrics, "sent"), spans(metrics, "dropped")
    assert sent + dropped == 2000
    assert dropped > 0
    assert len(collector.spans) == sent >= 8


async def test_closing_sends_what_is_left_and_a_second_close_is_no_harm(tmp_path: Path) -> None:
    async with collecting() as collector:
        metrics = Metrics()
        tracing = Tracing(TracingSettings(otlp_endpoint=collector.endpoint), metrics)
        await begin_and_end(tracing, 3)
        assert collector.spans == []
        await tracing.close(5.0)
        assert len(collector.spans) == 6
        await tracing.close(5.0)


def conventional() -> set[str]:
    """Every attribute name that the installed semantic conventions have."""
    modules = (gen_ai_attributes, error_attributes, http_attributes, url_attributes)
    values = (value for one in modules for value in vars(one).values())
    return {value for value in values if isinstance(value, str) and "." in value}


async def test_every_attribute_is_a_convention_or_our_own(tmp_path: Path) -> None:
    small = [Engine(dies), Engine(answers())]
    async with traces(tmp_path, small) as run:
        await run.ask(stream=True, top_p=0.5, seed=1, n=1)
        got: Sequence[Seen] = (await run.sent()).spans
    told = {name for one in got for name in one.attributes}
    foreign = {name for name in told if not name.startswith("hansom.")} - conventional()
    assert foreign == set()
    assert "gen_ai.request.top_p" in told


async def test_a_trace_leaves_no_garbage_in_a_cycle(tmp_path: Path) -> None:
    """What holds itself waits for the garbage collector, which stops the gateway."""
    async with collecting() as collector:
        tracing = Tracing(TracingSettings(otlp_endpoint=collector.endpoint), Metrics())
        gc.collect()
        tracing.begin(CHAT, {}).end(200)
        gc.disable()
        try:
            found = [one for one in gc.get_objects() if type(one) in (RecordedTrace, LeftOut)]
        finally:
            gc.enable()
        await tracing.close(1.0)
    assert found == []
