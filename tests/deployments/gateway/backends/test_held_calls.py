"""A call that was held, on its way: a full replica, one that is gone, a deadline, a hang-up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from core.errors import DeadlineExceeded, Unavailable
from deployments.gateway.backends.wake_queue import WakeQueue
from tests.deployments.engines import Act, Engine, answers, dies, refuses
from tests.deployments.rig import Rig, call, rig
from tests.fakes import FakeShelf
from tests.ledger.lines import until


async def no_kick() -> None:
    """The policy always answers here."""


@asynccontextmanager
async def asleep(folder: Path, *small: Engine, up: int) -> AsyncIterator[Rig]:
    """The small tier may sleep, and `up` of its replicas run at first."""
    async with rig(folder, small, [Engine(answers())]) as path:
        tier = path.tiers["small"]
        tier.wake_queue = WakeQueue("small", FakeShelf(), "g", no_kick)
        tier._room = 4
        path.late = path.replicas["small"][up:]  # type: ignore[attr-defined]
        del path.replicas["small"][up:]
        try:
            yield path
        finally:
            await tier.wake_queue.close()


def come(path: Rig) -> None:
    """The replicas that were not there yet are."""
    path.replicas["small"].extend(path.late)  # type: ignore[attr-defined]


def asked() -> Any:
    return call(requested="small", model="small")


def full_at_first(times: int) -> Act:
    """Refuse as a full replica does, so many times."""
    left = [times]

    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        left[0] -= 1
        return await (refuses(503, "full") if left[0] >= 0 else answers())(request, body)

    return act


async def test_it_waits_for_a_replica_and_leaves_one_line(tmp_path: Path) -> None:
    async with asleep(tmp_path, Engine(answers()), up=0) as path:
        task = asyncio.create_task(path.ask(asked()))
        await until(
            lambda: path.tiers["small"].wake_queue and path.tiers["small"].wake_queue.calls == 1
        )
        come(path)
        reply, body = await task
        assert (reply.headers["x-hansom-tier"], reply.status) == ("small", 200)
        assert orjson.loads(body)["choices"]
        assert await path.told() == [("small", "answer", "success", None)]


async def test_a_full_replica_has_it_try_again_until_there_is_room(tmp_path: Path) -> None:
    engine = Engine(full_at_first(3))
    async with asleep(tmp_path, engine, up=0) as path:
        task = asyncio.create_task(path.ask(asked()))
        await asyncio.sleep(0.05)
        come(path)
        reply, _ = await task
        assert reply.status == 200
        assert len(engine.asked) == 4
        assert await path.told() == [("small", "answer", "success", None)]


async def test_one_that_was_not_held_is_told_that_it_is_full(tmp_path: Path) -> None:
    async with asleep(tmp_path, Engine(refuses(503, "full")), up=1) as path:
        with pytest.raises(Unavailable, match="full"):
            await path.ask(asked())


async def test_when_the_last_replica_was_just_taken_away_another_is_waited_for(
    tmp_path: Path,
) -> None:
    gone, next_ = Engine(dies), Engine(answers())
    async with asleep(tmp_path, gone, next_, up=1) as path:
        task = asyncio.create_task(path.ask(asked()))
        await until(
            lambda: path.tiers["small"].wake_queue and path.tiers["small"].wake_queue.calls == 1
        )
        come(path)
        reply, _ = await task
        assert reply.status == 200
        assert [line[1:3] for line in await path.told()] == [
            ("answer", "error"), ("retry", "success"),
        ]  # fmt: skip


async def test_an_engine_that_fails_is_not_waited_for(tmp_path: Path) -> None:
    async with asleep(tmp_path, Engine(refuses(500)), up=1) as path:
        async with asyncio.timeout(3):
            with pytest.raises(Exception, match="failed"):
                await path.ask(asked())


async def test_its_deadline_counts_while_it_is_held(tmp_path: Path) -> None:
    async with asleep(tmp_path, up=0) as path:
        with pytest.raises(DeadlineExceeded):
            await path.ask(call(requested="small", model="small", deadline_s=0.2))
        assert await path.told() == [("small", "answer", "timeout", "deadline_exceeded")]


async def test_a_client_that_leaves_is_let_go(tmp_path: Path) -> None:
    async with asleep(tmp_path, up=0) as path:
        task = asyncio.create_task(path.ask(asked()))
        wake_queue = path.tiers["small"].wake_queue
        await until(lambda: wake_queue and wake_queue.calls == 1)
        task.cancel()
        await asyncio.wait({task})
        assert wake_queue is not None and wake_queue.calls == 0
        assert await path.told() == [("small", "cancelled", "cancelled", None)]
