"""The request, whole: who answers, what the client sees, and what the ledger says of it."""

import asyncio
from pathlib import Path

import orjson
import pytest
from aiohttp.test_utils import unused_port

from core.call import Endpoint, Risk, Usage
from core.errors import (
    BadRequest,
    ContextTooLong,
    EngineFailed,
    HansomError,
    Unavailable,
)
from deployments.gateway.backends.tier import Replica
from tests.deployments.engines import (
    Act,
    Engine,
    answer,
    answers,
    chunks,
    dies,
    event,
    plays,
    refuses,
    stalls,
)
from tests.deployments.rig import at_home, call, events_of, rig
from tests.ledger.lines import until

TOO_LONG = "This model's maximum context length is 16 tokens. However, you requested more."
NONSENSE = b'data: {"choices":[],"usage":{"prompt_tokens":}}\n\n'
ERROR_EVENT = event({"error": {"message": "out of memory", "type": "server_error"}})
OK_SMALL = ("small", "answer", "success", None)


async def test_a_plain_answer_is_the_engines_own_bytes_and_says_how_it_came(
    tmp_path: Path,
) -> None:
    engine = Engine(answers())
    async with rig(tmp_path, [engine]) as path:
        reply, body = await path.ask(call(requested="small"))
        assert reply.status == 200
        assert orjson.loads(body) == answer(" a b", 2)
        assert reply.headers == {
            "content-type": "application/json",
            "x-hansom-tier": "small",
            "x-hansom-model": "small-model",
            "x-hansom-route-reason": "explicit; the caller asked for small",
            "x-hansom-cache": "miss",
            # 4 fresh, 3 cached and 2 output tokens: 4 + 1.5 + 4 micro-USD, rounded half up
            "x-hansom-cost-usd": "0.000010",
        }
        (line,) = await path.lines()
        assert (line.usage, line.cost_usd_micros) == (Usage(4, 3, 2), 10)
        assert line.saved_usd_micros == 95 - 10
        assert (line.identity, line.request_id) == (("c" * 32, 0), "r-1")
        assert await path.told() == [OK_SMALL]


async def test_the_engine_gets_the_clients_body_under_its_models_name(tmp_path: Path) -> None:
    engine = Engine(answers())
    async with rig(tmp_path, [engine]) as path:
        await path.ask(call(seed=7, chat_template_kwargs={"thinking": False}))
        await path.ask(call(seed=7, stream=True, stream_options={"include_usage": False}))
    plain, streamed = engine.asked
    assert plain == {
        "model": "small-model",
        "messages": [{"role": "user", "content": "Hello"}],
        "seed": 7,
        "chat_template_kwargs": {"thinking": False},
    }
    asked_for = {"include_usage": True, "continuous_usage_stats": True}
    assert (streamed["stream"], streamed["stream_options"]) == (True, asked_for)
    ids = [headers["x-request-id"] for headers in engine.headers]
    assert all(one.startswith("r-1-") for one in ids)


@pytest.mark.parametrize("include_usage", [False, True])
async def test_a_stream_ends_with_tier_cost_and_cache_state(
    tmp_path: Path, include_usage: bool
) -> None:
    async with rig(tmp_path, [Engine(answers())]) as path:
        reply, body = await path.ask(call(stream=True, include_usage=include_usage))
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert "x-hansom-cost-usd" not in reply.headers
        *_, last, done = events_of(body)
        assert done == "[DONE]"
        assert last["hansom"] == {
            "request_id": "r-1",
            "tier": "small",
            "model": "small-model",
            "cache": "miss",
            "cached": False,
            "cost_usd": "0.000010",
        }
        assert ("usage" in last) is include_usage
        (line,) = await path.lines()
        assert (line.usage, line.cost_usd_micros, line.stream) == (Usage(4, 3, 2), 10, True)
        assert line.ttft_s is not None


