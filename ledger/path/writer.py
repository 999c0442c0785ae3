"""Write lines from the request's path to the ledger's stream without waiting.

Promised: a recorded line reaches the stream at least once. While the stream cannot be reached
lines wait in the spool; a line leaves memory only when it is in one of the two.
Not covered: lines in memory when the process is killed, which are those of the last `linger_s`
and of the batch in flight. Order is not kept.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from core.background import end
from core.ledger_line import LedgerLine
from core.log import event
from ledger.path.spool import Spool

_LOOK_S = 10.0  # how often a spool left by a process that died is looked for

log = logging.getLogger("hansom.ledger")


class Stream(Protocol):
    """Where lines go; see `ledger.path.redis_stream.RedisStream`. Any exception means: not now."""

    async def append(self, payloads: Sequence[bytes]) -> None:
        """Add all of them in one round trip; after an exception some may have been added."""

    async def close(self) -> None:
        """Close the connections."""


@dataclass(slots=True)
class WriterStats:
    """Lines since the start. `dropped` are lost: neither stream nor disk would take them."""

    recorded: int = 0
    sent: int = 0
    spooled: int = 0
    resent: int = 0
    dropped: int = 0


class StreamWriter:
    """Takes lines without waiting and group-commits them to the stream from its own task.

    Every write of a batch has `timeout_s`. After a failure lines go to the spool, and the
    stream is tried again every `retry_s`.
    """

    def __init__(
        self,
        stream: Stream,
        spool: Spool,
        *,
        linger_s: float = 0.005,
        batch_lines: int = 128,
        timeout_s: float = 1.0,
        retry_s: float = 1.0,
        max_queued_lines: int = 100_000,
    ) -> None:
        self.stats = WriterStats()
        self._stream = stream
        self._spool = spool
        self._linger_s = linger_s
        self._batch_lines = batch_lines
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._max_queued_lines = max_queued_lines
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        self._up = True
        self._try_again_s = 0.0
        self._backlog = True  # until looked: a spool of an earlier process may wait in the folder
        self._look_again_s = 0.0

    def start(self) -> None:
        """Begin to write, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ledger-writer")

    def record(self, line: LedgerLine) -> None:
        """Hand over one line; never waits, never raises. For the event loop's thread only."""
        self.stats.recorded += 1
        try:
            payload = line.to_bytes()
        except TypeError:
            self._drop(1, "not serialisable")
            return
        if len(self._queue) >= self._max_queued_lines:
            self._drop(1, "queue full")
            return
        self._queue.append(payload)
        if self._ended:
            self._spool_now()  # no task will take it; blocks for one sync
        elif not self._wake.is_set():
            self._wake.set()

    async def close(self, deadline_s: float = 5.0) -> None:
        """Write what is queued, to the stream or the spool, and stop within about `deadline_s`."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=deadline_s)
            await end([self._task])
        self._ended = True
        self._spool_now()
        self._spool.close()
        await self._stream.close()

    async def _run(self) -> None:
        """Owned by `close`; a cancelled run leaves nothing in memory."""
        try:
            while not self._closing:
                await self._wait()
                await self._commit()
                await self._resend()
            await self._commit()
        finally:
            self._ended = True
            self._spool_now()

    async def _wait(self) -> None:
        """Until a line comes, and a little longer for others to join its batch."""
        if not self._queue and not (self._backlog and self._up):
            try:
                async with asyncio.timeout(self._retry_s):
                    await self._wake.wait()
            except TimeoutError:
                return
        self._wake.clear()
        if not self._closing:
            await asyncio.sleep(self._linger_s)

    async def _commit(self) -> None:
        """Empty the queue. A line leaves it only when it is in the stream or on disk."""
        while self._queue:
            batch = list(islice(self._queue, self._batch_lines))
            if await self._send(batch):
                self.stats.sent += len(batch)
            elif not await asyncio.to_thread(self._to_spool, batch):
                await asyncio.sleep(0 if self._closing else self._retry_s)
                return
            for _ in batch:
                self._queue.popleft()

    async def _resend(self) -> None:
        """Move one batch from the spool to the stream; new lines take turns with old ones."""
        now_s = asyncio.get_running_loop().time()
        if not self._due(now_s) or not (self._backlog or now_s >= self._look_again_s):
            return
        self._look_again_s = now_s + _LOOK_S
        try:
            batch = await asyncio.to_thread(self._spool.read, self._batch_lines)
            if batch and await self._send(batch):
                await asyncio.to_thread(self._spool.confirm)
                self.stats.resent += len(batch)
            self._backlog = bool(batch)
        except OSError as error:
            self._backlog = False
            log.error("ledger_spool_unreadable", extra={"fields": {"reason": repr(error)}})

    def _due(self, now_s: float) -> bool:
        """The stream is up, or was down long enough ago to be tried again."""
        return self._up or now_s >= self._try_again_s

    async def _send(self, batch: Sequence[bytes]) -> bool:
        """One pipelined round trip; False when the stream is down, or was a moment ago."""
        now_s = asyncio.get_running_loop().time()
        if not self._due(now_s):
            return False
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._stream.append(batch)
        except Exception as error:  # whatever client library is behind the stream
            self._try_again_s = now_s + self._retry_s
            if self._up:
                event(log, "ledger_stream_down", reason=repr(error))
            self._up = False
            return False
        if not self._up:
            event(log, "ledger_stream_up")
        self._up = True
        return True

    def _to_spool(self, batch: Sequence[bytes]) -> bool:
        try:
            self._spool.append(batch)
        except OSError as error:
            log.error("ledger_spool_unwritable", extra={"fields": {"reason": repr(error)}})
            return False
        self.stats.spooled += len(batch)
        self._backlog = True
        return True

    def _spool_now(self) -> None:
        """Last resort, blocking: what is still queued goes to disk, or is counted as lost."""
        if self._queue and not self._to_spool(self._queue):
            self._drop(len(self._queue), "the end came, and the spool is not writable")
        self._queue.clear()

    def _drop(self, lines: int, reason: str) -> None:
        self.stats.dropped += lines
        log.error("ledger_lines_dropped", extra={"fields": {"lines": lines, "reason": reason}})
