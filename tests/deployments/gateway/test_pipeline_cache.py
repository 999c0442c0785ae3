"""The pipeline and the cache: who is answered from it, in which form, and at what price."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from cache.exact.eligible import Directives
from core.call import Risk, Usage
from tests.deployments.engines import Engine, answer, answers, chunks, plays
from tests.deployments.rig import call, events_of, read, rig, settings_of


def asked_by(stream: bool, **changes: Any) -> Any:
    return call(stream=stream, include_usage=stream, temperature=0, **changes)


@pytest.mark.parametrize("first", [False, True], ids=["plain first", "stream first"])
@pytest.mark.parametrize("second", [False, True], ids=["plain again", "stream again"])
async def test_the_same_question_again_is_answered_from_the_cache_in_either_form(
    tmp_path: Path, first: bool, second: bool
) -> None:
    engine = Engine(answers([" cab", " ride"]))
    async with rig(tmp_path, [engine]) as path:
        await path.ask(asked_by(first))
        reply, body = await path.ask(asked_by(second, request_id="r-2", call_id="d" * 32))
        assert len(engine.asked) == 1
        assert reply.headers["x-hansom-cache"] == "exact"
        assert reply.headers["x-hansom-route-reason"].startswith("cache_exact; ")
        if second:
            *events, last, done = events_of(body)
            text = "".join(item["choices"][0]["delta"].get("content") or "" for item in events)
            assert (text, done) == (" cab ride", "[DONE]")
            assert last["hansom"]["cache"] == "exact"
            assert last["hansom"]["request_id"] == "r-2"
            assert last["hansom"]["cost_usd"] == "0.000000"
            assert last["usage"]["completion_tokens"] == 2
        else:
            whole = orjson.loads(body)
            assert whole["choices"][0]["message"]["content"] == " cab ride"
            assert whole["usage"]["completion_tokens"] == 2
            assert reply.headers["x-hansom-cost-usd"] == "0.000000"
            assert "hansom" not in whole
        _, hit = await path.lines()
        assert (hit.kind.value, hit.cache, hit.cost_usd_micros) == ("cache_hit", "exact", 0)
        assert (hit.usage, hit.saved_usd_micros) == (Usage(4, 3, 2), 95)


@pytest.mark.parametrize(
    ("changes", "wish"),
    [
        ({"tenant": "other"}, Directives()),
        ({"risk": Risk.HIGH}, Directives()),
        ({"seed": 2}, Directives()),
        ({}, Directives(opted=False)),
        ({}, Directives(no_cache=True)),
        ({"requested": "small"}, Directives()),
    ],
)
async def test_another_question_tenant_or_wish_is_not_answered_from_the_cache(
    tmp_path: Path, changes: dict[str, Any], wish: Directives
) -> None:
    engine = Engine(answers())
    async with rig(tmp_path, [engine], [engine]) as path:
        await path.ask(call(temperature=0))
        reply, _ = await path.ask(call(temperature=0, **changes), wish)
        assert reply.headers["x-hansom-cache"] == "miss"
    assert len(engine.asked) == 2


async def test_an_answer_that_may_vary_is_neither_looked_up_nor_kept(tmp_path: Path) -> None:
    async with rig(tmp_path, [Engine(answers())]) as path:
        await path.ask(call(temperature=0.7))
        assert path.store.operations == 0
        (line,) = await path.lines()
        assert line.cache == "off"


async def test_a_dead_cache_costs_no_request_its_answer(tmp_path: Path) -> None:
    async with rig(tmp_path, [Engine(answers())]) as path:
        path.store.failure = ConnectionError("gone")
        for _ in range(6):
            reply, _ = await path.ask(call(temperature=0))
            assert (reply.status, reply.headers["x-hansom-cache"]) == (200, "miss")


async def test_an_answer_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    settings = settings_of(cache={"max_answer_bytes": 1024})
    engine = Engine(answers(["x" * 1100]))
    async with rig(tmp_path, [engine], settings=settings) as path:
        for _ in range(2):
            await path.ask(call(temperature=0))
    assert len(engine.asked) == 2


async def test_closing_waits_for_the_cache(tmp_path: Path) -> None:
    async with rig(tmp_path, [Engine(answers())]) as path:
        await read(await path.respond(call(temperature=0)))
        before = path.store.operations
        await path.pipeline.close()
        assert path.store.operations == before + 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("reason", "caps", "kept"), [
    ("length", {"small": 33}, False), ("stop", {"small": 33}, True), ("length", {}, True),
])  # fmt: skip
async def test_an_answer_that_was_cut_for_a_budget_is_not_kept(
    reason: str, caps: dict[str, int], kept: bool, stream: bool, tmp_path: Path
) -> None:
    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if not stream:
            whole = answer(" a", 1)
            whole["choices"][0]["finish_reason"] = reason
            return web.json_response(whole)
        events = [one.replace(b'"stop"', f'"{reason}"'.encode()) for one in chunks([" a"])]
        return await plays(events)(request, body)

    async with rig(tmp_path, [Engine(act)]) as path:
        await path.ask(call(stream=stream, temperature=0, output_caps=caps))
        reply, _ = await path.ask(call(stream=stream, temperature=0))
        assert (reply.headers["x-hansom-cache"] == "exact") is kept
