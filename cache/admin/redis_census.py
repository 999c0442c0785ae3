"""Scan a Redis in use for the census, and describe that Redis.

Promises: reads only; keys by SCAN in batches, sizes by MEMORY USAGE of a sample, one connection.
Every failure is an exception of the redis client.
Not covered: a moment: what comes or goes meanwhile may be in it or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import cast

from redis.asyncio import Redis

from cache.admin.census import COUNTED, CacheRedis, Census, estimated_bytes, number
from cache.admin.key_names import KeyKind, read
from cache.error_budget.budget import State
from cache.error_budget.state import from_fields
from cache.exact.redis_store import RedisStore
from core.redis_client import connect

_BATCH = 1000
_TIMEOUT_S = 10.0
# Elements of a set whose size MEMORY USAGE looks at.
_ELEMENTS = 5


@dataclass(frozen=True, slots=True)
class CensusRead:
    """`size_bytes` are estimates by kind; `budgets` are by owner's hash and class hash."""

    census: Census
    size_bytes: dict[KeyKind, int]
    budgets: dict[tuple[str, str], State]
    server: CacheRedis


async def take(url: str, owner: str | None = None, seed: int = 0) -> CensusRead:
    """Count one owner's keys, or all; raises `redis.RedisError` or `OSError`."""
    async with connect(url, retries=1, socket_timeout=_TIMEOUT_S) as redis:
        census = Census(Random(seed))
        match = "hansom:*" if owner is None else f"hansom:*:{{{owner}}}:*"
        cursor = 0
        while True:
            cursor, keys = await redis.scan(cursor, match, _BATCH)
            census.add(cast(list[bytes], keys))
            if not cursor:
                break
        sizes = {kind: await _size(redis, census, kind) for kind in COUNTED}
        budgets = await _budgets(redis, census.budgets)
        return CensusRead(census, sizes, budgets, await _server(redis, url))


async def _size(redis: Redis, census: Census, kind: KeyKind) -> int:
    pipe = redis.pipeline(transaction=False)
    for key in census.samples[kind]:
        pipe.memory_usage(key.decode(), samples=_ELEMENTS)
    return estimated_bytes(census.total(kind), await pipe.execute())


async def _budgets(redis: Redis, keys: list[bytes]) -> dict[tuple[str, str], State]:
    found = {}
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        pipe = redis.pipeline(transaction=False)
        for key in batch:
            pipe.hgetall(key)
        for key, fields in zip(batch, await pipe.execute(), strict=True):
            name = read(key)
            if name is not None and fields:
                try:
                    found[name.owner, name.rest.decode()] = from_fields(fields)
                except ValueError:
                    continue
    return found


async def _server(redis: Redis, url: str) -> CacheRedis:
    store = RedisStore(url, max_connections=1)
    try:
        facts = await store.facts()
    finally:
        await store.close()
    info = await redis.info()
    return CacheRedis(
        version=facts.version,
        eviction=facts.eviction,
        maxmemory_bytes=facts.maxmemory_bytes,
        used_bytes=number(info, "used_memory"),
        evicted_keys=number(info, "evicted_keys"),
        vector_sets=facts.vector_sets,
    )
