"""The ledger's Redis stream: appended to by every gateway, drained by a consumer group.

Promised: an appended line is read at least once, through restarts of Redis and of readers. With
the unique identity of a line in the SQL store that makes its effect exactly once.
Not covered: what Redis itself forgets. A Redis that carries a ledger needs `appendonly yes`; with
`appendfsync everysec` it may lose its last second or two when it or its machine dies.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from core.ledger_line import LedgerLine
from core.redis_client import connect
from ledger.path.drain import StreamEntry

FIELD = b"line"

# A pipeline of as many commands costs the gateway's client three times as much a line.
_APPEND = """
for at = 2, #ARGV do redis.call('XADD', KEYS[1], '*', ARGV[1], ARGV[at]) end
return #ARGV - 1
"""

log = logging.getLogger("hansom.ledger")
Result = TypeVar("Result")


class RedisStream:
    """`ledger.path.writer.Stream` over one Redis stream; the caller has the deadline."""

    def __init__(self, url: str, stream: str) -> None:
        self._redis = _client(url)
        self._stream = stream

    async def append(self, payloads: Sequence[bytes]) -> None:
        """One XADD each, in one script; raises `redis.RedisError` or `OSError`."""
        await self._redis.eval(_APPEND, 1, self._stream, FIELD, *payloads)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


class StreamReader:
    """One consumer of the stream's group; every call has `timeout_s` beyond what it blocks for.

    `consumer` should stay the same over restarts (as `drain-0`): names are never removed, since
    removing one would forget what it had not acked. Methods raise `redis.RedisError`, `OSError`
    or `TimeoutError`.
    """

    def __init__(
        self,
        url: str,
        stream: str,
        *,
        consumer: str,
        group: str = "ledger",
        timeout_s: float = 5.0,
    ) -> None:
        self._redis = _client(url)
        self._stream = stream
        self._unreadable = f"{stream}:unreadable"
        self._group = group
        self._consumer = consumer
        self._timeout_s = timeout_s

    async def read(self, count: int, block_s: float) -> list[StreamEntry]:
        """Up to `count` new entries, waiting at most `block_s` for the first."""
        block_ms = max(1, round(block_s * 1000))  # 0 would mean for ever
        reading = self._redis.xreadgroup(
            self._group, self._consumer, {self._stream: ">"}, count=count, block=block_ms
        )
        try:
            found = await self._within(reading, block_s)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            await self._create_group()
            return []
        return await self._entries(cast(Any, found)[0][1]) if found else []

    async def claim(self, count: int, idle_s: float) -> list[StreamEntry]:
        """Take over entries that a consumer, this one included, has held for `idle_s` unacked."""
        claiming = self._redis.xautoclaim(
            self._stream, self._group, self._consumer, round(idle_s * 1000), count=count
        )
        try:
            _, found, _ = await self._within(claiming)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            return []
        return await self._entries(found)

    async def ack(self, entries: Sequence[StreamEntry]) -> None:
        """Forget entries whose lines are committed: acked and deleted in one transaction."""
        await self._forget([entry.id for entry in entries])

    async def backlog_lines(self) -> int:
        """Lines in the stream that are not yet acked."""
        return cast(int, await self._within(self._redis.xlen(self._stream)))

    async def close(self) -> None:
        """Close the connections; what was not acked is claimed by the next reader."""
        await self._redis.aclose()

    async def _create_group(self) -> None:
        """From the beginning of the stream; another reader may have been faster."""
        try:
            creating = self._redis.xgroup_create(self._stream, self._group, id="0", mkstream=True)
            await self._within(creating)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _entries(
        self, found: Sequence[tuple[bytes, dict[bytes, bytes]]]
    ) -> list[StreamEntry]:
        """Parse; what is not a line is set aside, or it would come back for ever."""
        entries: list[StreamEntry] = []
        strange: list[tuple[bytes, dict[bytes, bytes]]] = []
        for id_, fields in found:
            try:
                entries.append(StreamEntry(id_, LedgerLine.from_bytes(fields[FIELD])))
            except (KeyError, ValueError):
                strange.append((id_, fields))
        if strange:
            log.error("ledger_lines_unreadable", extra={"fields": {"lines": len(strange)}})
            await self._forget([id_ for id_, _ in strange], [fields for _, fields in strange])
        return entries

    async def _forget(
        self, ids: Sequence[bytes], set_aside: Sequence[dict[bytes, bytes]] = ()
    ) -> None:
        if not ids:
            return
        pipe = self._redis.pipeline(transaction=True)
        for fields in set_aside:
            if fields:
                pipe.xadd(self._unreadable, cast(Any, fields))
        pipe.xack(self._stream, self._group, *ids)
        pipe.xdel(self._stream, *ids)
        await self._within(pipe.execute())

    async def _within(self, operation: Awaitable[Result], extra_s: float = 0.0) -> Result:
        async with asyncio.timeout(self._timeout_s + extra_s):
            return await operation


def _client(url: str) -> Redis:
    """The client does not retry: its caller knows what a failure means and when to try again."""
    return connect(url, socket_timeout=None)