BEFORE_THE_FIRST_BYTE: list[tuple[str, Act, bool, str]] = [
    ("500", refuses(500), False, "engine_failed"),
    ("503", refuses(503), False, "tier_overloaded"),
    ("429", refuses(429), True, "tier_overloaded"),
    ("dies", dies, False, "engine_unreachable"),
    ("dies in a stream", dies, True, "engine_unreachable"),
    ("ends at once", plays([]), True, "EngineFailed"),
    ("dies after the head", plays([], then="die"), True, "engine_unreachable"),
    ("error event first", plays([ERROR_EVENT]), True, "EngineFailed"),
    ("error with the first token", plays([chunks(["a"])[0] + ERROR_EVENT]), True, "EngineFailed"),
    ("nonsense", plays([b"nonsense"]), False, "engine_nonsense"),
    ("nonsense in a stream", plays([NONSENSE]), True, "engine_nonsense"),
    ("stalls", stalls, False, "engine_unreachable"),
    ("stalls in a stream", plays([], then="stall"), True, "engine_unreachable"),
]
CASES = pytest.mark.parametrize(
    ("act", "stream", "error"),
    [case[1:] for case in BEFORE_THE_FIRST_BYTE],
    ids=[case[0] for case in BEFORE_THE_FIRST_BYTE],
)


@CASES
async def test_a_tier_that_fails_before_the_first_byte_is_replaced_by_the_next(
    tmp_path: Path, act: Act, stream: bool, error: str
) -> None:
    async with rig(tmp_path, [Engine(act)], [Engine(answers())], stall_s=0.2) as path:
        reply, body = await path.ask(call(stream=stream))
        assert reply.headers["x-hansom-tier"] == "large"
        assert b"error" not in body
        assert await path.told() == [
            ("small", "answer", "error", error),
            ("large", "fallback", "success", None),
        ]
        assert sorted(line.attempt for line in await path.lines()) == [0, 1]
        assert path.tiers["small"].in_flight == path.tiers["large"].in_flight == 0


@CASES
async def test_another_replica_is_tried_before_another_tier(
    tmp_path: Path, act: Act, stream: bool, error: str
) -> None:
    engines = [Engine(act), Engine(answers())]
    async with rig(tmp_path, engines, [Engine(answers())], stall_s=0.2) as path:
        reply, _ = await path.ask(call(stream=stream, messages=at_home("r0", "r1")))
        assert reply.headers["x-hansom-tier"] == "small"
        assert await path.told() == [
            ("small", "answer", "error", error),
            ("small", "retry", "success", None),
        ]


async def test_a_replica_that_cannot_be_reached_is_not_tried_twice(tmp_path: Path) -> None:
    alive = Engine(answers())
    async with rig(tmp_path, [alive]) as path:
        path.replicas["small"].insert(0, Replica("dead", ("127.0.0.1", unused_port())))
        await path.ask(call())
        assert await path.told() == [
            ("small", "answer", "error", "engine_unreachable"),
            ("small", "retry", "success", None),
        ]


async def test_the_least_busy_replica_is_chosen(tmp_path: Path) -> None:
    engines = [Engine(answers(wait_s=0.3)) for _ in range(3)]
    async with rig(tmp_path, engines) as path:
        await asyncio.gather(*(path.ask(call()) for _ in range(6)))
    assert [len(engine.asked) for engine in engines] == [2, 2, 2]


async def test_a_prompt_too_long_for_a_tier_goes_to_the_next(tmp_path: Path) -> None:
    async with rig(
        tmp_path, [Engine(refuses(400, TOO_LONG, "input_tokens"))], [Engine(answers())]
    ) as path:
        reply, _ = await path.ask(call())
        assert reply.headers["x-hansom-tier"] == "large"
        assert await path.told() == [
            ("small", "answer", "refused", "context_length_exceeded"),
            ("large", "fallback", "success", None),
        ]


async def test_a_prompt_too_long_for_every_tier_is_told_in_the_engines_words(
    tmp_path: Path,
) -> None:
    engines = [Engine(refuses(400, TOO_LONG, "input_tokens")) for _ in range(2)]
    async with rig(tmp_path, engines[:1], engines[1:]) as path:
        with pytest.raises(ContextTooLong, match="maximum context length is 16") as caught:
            await path.ask(call())
        assert caught.value.code == "context_length_exceeded"
        assert [line.outcome.value for line in await path.lines()] == ["refused"] * 2


