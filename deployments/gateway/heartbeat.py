"""Send comments on a stream whose tier is waking, until its first token.

Proxies and clients close connections on which nothing comes. So the status of such a stream is sent
early, and server-sent comments (lines that begin with a colon, which every client passes over)
follow until the answer does. Its headers cannot tell the tier then; the `hansom` object at its end
does.

Promises: what fails after that is an error event; a client that leaves ends the work.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from core.errors import HansomError
from deployments.gateway.reply import STREAMED, Reply
from wire.relay import error_event

COMMENT = b": waking\n\n"


async def beating(
    answer: Coroutine[Any, Any, Reply], every_s: float, held: Callable[[], bool]
) -> Reply:
    """The reply of `answer`, or one that beats every `every_s` until then, while `held()`."""
    task = asyncio.create_task(answer)
    try:
        while not (await asyncio.wait({task}, timeout=every_s))[0]:
            if held():
                body = _beats(task, every_s)
                await anext(body)  # closing a generator that never began would not end the task
                return Reply(200, body, STREAMED)
        return task.result()
    except BaseException:
        await _end(task)
        raise


async def _beats(task: asyncio.Task[Reply], every_s: float) -> AsyncGenerator[bytes, None]:
    try:
        yield b""  # taken by `beating`
        yield COMMENT
        while not (await asyncio.wait({task}, timeout=every_s))[0]:
            yield COMMENT
        try:
            reply = task.result()
        except HansomError as error:
            yield error_event(error)
            return
        if isinstance(reply.body, bytes):
            yield reply.body
            return
        async with aclosing(reply.body) as blocks:
            async for block in blocks:
                yield block
    finally:
        await _end(task)


async def _end(task: asyncio.Task[Reply]) -> None:
    """Cancel what still runs, and close a reply that was not sent."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if task.cancelled() or task.exception() is not None:
        return
    body = task.result().body
    if not isinstance(body, bytes):
        await body.aclose()
