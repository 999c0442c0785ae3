"""Send settlements to Redis in the background, in batches.

Promises: a step is sent at least once and counts once, in the order of its call's steps; while
Redis is away steps wait in memory, `max_steps` of them, the oldest go first, and the loss is told.
Closing sends what is queued, within its deadline.
Not covered: steps in memory when the process is killed. Their reservations expire, and what they
spent is in the ledger but in no counter.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from redis.exceptions import RedisError

from accounts.redis_store import ReservationRequest, Settling
from core import log
from core.background import end
from core.ports import Clock

_logger = logging.getLogger("hansom.accounts")


class Steps(Protocol):
    """Where steps go; `accounts.redis_store.RedisAccounts`."""

    async def send(
        self, steps: Sequence[ReservationRequest | Settling], wall_s: float
    ) -> list[Exception]:
        """See there."""


class Settler:
    """One per gateway replica."""

    def __init__(
        self,
        store: Steps,
        clock: Clock,
        *,
        linger_s: float = 0.002,
        batch: int = 128,
        timeout_s: float = 1.0,
        retry_s: float = 1.0,
        max_steps: int = 100_000,
    ) -> None:
        self._store = store
        self._clock = clock
        self._linger_s = linger_s
        self._batch = batch
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._max_steps = max_steps
        self._queue: deque[ReservationRequest | Settling] = deque()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing = False
        self._up = True
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    @property
    def pending(self) -> int:
        """Steps in memory."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to send, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="accounts-settler")

    def add(self, step: ReservationRequest | Settling) -> None:
        """Hand over one step; never waits, never raises."""
        if len(self._queue) >= self._max_steps:
            self._queue.popleft()
            self.dropped += 1
            if self.dropped == 1 or self.dropped % 1000 == 0:
                _logger.error("settlements_dropped", extra={"fields": {"steps": self.dropped}})
        self._queue.append(step)
        self._empty.clear()
        self._wake.set()

    async def flushed(self, patience_s: float) -> None:
        """Return when nothing is queued, or after `patience_s`."""
        try:
            async with asyncio.timeout(patience_s):
                await self._empty.wait()
        except TimeoutError:
            return

    async def close(self, deadline_s: float = 5.0) -> None:
        """Send what is queued and stop; what Redis does not take in time is lost."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=deadline_s)
            await end([self._task])
        if self._queue:
            self.dropped += len(self._queue)
            _logger.error("settlements_dropped", extra={"fields": {"steps": len(self._queue)}})

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._closing:
                await asyncio.sleep(self._linger_s)
            while self._queue:
                if await self._send():
                    continue
                if self._closing:
                    return
                await asyncio.sleep(self._retry_s)
            self._empty.set()
            if self._closing:
                return

    async def _send(self) -> bool:
        """One round trip; False when the same steps are to be sent again."""
        batch = list(islice(self._queue, self._batch))
        try:
            async with asyncio.timeout(self._timeout_s):
                wrong = await self._store.send(batch, self._clock.wall_s())
        except (TimeoutError, RedisError, OSError) as error:
            if self._up:
                log.event(_logger, "accounts_redis_down", error=repr(error)[:200])
            self._up = False
            return False
        if wrong:
            reason = {"steps": len(wrong), "reason": repr(wrong[0])[:200]}
            _logger.error("settlements_refused", extra={"fields": reason})
        self._up = True
        for step in batch:
            if self._queue and self._queue[0] is step:  # a full queue may have dropped some
                self._queue.popleft()
        return True