async def test_a_request_that_an_engine_calls_wrong_is_tried_nowhere_else(
    tmp_path: Path,
) -> None:
    other = Engine(answers())
    async with rig(tmp_path, [Engine(refuses(400, "`seed` must be a number"))], [other]) as path:
        with pytest.raises(BadRequest, match="`seed` must be a number"):
            await path.ask(call())
        assert await path.told() == [("small", "answer", "refused", "bad_request")]
    assert other.asked == []


@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        (refuses(500, "out of memory"), EngineFailed, "out of memory"),
        (refuses(503, "queue full"), Unavailable, "queue full"),
        (dies, EngineFailed, "did not answer"),
    ],
)
async def test_when_every_tier_fails_the_last_failure_is_told(
    tmp_path: Path, act: Act, kind: type[HansomError], words: str
) -> None:
    async with rig(tmp_path, [Engine(act)], [Engine(act)]) as path:
        with pytest.raises(kind, match=words) as caught:
            await path.ask(call())
        assert type(caught.value) is kind
        assert (caught.value.retry_after_s is not None) is (kind is Unavailable)
        assert [line.kind.value for line in await path.lines()] == ["answer", "fallback"]


async def test_without_any_replica_the_client_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with rig(tmp_path) as path:
        with pytest.raises(Unavailable) as caught:
            await path.ask(call())
        assert caught.value.retry_after_s == 5
        assert await path.told() == [("small", "answer", "error", "no_replica")]


async def test_nothing_stands_in_for_a_tier_that_was_asked_for_by_name(tmp_path: Path) -> None:
    other = Engine(answers())
    async with rig(tmp_path, [Engine(refuses(500))], [other]) as path:
        with pytest.raises(EngineFailed):
            await path.ask(call(requested="small-model"))
        assert await path.told() == [("small", "answer", "error", "engine_failed")]
    assert other.asked == []


async def test_a_call_of_high_risk_is_never_answered_by_a_weaker_tier(tmp_path: Path) -> None:
    weaker = Engine(answers())
    async with rig(tmp_path, [weaker], [Engine(refuses(500))]) as path:
        with pytest.raises(EngineFailed):
            await path.ask(call(risk=Risk.HIGH))
    assert weaker.asked == []


async def test_a_dead_ledger_stream_costs_no_request_its_answer(tmp_path: Path) -> None:
    async with rig(tmp_path, [Engine(answers())]) as path:
        path.stream.failure = ConnectionError("gone")
        await path.ask(call())
        await until(lambda: path.recorder.ledger.stats.spooled == 1)
        assert list((tmp_path / "spool").iterdir())


async def test_completions_take_the_same_path(tmp_path: Path) -> None:
    engine = Engine(answers())
    async with rig(tmp_path, [engine]) as path:
        asked = call(endpoint=Endpoint.COMPLETION, prompt=["Hello", "there"], requested="auto")
        await path.ask(asked)
        (line,) = await path.lines()
        assert (line.endpoint, line.requested) == ("completions", "auto")
    assert engine.asked[0]["prompt"] == ["Hello", "there"]


async def test_every_attempt_is_counted_once_in_the_metrics(tmp_path: Path) -> None:
    async with rig(tmp_path, [Engine(refuses(500))], [Engine(answers())]) as path:
        await path.ask(call(stream=True))
        value = path.recorder.metrics.registry.get_sample_value
        for tier, kind, outcome in (("small", "answer", "error"), ("large", "fallback", "success")):
            labels = {"tier": tier, "kind": kind, "outcome": outcome}
            assert value("hansom_attempts_total", labels) == 1
        assert value("hansom_tokens_total", {"tier": "large", "kind": "output"}) == 2
        assert value("hansom_routes_total", {"tier": "small", "code": "easy"}) == 1
        assert value("hansom_ttft_seconds_count", {"tier": "large", "lane": "interactive"}) == 1
        assert value("hansom_cache_lookups_total", {"result": "off"}) == 1
