"""A gateway asks the replica that had a request for the request's tokens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from core.call import Usage
from deployments.gateway.backends.connection import ReplicaGone
from deployments.gateway.backends.exchange import Connections
from deployments.gateway.backends.tier import Replica, TierReplicas
from deployments.names import USAGE_PATH
from tests.deployments.engines import port_of

FIELDS = {"fresh_input_tokens": 7, "cached_input_tokens": 3, "output_tokens": 2}


class Replies:
    """Answers to the questions, one after another; the last one stays."""

    def __init__(self, *replies: web.Response | None) -> None:
        self.asked: list[Any] = []
        self._replies = list(replies)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if reply is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return reply


@asynccontextmanager
async def replicas_of(replies: Replies) -> AsyncIterator[tuple[TierReplicas, Replica]]:
    app = web.Application()
    app.router.add_post(USAGE_PATH, replies.answer)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0.1)
    connections = Connections()
    replica = Replica("r0", ("127.0.0.1", port_of(server)))
    try:
        yield TierReplicas("small", lambda: [replica], connections, 1.0), replica
    finally:
        await connections.close()
        await server.close()


async def test_it_is_asked_by_the_engines_id_and_takes_no_place() -> None:
    replies = Replies(web.json_response(FIELDS))
    async with replicas_of(replies) as (replicas, replica):
        assert await replicas.usage(replica, "id-0") == Usage(7, 3, 2)
        assert replicas.in_flight == 0
    assert replies.asked == [{"id": "id-0"}]


async def test_a_request_that_never_came_there_took_nothing() -> None:
    async with replicas_of(Replies(web.json_response(None))) as (replicas, replica):
        assert await replicas.usage(replica, "id-0") == Usage()


async def test_a_replica_that_is_full_is_asked_again() -> None:
    replies = Replies(web.Response(status=503), web.json_response(FIELDS))
    async with replicas_of(replies) as (replicas, replica):
        assert await replicas.usage(replica, "id-0") == Usage(7, 3, 2)
    assert len(replies.asked) == 2


async def test_one_that_stays_full_is_asked_until_the_callers_deadline() -> None:
    async with replicas_of(Replies(web.Response(status=503))) as (replicas, replica):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await replicas.usage(replica, "id-0")


@pytest.mark.parametrize(
    "reply",
    [web.Response(status=404), web.Response(status=400), web.Response(text="no"),
     web.json_response({"output_tokens": "many"}), web.json_response([1])],
    ids=["404", "400", "no JSON", "no number", "no object"],
)  # fmt: skip
async def test_what_is_no_answer_is_a_value_error(reply: web.Response) -> None:
    async with replicas_of(Replies(reply)) as (replicas, replica):
        with pytest.raises(ValueError):
            await replicas.usage(replica, "id-0")


async def test_a_replica_that_is_gone_is_said_to_be() -> None:
    async with replicas_of(Replies(None)) as (replicas, replica):
        with pytest.raises(ReplicaGone):
            await replicas.usage(replica, "id-0")
    async with replicas_of(Replies(None)) as (replicas, _):
        with pytest.raises(ReplicaGone):
            await replicas.usage(Replica("r1", ("127.0.0.1", 1)), "id-0")
