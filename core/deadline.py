"""Deadlines on the request's path that a busy event loop does not cut short."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


_LATE_S = 0.002
_MAX_EXTENSIONS = 20


async def within(operation: Awaitable[Result], timeout_s: float) -> Result:
    """Await `operation`; raises `TimeoutError` when the other side takes longer than `timeout_s`.

    A few milliseconds are less than a busy event loop needs for one turn. What counts is the other
    side's time: while the loop itself comes late, the deadline moves on, `_MAX_EXTENSIONS` times at
    most.
    """
    async with asyncio.timeout(None) as limit:
        watch = _Watch(limit, timeout_s)
        try:
            return await operation
        finally:
            watch.timer.cancel()


class _Watch:
    """Ends `limit` when the other side is late, and not when the loop is."""

    def __init__(self, limit: asyncio.Timeout, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._timeout_s = timeout_s
        self._left = _MAX_EXTENSIONS
        self._due_s = 0.0
        self._wait()

    def _wait(self) -> None:
        self._due_s = self._loop.time() + self._timeout_s
        self.timer = self._loop.call_at(self._due_s, self._check)

    def _check(self) -> None:
        now_s = self._loop.time()
        if now_s - self._due_s > _LATE_S and self._left:
            self._left -= 1
            self._wait()
        else:
            self._limit.reschedule(now_s)
