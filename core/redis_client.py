"""Make clients of Redis: the one place, so that all of them speak RESP 2 and retry alike.

Promises:
- No client backs off by itself: redis-py's default waits for seconds, longer than an answer takes.
- A pool blocks when all its connections are in use: redis-py's plain pool raises under a burst,
  which would look like an outage.

Not covered: clusters and sentinels.
"""

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError


def connect(url: str, *, retries: int = 0, **options: Any) -> Redis:
    """Make a client with the plain pool; `options` are those of `redis.asyncio.Redis`.

    `retries` are immediate: after a restart of Redis every pooled connection is stale once, which
    one retry mends. Without retries the caller decides what a failure means.
    """
    return Redis.from_url(url, protocol=2, retry=_retry(retries), **options)


def connect_pool(
    url: str, max_connections: int, *, retries: int, timeouts: bool = True, **options: Any
) -> Redis:
    """Make a client whose pool blocks; `options` are those of `BlockingConnectionPool`.

    `timeouts=False` retries lost connections only: after a timeout the caller has waited, and a
    script may have run.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        max_connections=max_connections,
        retry=_retry(retries, timeouts=timeouts),
        **options,
    )
    return Redis.from_pool(pool)


def _retry(retries: int, *, timeouts: bool = True) -> Retry:
    if timeouts:
        return Retry(NoBackoff(), retries)
    return Retry(NoBackoff(), retries, supported_errors=(RedisConnectionError,))
