"""The simulated engine speaks the part of vLLM's protocol that the gateway relies on."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.settings.load import SimulatedEngine
from deployments.gateway.cascade.held_answer import logprobs_of
from deployments.tier.simulated.engine import Simulated
from deployments.tier.usage_meter import UsageMeter
from tests.deployments.rig import events_of
from wire.whole import assemble

CHAT = "/v1/chat/completions"
TURN = [{"role": "user", "content": "Hello"}]


def engine(**settings: Any) -> Simulated:
    return Simulated(SimulatedEngine(kind="simulated", **settings), "sim")


async def post(
    one: Simulated, path: str = CHAT, *, headers: Sequence[Any] = (), **body: Any
) -> tuple[int, bytes]:
    """Status and body of one request made to the ASGI application itself."""
    sent: list[dict[str, Any]] = []
    raw = orjson.dumps({"model": "sim", "messages": TURN, "prompt": "Hello"} | body)
    halves = [(raw[:9], True), (raw[9:], False)]

    async def receive() -> dict[str, Any]:
        part, more = halves.pop(0)
        return {"type": "http.request", "body": part, "more_body": more}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await one({"type": "http", "path": path, "headers": list(headers)}, receive, send)
    assert not sent[-1].get("more_body")
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def gauges(one: Simulated) -> dict[str, float]:
    families = text_string_to_metric_families(one.metrics_text())
    return {family.name: family.samples[0].value for family in families}


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
async def test_a_stream_puts_together_to_the_plain_answer(path: str) -> None:
    one = engine(output_tokens=5)
    _, plain = await post(one, path)
    _, stream = await post(one, path, stream=True, stream_options={"include_usage": True})
    events = stream.removesuffix(b"\n\n").split(b"\n\n")
    whole, again = orjson.loads(plain), assemble(event + b"\n\n" for event in events)
    for name in ("object", "model", "usage"):
        assert again[name] == whole[name]
    (choice,), (choice_again,) = whole["choices"], again["choices"]
    assert choice_again["finish_reason"] == choice["finish_reason"] == "stop"
    assert choice_again.get("text") == choice.get("text")
    assert choice_again.get("message") == choice.get("message")


@pytest.mark.parametrize(("path", "asked"), [(CHAT, True), ("/v1/completions", 0)])
async def test_log_probabilities_come_when_they_are_asked_for(path: str, asked: object) -> None:
    one = engine(output_tokens=3)
    _, plain = await post(one, path, logprobs=asked)
    _, stream = await post(one, path, logprobs=asked, stream=True)
    (whole,), (again,) = orjson.loads(plain)["choices"], assemble([stream])["choices"]
    assert again["logprobs"] == whole["logprobs"]
    assert logprobs_of(whole) == [-0.1] * 3
    _, stream = await post(one, path, stream=True)
    assert b"logprobs" not in stream


async def test_running_usage_counts_each_token_once_it_is_asked_for() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    _, body = await post(engine(), stream=True, stream_options=options, max_tokens=3)
    told = [item["usage"]["completion_tokens"] for item in events_of(body)[:-1] if "usage" in item]
    assert told == [1, 2, 3, 3]
    _, body = await post(engine(), stream=True, max_tokens=3)
    assert b"usage" not in body


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_the_clients_limit_is_the_length(limit: str) -> None:
    _, body = await post(engine(output_tokens=50), **{limit: 4})
    assert orjson.loads(body)["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_beyond_the_context_is_refused_in_vllms_words(stream: bool) -> None:
    status, body = await post(
        engine(context_tokens=64), messages=[{"role": "user", "content": "x" * 400}], stream=stream
    )
    message = orjson.loads(body)["error"]["message"]
    assert status == 400
    assert "maximum context length is 64 tokens" in message
    assert "50 output tokens" in message
    assert "input tokens" in message
    assert orjson.loads(body)["error"]["param"] == "input_tokens"


def test_its_context_is_among_its_capabilities() -> None:
    assert engine(context_tokens=64).meter.capabilities.context_tokens == 64


async def test_another_route_is_not_found() -> None:
    status, body = await post(engine(), "/v1/audio/speech")
    assert (status, "no route" in orjson.loads(body)["error"]["message"]) == (404, True)


async def test_tokens_come_at_the_pace_that_is_set() -> None:
    loop = asyncio.get_running_loop()
    before_s = loop.time()
    await post(engine(ttft_s=0.1, tpot_s=0.02), stream=True, max_tokens=6)
    assert 0.2 <= loop.time() - before_s < 2.0


async def test_no_more_than_the_set_number_run_at_once() -> None:
    one = engine(ttft_s=0.2, max_concurrent=2)
    tasks = [asyncio.create_task(post(one)) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert (one.report().running, one.report().waiting) == (2, 3)
    told = gauges(one)
    assert told["hansom_simulated_running_requests"] == 2
    assert told["hansom_simulated_waiting_requests"] == 3
    await asyncio.gather(*tasks)
    assert (one.report().running, one.report().waiting) == (0, 0)


async def test_who_waited_for_a_place_is_played_at_the_pace_that_is_set_too() -> None:
    one, loop = engine(ttft_s=0.1, tpot_s=0.02, max_concurrent=1), asyncio.get_running_loop()
    before_s = loop.time()
    await asyncio.gather(*(post(one, stream=stream, max_tokens=6) for stream in (True, False)))
    assert loop.time() - before_s >= 0.4


async def test_a_lower_priority_goes_first_and_equal_ones_by_arrival() -> None:
    one, ended = engine(ttft_s=0.02, max_concurrent=1), list[int]()

    async def ask(number: int, priority: int) -> None:
        await post(one, priority=priority)
        ended.append(number)

    async with asyncio.TaskGroup() as group:
        for number, priority in enumerate((1, 1, 1, 0, 0)):
            group.create_task(ask(number, priority))
            await asyncio.sleep(0)
    assert ended == [0, 3, 4, 1, 2]


@pytest.mark.parametrize("place", ["running", "waiting"])
async def test_a_client_that_leaves_gives_its_place_back(place: str) -> None:
    one = engine(ttft_s=30.0, max_concurrent=1)
    tasks = [asyncio.create_task(post(one, stream=True)) for _ in range(2)]
    await asyncio.sleep(0.02)
    tasks[place == "waiting"].cancel()
    await asyncio.sleep(0.02)
    assert (one.report().running, one.report().waiting) == (1, 0)
    assert gauges(one)["hansom_simulated_aborted_requests"] == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert one.report().running == 0


async def test_it_is_always_healthy_and_starts_at_once() -> None:
    one = engine()
    assert isinstance(await one.start(), UsageMeter)
    await one.check_health()
    one.stop()


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
async def test_several_choices_and_prompts_are_as_vllm_tells_them(path: str) -> None:
    """Each prompt once in the usage at the end; of its own choice in an event."""
    one, prompts = engine(output_tokens=5), [[1, 2, 3], [4]]
    many = 1 if path == CHAT else 2
    _, plain = await post(one, path, n=3, prompt=prompts)
    whole = orjson.loads(plain)
    assert [choice["index"] for choice in whole["choices"]] == list(range(3 * many))
    options = {"include_usage": True, "continuous_usage_stats": True}
    _, raw = await post(one, path, n=3, prompt=prompts, stream=True, stream_options=options)
    *events, total, _ = events_of(raw)
    assert total["usage"] == whole["usage"]
    assert whole["usage"]["completion_tokens"] == 5 * 3 * many
    running = {event["choices"][0]["index"]: event["usage"] for event in events if "usage" in event}
    assert [one["completion_tokens"] for one in running.values()] == [5] * 3 * many
    if many == 2:
        assert [one["prompt_tokens"] for one in running.values()] == [3, 3, 3, 1, 1, 1]
        assert whole["usage"]["prompt_tokens"] == 4
    ends = [event["choices"][0].get("finish_reason") for event in events].count("stop")
    assert ends == 3 * many
