"""Read a request's body, and notice when its client leaves.

Ray Serve can watch for clients that leave, at two tasks and a queue a request, also for answers
that are there at once. Here the watching begins where the waiting does (`Client.watch`), so every
application behind Serve's replicas must do its own; `deployments.edge` switches Serve's off.
"""

import asyncio
from collections.abc import Callable

from starlette.types import Receive

from core.errors import BodyTooLarge


class ClientLeft(Exception):
    """The client hung up before its request was read."""


class Client:
    """Reads one request; after `watch`, a client that leaves cancels the task that called it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None
        self._then: Callable[[], None] | None = None
        self.left = False

    async def body(self, limit_bytes: int) -> bytes:
        """The whole body; raises `BodyTooLarge` as soon as it is longer, and `ClientLeft`."""
        parts, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.left = True
                raise ClientLeft
            part = message.get("body", b"")
            size += len(part)
            if size > limit_bytes:
                raise BodyTooLarge(
                    f"The body is longer than {limit_bytes} bytes (limits.max_body_bytes)."
                )
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    def watch(self) -> None:
        """From now on cancel the current task when the client leaves, until `close`."""
        task = asyncio.current_task()
        assert task is not None
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(task))

    def on_close(self, done: Callable[[], None]) -> None:
        """Call `done` once, when the request is over: answered, failed or left."""
        self._then = done

    def close(self) -> None:
        """Stop watching; the end of an answer is no hang-up."""
        done, self._then = self._then, None
        if done is not None:
            done()
        # Letting go of the task matters: its frames hold this object, and what holds itself waits
        # for the garbage collector, 30 objects a request and 60 ms at a time.
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()

    def absorb_cancel(self) -> bool:
        """Whether a cancellation was the hang-up; then it is taken back, else it must go on."""
        task = asyncio.current_task()
        if not self.left or task is None:
            return False
        return task.uncancel() == 0

    async def _watch(self, task: asyncio.Task[object]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        task.cancel()
