"""Batch calls wait behind interactive ones: at the gateway, in the engine, and nowhere else."""

import asyncio
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import orjson
import pytest
from aiohttp import web
from hypothesis import given

from core.call import Call, Lane
from core.errors import DeadlineExceeded, EngineFailed, HansomError
from deployments.gateway.backends import generate
from deployments.gateway.backends.choice import Pace, ReplicaPicker
from deployments.gateway.backends.lane import BATCH_SHARE, BatchPlaces, batch_room, marks, queued
from deployments.names import LANE_HEADER
from tests.deployments.engines import Engine, answers, refuses
from tests.deployments.gateway.lookup.test_single_flight import nobody
from tests.deployments.rig import call, rig
from tests.ledger.lines import until


def asked(lane: Lane = Lane.BATCH, **changes: Any) -> Call:
    return call(requested="small", lane=lane, **changes)


@given(st.dictionaries(st.text(max_size=8), st.integers()), st.sampled_from(Lane))
def test_the_lane_alone_sets_the_priority(body: dict[str, Any], lane: Lane) -> None:
    for given_ in (body, body | {"priority": -5}):
        sent = queued(given_, lane)
        assert sent.get("priority", 0) == (1 if lane is Lane.BATCH else 0)
        left = {name: value for name, value in sent.items() if name != "priority"}
        assert left == {name: value for name, value in body.items() if name != "priority"}


def test_interactive_calls_are_sent_without_a_mark() -> None:
    assert marks(Lane.INTERACTIVE) == {}
    assert marks(Lane.BATCH) == {LANE_HEADER: "batch"}


@given(st.integers(1, 20), st.integers(1, 500), st.integers(1, 8))
def test_batch_calls_of_all_gateways_have_their_share_of_the_places_and_one_at_least(
    replicas: int, places: int, gateways: int
) -> None:
    room = batch_room(replicas, places, gateways)
    assert room == 1 or room * gateways <= replicas * places * BATCH_SHARE
    assert room >= 1
    assert batch_room(0, places, gateways) == batch_room(1, places, gateways)


async def test_the_engine_is_told_the_lane_and_the_priority_and_the_ledger_the_lane(
    tmp_path: Path,
) -> None:
    engine = Engine(answers())
    async with rig(tmp_path, [engine]) as path:
        await path.ask(asked(priority=-7))
        await path.ask(asked(Lane.INTERACTIVE, priority=-7))
        assert [line.lane for line in await path.lines()] == [Lane.BATCH, Lane.INTERACTIVE]
    told = [(headers.get(LANE_HEADER), body.get("priority")) for headers, body in
            zip(engine.headers, engine.asked, strict=True)]  # fmt: skip
    assert told == [("batch", 1), (None, None)]


class Gate:
    """An engine that answers when it is let: one request for each `release`."""

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(0)
        self.open = 0

    async def act(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self.open += 1
        try:
            await self.turns.acquire()
        finally:
            self.open -= 1
        return await answers()(request, body)


async def test_more_batch_calls_wait_at_the_gateway_and_leave_room_for_others(
    tmp_path: Path,
) -> None:
    gate = Gate()
    async with rig(tmp_path, [Engine(gate.act)]) as path:
        tier = path.tiers["small"]
        tier._choice = ReplicaPicker(Pace(room=4))
        batch = [asyncio.create_task(path.respond(asked())) for _ in range(5)]
        await until(lambda: gate.open == 2)
        await asyncio.sleep(0.1)
        assert (gate.open, tier.in_flight, tier.batch.open) == (2, 2, 2)
        other = asyncio.create_task(path.respond(asked(Lane.INTERACTIVE)))
        await until(lambda: gate.open == 3)
        batch[4].cancel()  # one that waits
        for _ in range(5):
            gate.turns.release()
        replies = await asyncio.gather(*batch[:4], other)
        assert [reply.status for reply in replies] == [200] * 5
        assert (tier.in_flight, tier.batch.open) == (0, 0)


async def test_batch_calls_come_out_in_the_order_in_which_they_came() -> None:
    room, ended = 0, list[int]()
    places = BatchPlaces(lambda: room)

    async def one(number: int) -> None:
        await places.wait(5.0)
        places.open += 1
        ended.append(number)

    tasks = [asyncio.create_task(one(number)) for number in range(4)]
    await asyncio.sleep(0.05)
    assert ended == []
    tasks[1].cancel()
    room = 4
    await asyncio.wait(tasks)
    assert ended == [0, 2, 3]


async def test_a_batch_call_without_a_place_ends_at_its_deadline(tmp_path: Path) -> None:
    gate = Gate()
    async with rig(tmp_path, [Engine(gate.act)]) as path:
        first = asyncio.create_task(path.respond(asked()))
        await until(lambda: gate.open == 1)
        with pytest.raises(DeadlineExceeded):
            await path.respond(asked(deadline_s=0.2))
        gate.turns.release()
        assert (await first).status == 200
        kinds = sorted((line.outcome.value, line.error_code) for line in await path.lines())
    assert kinds == [("success", None), ("timeout", "deadline_exceeded")]


async def test_a_full_replica_has_a_batch_call_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(generate._FULL_AGAIN_S, Lane.BATCH, 0.01)
    left = [2]

    async def full_at_first(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        left[0] -= 1
        return await (refuses(503) if left[0] >= 0 else answers())(request, body)

    async with rig(tmp_path, [Engine(full_at_first)]) as path:
        reply, _ = await path.ask(asked())
        assert reply.status == 200
        assert await path.told() == [("small", "answer", "success", None)]
        left[0] = 2
        with pytest.raises(HansomError):
            await path.respond(asked(Lane.INTERACTIVE))


async def test_a_batch_call_may_wait_in_the_engine_for_longer_than_others(tmp_path: Path) -> None:
    async with rig(tmp_path, [Engine(answers(wait_s=0.5))], stall_s=0.15) as path:
        reply, _ = await path.ask(asked())
        assert reply.status == 200
        with pytest.raises(EngineFailed):
            await path.respond(asked(Lane.INTERACTIVE))


async def test_an_interactive_call_does_not_join_a_generation_of_the_batch_lane(
    tmp_path: Path,
) -> None:
    engine = Engine(answers(wait_s=0.1))
    async with rig(tmp_path, [engine], flights=nobody()) as path:
        path.tiers["small"]._room = 8
        lanes = [Lane.BATCH, Lane.BATCH, Lane.INTERACTIVE, Lane.INTERACTIVE]
        calls = [asked(lane, call_id=f"{at:032d}", temperature=0) for at, lane in enumerate(lanes)]
        replies = await asyncio.gather(*(path.respond(one) for one in calls))
        assert [reply.headers["x-hansom-cache"] for reply in replies] == [
            "miss", "flight", "miss", "flight",
        ]  # fmt: skip
        assert {orjson.loads(reply.body)["id"] for reply in replies} == {"chat-1"}  # type: ignore[arg-type]
    assert sorted(headers.get(LANE_HEADER, "") for headers in engine.headers) == ["", "batch"]
