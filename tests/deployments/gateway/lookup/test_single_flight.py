"""Callers of one key on one gateway: one generation, everybody's form, everybody's share."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from cache.exact.eligible import Directives
from cache.flight.flights import Flights
from cache.flight.redis_flights import RedisFlights
from core.call import Call, Usage
from core.errors import EngineFailed
from core.ledger_line import Kind, LedgerLine, Outcome
from core.log import SystemClock
from deployments.gateway.reply import Reply
from tests.cache.flight.flying import CALM
from tests.deployments.engines import Engine, answers, chunks, plays, refuses
from tests.deployments.rig import Rig, call, events_of, read, rig
from tests.ledger.lines import until

WORDS = [" one", " cab", " for", " all"]
TEXT = "".join(WORDS)


def nobody() -> Flights:
    """Flights without a Redis: callers of this process share all the same."""
    return Flights(RedisFlights("unix:///nowhere/redis.sock", SystemClock(), CALM))


def asked(at: int, *, stream: bool, **changes: Any) -> Call:
    known = {"call_id": f"{at:032d}", "request_id": f"r-{at}", "temperature": 0}
    return call(stream=stream, **known | changes)


def said(body: bytes, *, stream: bool) -> str:
    if not stream:
        return str(orjson.loads(body)["choices"][0]["message"]["content"])
    events = [one for one in events_of(body) if isinstance(one, dict) and one["choices"]]
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in events)


async def whole(path: Rig, one: Call) -> tuple[Reply, bytes]:
    reply = await path.respond(one)
    return reply, await read(reply)


def engine_cost(lines: list[LedgerLine]) -> int:
    """What the generation costs at the small tier's prices: 4 fresh, 3 cached, 4 made."""
    (made,) = [line for line in lines if line.kind is Kind.ANSWER]
    return made.cost_usd_micros


@pytest.mark.parametrize("first", [False, True], ids=["plain leads", "stream leads"])
async def test_callers_of_one_question_make_one_generation_and_share_its_cost(
    tmp_path: Path, first: bool
) -> None:
    engine = Engine(answers(WORDS, wait_s=0.1))
    forms = [first, True, False, not first, True]
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        calls = [
            asked(at, stream=stream, include_usage=stream and at % 2 == 0)
            for at, stream in enumerate(forms)
        ]
        got = await asyncio.gather(*(whole(path, one) for one in calls))
        assert len(engine.asked) == 1
        assert [said(body, stream=one) for (_, body), one in zip(got, forms, strict=True)] == [
            TEXT
        ] * 5
        told = [reply.headers["x-hansom-cache"] for reply, _ in got]
        assert sorted(told) == ["flight"] * 4 + ["miss"]
        lines = await path.lines()
    kinds = sorted(line.kind.value for line in lines)
    assert kinds == ["answer", "credit", "joined", "joined", "joined", "joined"]
    cost = engine_cost(lines)
    assert cost > 5
    assert sum(line.cost_usd_micros for line in lines) == cost
    shares = [line.cost_usd_micros for line in lines if line.kind is Kind.JOINED]
    assert max(shares) - min(shares) <= 1
    assert all(line.usage == Usage(4, 3, 4) for line in lines if line.kind is Kind.JOINED)
    assert all(line.cache == "flight" for line in lines if line.kind is Kind.JOINED)
    (credit,) = [line for line in lines if line.kind is Kind.CREDIT]
    assert (credit.usage, credit.cost_usd_micros) == (Usage(), -sum(shares))


async def test_each_stream_has_its_own_request_id_usage_and_share(tmp_path: Path) -> None:
    engine = Engine(answers(WORDS, wait_s=0.1))
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        with_usage, without = await asyncio.gather(
            whole(path, asked(1, stream=True, include_usage=True)),
            whole(path, asked(2, stream=True)),
        )
        cost = engine_cost(await path.lines())
    *_, last, done = events_of(with_usage[1])
    assert done == "[DONE]"
    assert last["usage"]["completion_tokens"] == 4
    assert last["hansom"]["request_id"] == "r-1"
    events = events_of(without[1])
    assert not any("usage" in one for one in events[:-1])
    closing = events[-2]["hansom"]
    assert (closing["request_id"], closing["cache"]) == ("r-2", "flight")
    paid = [float(last["hansom"]["cost_usd"]), float(closing["cost_usd"])]
    assert round(sum(paid) * 1e6) == cost


async def test_one_caller_alone_is_answered_as_without_sharing(tmp_path: Path) -> None:
    engine = Engine(answers(WORDS))
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        reply, body = await whole(path, asked(1, stream=False))
        (line,) = await path.lines()
    assert said(body, stream=False) == TEXT
    assert (line.kind, line.cache) == (Kind.ANSWER, "miss")
    assert round(float(reply.headers["x-hansom-cost-usd"]) * 1e6) == line.cost_usd_micros


