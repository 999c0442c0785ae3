"""Store the exact cache's answers in Redis.

Promised: values come back as they were put, for their time to live. Every failure is an
exception of the redis client; the caller has the deadline and decides what a failure means.
Not covered: clusters and sentinels.
"""

from collections.abc import Sequence

from redis.exceptions import ResponseError

from cache.admin.redis_facts import RedisFacts
from core.redis_client import connect_pool

# A vector set that never exists.
_NO_SET = "hansom:none"


def tag_key(key: str, tag: str) -> str:
    """The set of what bears a tag, in the cluster slot of `key`: `hansom:tag:{<owner>}:<tag>`."""
    return f"hansom:tag:{{{key.partition('{')[2].partition('}')[0]}}}:{tag}"


class RedisStore:
    """`answers.AnswerStore` over one Redis; `redis://`, `rediss://` and `unix://` URLs."""

    def __init__(self, url: str, *, max_connections: int = 64) -> None:
        # One immediate retry: after a restart of Redis every pooled connection is stale once.
        self._redis = connect_pool(url, max_connections, retries=1)

    async def get(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """MGET; raises `redis.RedisError` or `OSError`."""
        values = await self._redis.mget(list(keys))
        return [value if isinstance(value, bytes) else None for value in values]

    async def set(self, key: str, value: bytes, ttl_s: int, tags: Sequence[str] = ()) -> None:
        """SET with EX `ttl_s` seconds, and the key's name under each tag, in one round trip.

        Raises `redis.RedisError` or `OSError`.
        """
        if not tags:
            await self._redis.set(key, value, ex=ttl_s)
            return
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(key, value, ex=ttl_s)
        for tag in tags:
            name = tag_key(key, tag)
            pipe.sadd(name, key)
            pipe.expire(name, ttl_s, nx=True)
            pipe.expire(name, ttl_s, gt=True)
        await pipe.execute()

    async def ping(self) -> None:
        """Return when Redis answers; raises `redis.RedisError` or `OSError`."""
        await self._redis.ping()

    async def facts(self) -> RedisFacts:
        """What this Redis is; raises `redis.RedisError` or `OSError`."""
        info = await self._redis.info()
        try:
            await self._redis.vset().vcard(_NO_SET)
        except ResponseError:  # unknown command
            return RedisFacts.from_info(info, vector_sets=False)
        return RedisFacts.from_info(info, vector_sets=True)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
