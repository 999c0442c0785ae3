"""Engines that tests play: real HTTP servers on the loopback address, each with one way to act."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from core.capability import Capabilities
from deployments.gateway.backends.tier import Replica
from deployments.names import CAPABILITIES_PATH

DONE = b"data: [DONE]\n\n"
Act = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
PROMPT_TOKENS = 7


def event(body: object) -> bytes:
    """One server-sent event as vLLM writes it."""
    return b"data: " + orjson.dumps(body) + b"\n\n"


def usage(made: int) -> dict[str, Any]:
    """vLLM's usage object after `made` tokens, 3 of the prompt's from the prefix cache."""
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "total_tokens": PROMPT_TOKENS + made,
        "completion_tokens": made,
        "prompt_tokens_details": {"cached_tokens": 3},
    }


def told(*logprobs: float) -> dict[str, Any]:
    """vLLM's log-probabilities of a chunk's tokens; texts that look like events are no harm."""
    one = {"token": '"}]}\n\ndata: ', "bytes": [34], "top_logprobs": []}
    return {"content": [one | {"logprob": each} for each in logprobs]}


def chunks(
    pieces: Sequence[str], *, choices: int = 1, logprobs: Sequence[Sequence[float]] = ()
) -> list[bytes]:
    """A chat stream up to `[DONE]`: role, one event a piece, the ends, the usage.

    A piece is one token, or as many as it has `logprobs`.
    """
    head = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def one(index: int, made: int, **choice: Any) -> bytes:
        whole = {"index": index, "logprobs": None, "finish_reason": None} | choice
        return event(head | {"choices": [whole], "usage": usage(made)})

    indices = range(choices)
    events = [one(at, 0, delta={"role": "assistant", "content": ""}) for at in indices]
    made = 0
    for nth, piece in enumerate(pieces):
        known = {"logprobs": told(*logprobs[nth])} if logprobs else {}
        made += len(logprobs[nth]) if logprobs else 1
        events += [one(at, made, delta={"content": piece}, **known) for at in indices]
    events += [one(at, made, delta={}, finish_reason="stop") for at in indices]
    return [*events, event(head | {"choices": [], "usage": usage(made * choices)}), DONE]


def answer(text: str, made: int) -> dict[str, Any]:
    """A whole chat answer."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage(made),
    }


@dataclass
class Engine:
    """What an engine was asked, and whether a client left it before the end.

    It tells its capabilities, unless they are None.
    """

    act: Act
    capabilities: Capabilities | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.asked.append(body)
        self.headers.append(request.headers)
        try:
            return await self.act(request, body)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise

    async def tell(self, _request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(self.capabilities))


async def start_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    return response


def drop(request: web.Request) -> None:
    """Close the connection as a killed process does."""
    assert request.transport is not None
    request.transport.abort()


def answers(pieces: Sequence[str] = (" a", " b"), *, wait_s: float = 0.0) -> Act:
    """Answer, as a stream or plain, whichever is asked."""

    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(wait_s)
        if not body.get("stream"):
            return web.json_response(answer("".join(pieces), len(pieces)))
        response = await start_stream(request)
        for item in chunks(pieces):
            await response.write(item)
        return response

    return act


def plays(events: Sequence[bytes | float], *, then: str = "end") -> Act:
    """Stream these bytes, waiting where there is a number of seconds; then end, die or stall."""

    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = await start_stream(request)
        for item in events:
            await (asyncio.sleep(item) if isinstance(item, float) else response.write(item))
        await asyncio.sleep(0.02)  # let it arrive, or aborting would take it back
        if then == "die":
            drop(request)
        elif then == "stall":
            await asyncio.sleep(60)
        return response

    return act


def sure(
    pieces: Sequence[str], logprob: float = -0.001, *, events: int | None = None, then: str = "end"
) -> Act:
    """Stream with this log-probability of each token where asked for; cut after some `events`.

    The sixth event is followed by a pause, so that it does not come together with the end.
    """

    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        known = [[logprob]] * len(pieces) if body.get("logprobs") else ()
        whole: list[bytes | float] = [*chunks(pieces, logprobs=known)[:events]]
        return await plays([*whole[:6], 0.05, *whole[6:]], then=then)(request, body)

    return act


def refuses(status: int, message: str = "no", param: str | None = None) -> Act:
    """Answer with vLLM's error object."""

    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        error = {"message": message, "type": "BadRequestError", "param": param, "code": status}
        return web.json_response({"error": error}, status=status)

    return act


async def dies(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Close the connection before the first byte."""
    drop(request)
    return web.Response()


async def stalls(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Take the request and say nothing."""
    await asyncio.sleep(60)
    return web.Response()


def port_of(server: TestServer) -> int:
    """Where a started server listens."""
    assert server.port is not None
    return server.port


@asynccontextmanager
async def serving(*engines: Engine) -> AsyncIterator[list[Replica]]:
    """The engines' servers; the replicas are named r0, r1, ..."""
    servers = []
    for engine in engines:
        app = web.Application()
        app.router.add_post("/v1/{tail:.*}", engine)
        if engine.capabilities is not None:
            app.router.add_post(CAPABILITIES_PATH, engine.tell)
        servers.append(TestServer(app))
    try:
        for server in servers:
            await server.start_server(shutdown_timeout=0.1)
        yield [
            Replica(f"r{at}", ("127.0.0.1", port_of(server))) for at, server in enumerate(servers)
        ]
    finally:
        for server in servers:
            await server.close()
