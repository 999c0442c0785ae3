"""The cache's store in Redis.

Promised: values come back as they were put, for their time to live. Every failure is an
exception of the redis client; the caller has the deadline and decides what a failure means.
Not covered: clusters and sentinels.
"""

import asyncio

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


class RedisStore:
    """`cache.exact.Store` over one Redis; `redis://`, `rediss://` and `unix://` URLs."""

    def __init__(self, url: str, *, max_connections: int = 64) -> None:
        # One immediate retry: after a restart of Redis every pooled connection is stale once.
        # The client's own back-off waits for seconds, longer than a whole answer may take.
        # The pool blocks: the plain one raises under a burst, which would look like an outage.
        pool = BlockingConnectionPool.from_url(
            url, protocol=2, max_connections=max_connections, retry=Retry(NoBackoff(), 1)
        )
        self._redis = Redis.from_pool(pool)
        self._asked: list[tuple[str, asyncio.Future[bytes | None]]] = []
        self._fetching: set[asyncio.Task[None]] = set()

    async def get(self, key: str) -> bytes | None:
        """The value, or None; raises `redis.RedisError` or `OSError`.

        Lookups of one turn of the event loop share one MGET: the client library costs more than
        the question, and under load many requests ask in the same turn.
        """
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._send_batch)
        answer: asyncio.Future[bytes | None] = loop.create_future()
        self._asked.append((key, answer))
        return await answer

    def _send_batch(self) -> None:
        batch, self._asked = self._asked, []
        task = asyncio.create_task(self._fetch(batch))
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)

    async def _fetch(self, batch: list[tuple[str, "asyncio.Future[bytes | None]"]]) -> None:
        """Answer a batch; a failure is everyone's. A caller may have left meanwhile."""
        try:
            values = await self._redis.mget([key for key, _ in batch])
        except Exception as error:  # the caller decides what a failure means
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), value in zip(batch, values, strict=True):
            if not answer.done():
                answer.set_result(value if isinstance(value, bytes) else None)

    async def set(self, key: str, value: bytes, ttl_s: int) -> None:
        """SET with EX `ttl_s` seconds; raises `redis.RedisError` or `OSError`."""
        await self._redis.set(key, value, ex=ttl_s)

    async def ping(self) -> None:
        """Return when Redis answers; raises `redis.RedisError` or `OSError`."""
        await self._redis.ping()

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