async def test_who_stays_out_of_the_cache_generates_alone(tmp_path: Path) -> None:
    engine = Engine(answers(WORDS, wait_s=0.05))
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        off = Directives(opted=False)
        await asyncio.gather(
            *(path.respond(asked(at, stream=False), off) for at in range(3)),
        )
        assert len(engine.asked) == 3


async def test_other_tenants_generate_for_themselves(tmp_path: Path) -> None:
    engine = Engine(answers(WORDS, wait_s=0.05))
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        await asyncio.gather(
            *(whole(path, asked(at, stream=False, tenant=f"t-{at}")) for at in range(3))
        )
        assert len(engine.asked) == 3


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_failure_before_the_first_token_is_everybodys(tmp_path: Path, stream: bool) -> None:
    small, large = Engine(refuses(503)), Engine(refuses(503))
    async with rig(tmp_path, [small], [large], flights=nobody()) as path:
        got = await asyncio.gather(
            *(path.respond(asked(at, stream=stream)) for at in range(3)), return_exceptions=True
        )
        lines = await path.lines()
    assert len({type(one) for one in got}) == 1
    assert all(isinstance(one, Exception) for one in got)
    joined = [line for line in lines if line.kind is Kind.JOINED]
    assert [(line.outcome, line.cost_usd_micros) for line in joined] == [(Outcome.ERROR, 0)] * 2


async def test_a_leader_whose_client_leaves_goes_on_for_the_others(tmp_path: Path) -> None:
    engine = Engine(plays([*chunks(WORDS)[:3], 0.2, *chunks(WORDS)[3:]]))
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        leader = asyncio.create_task(whole(path, asked(1, stream=True)))
        await asyncio.sleep(0.05)
        follower = asyncio.create_task(whole(path, asked(2, stream=True)))
        await asyncio.sleep(0.02)
        leader.cancel()
        _, body = await follower
        assert said(body, stream=True) == TEXT
        assert len(engine.asked) == 1
        await until(lambda: len(path.stream.payloads) == 3)
        lines = await path.lines()
    assert sum(line.cost_usd_micros for line in lines) == engine_cost(lines)
    assert {line.kind for line in lines} == {Kind.ANSWER, Kind.CREDIT, Kind.JOINED}


async def test_without_anybody_left_the_engine_is_left_too(tmp_path: Path) -> None:
    engine = Engine(plays(chunks(WORDS)[:3], then="stall"))
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        calls = [asyncio.create_task(whole(path, asked(at, stream=at == 1))) for at in range(1, 4)]
        await asyncio.sleep(0.1)
        for one in calls:
            one.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.wait_for(engine.left.wait(), 5)
        lines = await path.lines()
    assert {line.outcome for line in lines} == {Outcome.CANCELLED}
    assert len(lines) == 3


async def test_a_stream_that_breaks_is_gone_on_with_by_another_caller(tmp_path: Path) -> None:
    broken, well = plays(chunks(WORDS)[:3], then="die"), answers(WORDS)
    turns = iter([broken, well])

    async def act(request: Any, body: Any) -> Any:
        return await next(turns)(request, body)

    engine = Engine(act)
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        got = await asyncio.gather(*(whole(path, asked(at, stream=True)) for at in range(2)))
        assert [said(body, stream=True) for _, body in got] == [TEXT] * 2
        assert len(engine.asked) == 2


async def test_a_stream_that_breaks_for_its_only_caller_ends_in_an_error(tmp_path: Path) -> None:
    engine = Engine(plays(chunks(WORDS)[:3], then="die"))
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        _, body = await whole(path, asked(1, stream=True))
        (line,) = await path.lines()
    assert events_of(body)[-1]["error"]["code"] == "stream_broken"
    assert line.outcome is Outcome.ERROR


async def test_a_caller_without_time_leaves_and_the_others_stay(tmp_path: Path) -> None:
    engine = Engine(answers(WORDS, wait_s=0.4))
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        patient = asyncio.create_task(whole(path, asked(1, stream=False)))
        await asyncio.sleep(0.02)
        with pytest.raises(Exception, match="No complete answer"):
            await path.respond(asked(2, stream=False, deadline_s=0.05))
        _, body = await patient
        lines = await path.lines()
    assert said(body, stream=False) == TEXT
    (late,) = [line for line in lines if line.kind is Kind.JOINED]
    assert (late.outcome, late.error_code) == (Outcome.TIMEOUT, "deadline_exceeded")


def test_an_error_keeps_its_code() -> None:
    assert EngineFailed("x", code="stream_broken").code == "stream_broken"


async def test_nobodys_answer_ends_where_another_callers_budget_does(tmp_path: Path) -> None:
    engine = Engine(answers(WORDS, wait_s=0.1))
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        bound = [asked(at, stream=False, output_caps={"small": 33}) for at in (1, 2)]
        free = [asked(at, stream=False) for at in (3, 4)]
        await asyncio.gather(*(whole(path, one) for one in (*bound, *free)))
        assert [one.get("max_completion_tokens") for one in engine.asked] == [33, None]
