"""A stream that waits for a tier to be woken: comments, then the answer as it would have been."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest

from core.errors import Unavailable
from deployments.gateway.heartbeat import COMMENT, beating
from deployments.gateway.reply import Reply
from tests.deployments.rig import events_of, read

WAIT_S = 0.25


class Answer:
    """Answers after a while, by a stream that says how it ended."""

    def __init__(self, after_s: float = WAIT_S, failure: Exception | None = None) -> None:
        self.after_s = after_s
        self.failure = failure
        self.ended = ""

    async def __call__(self) -> Reply:
        try:
            await asyncio.sleep(self.after_s)
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        if self.failure is not None:
            raise self.failure
        return Reply(200, self._body(), {"x-hansom-tier": "large"})

    async def _body(self) -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(3):
                yield b"data: x\n\n"
        finally:
            self.ended = "closed"


async def test_one_that_comes_in_time_is_as_it_was() -> None:
    reply = await beating(Answer(0.0)(), 5.0, lambda: True)
    assert reply.headers == {"x-hansom-tier": "large"}
    assert await read(reply) == b"data: x\n\n" * 3


async def test_one_that_is_late_for_another_reason_gets_no_comment() -> None:
    reply = await beating(Answer()(), 0.05, lambda: False)
    assert reply.headers == {"x-hansom-tier": "large"}


async def test_comments_come_until_the_answer_does() -> None:
    reply = await beating(Answer()(), 0.05, lambda: True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    body = await read(reply)
    assert body.endswith(b"data: x\n\n" * 3)
    comments = body.removesuffix(b"data: x\n\n" * 3)
    assert comments == COMMENT * (len(comments) // len(COMMENT))
    assert len(comments) >= 3 * len(COMMENT)


async def test_a_failure_after_a_comment_is_an_error_event() -> None:
    failure = Unavailable("nobody is there", code="no_replica")
    body = await read(await beating(Answer(failure=failure)(), 0.05, lambda: True))
    (told,) = events_of(body.replace(COMMENT, b""))
    assert told["error"]["code"] == "no_replica"


async def test_a_failure_before_one_is_raised() -> None:
    with pytest.raises(Unavailable):
        await beating(Answer(0.0, Unavailable("no"))(), 5.0, lambda: True)


@pytest.mark.parametrize("after", ["nothing", "comment", "answer"])
async def test_a_client_that_leaves_ends_the_work(after: str) -> None:
    one = Answer(0.1 if after == "answer" else 30.0)

    async def request() -> None:
        reply = await beating(one(), 10.0 if after == "nothing" else 0.03, lambda: True)
        assert not isinstance(reply.body, bytes)
        with suppress(GeneratorExit):
            async for block in reply.body:
                if after == "answer" and block == COMMENT:
                    continue
                await reply.body.aclose()
                return

    task = asyncio.create_task(request())
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.wait({task})
    assert one.ended == ("closed" if after == "answer" else "cancelled")
