"""The client of one request: its body, and what happens when it leaves."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from starlette.types import Message

from core.errors import BodyTooLarge
from deployments.client import Client, ClientLeft

LEFT = {"type": "http.disconnect"}


class Sender:
    """What uvicorn's `receive` gives: parts of a body, then nothing until `leave`."""

    def __init__(self, *parts: bytes, whole: bool = True) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for at, part in enumerate(parts):
            more = not whole or at < len(parts) - 1
            self._messages.put_nowait({"type": "http.request", "body": part, "more_body": more})

    def leave(self) -> None:
        self._messages.put_nowait(LEFT)

    async def __call__(self) -> Message:
        return await self._messages.get()


async def test_a_body_is_read_whole() -> None:
    assert await Client(Sender(b"ab", b"", b"c")).body(3) == b"abc"
    assert await Client(Sender(b"")).body(0) == b""


async def test_a_body_is_refused_as_soon_as_it_is_too_long() -> None:
    with pytest.raises(BodyTooLarge):
        await Client(Sender(b"ab", b"cd", whole=False)).body(3)


async def test_half_a_body_is_never_taken_for_a_whole_one() -> None:
    client = Sender(b'{"model": "auto"', whole=False)
    client.leave()
    caller = Client(client)
    with pytest.raises(ClientLeft):
        await caller.body(1000)
    assert caller.left


async def work(caller: Client, ends: list[str]) -> str:
    """A request whose answer never comes."""
    await caller.body(10)
    caller.watch()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        if not caller.absorb_cancel():
            raise
        ends.append("forgiven")
    finally:
        caller.close()
    return "went on"


async def test_a_client_that_leaves_ends_the_work_and_the_task_may_go_on() -> None:
    client, ends = Sender(b"x"), list[str]()
    task = asyncio.create_task(work(Client(client), ends))
    await asyncio.sleep(0.01)
    client.leave()
    assert await asyncio.wait_for(task, 1) == "went on"
    assert ends == ["forgiven"]


async def test_a_cancellation_that_is_no_hang_up_goes_on() -> None:
    ends = list[str]()
    task = asyncio.create_task(work(Client(Sender(b"x")), ends))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ends == []


async def test_a_cancellation_beside_the_hang_up_goes_on_too() -> None:
    client, ends = Sender(b"x"), list[str]()
    task = asyncio.create_task(work(Client(client), ends))
    await asyncio.sleep(0.01)
    client.leave()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_close_a_client_that_leaves_disturbs_nobody() -> None:
    client = Sender(b"x")
    caller = Client(client)
    await caller.body(10)
    caller.watch()
    caller.watch()
    await asyncio.sleep(0)
    caller.close()
    client.leave()
    await asyncio.sleep(0.01)
    assert not caller.left
    others: Any = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others, "the watch ended with its request"


async def test_whoever_did_not_watch_is_never_cancelled() -> None:
    client = Sender(b"x")
    caller = Client(client)
    await caller.body(10)
    client.leave()
    await asyncio.sleep(0.01)
    caller.close()
    assert not caller.left


async def test_a_request_that_has_ended_leaves_nothing_to_the_garbage_collector() -> None:
    gone = list[weakref.ref[Client]]()

    async def request() -> None:
        caller = Client(Sender(b"x"))
        gone.append(weakref.ref(caller))
        await caller.body(10)
        caller.watch()
        await asyncio.sleep(0)
        caller.close()

    gc.disable()
    try:
        await asyncio.create_task(request())
        await asyncio.sleep(0.01)
        assert gone[0]() is None
    finally:
        gc.enable()
