"""Answers and their entries in a real Redis, as gateways leave them there."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from redis.asyncio import Redis

from cache.admin.key_names import owner_tag
from cache.exact.answers import CachedAnswer
from cache.exact.key import exact_key
from cache.exact.redis_store import RedisStore
from cache.scope import scope_key
from cache.semantic.entries import SemanticEntry, entry_id, entry_key, near_key
from cache.semantic.redis_vectors import RedisVectors
from core.call import Usage


@dataclass(frozen=True, slots=True)
class Stored:
    """One answered request: the keys of its answer, its entry and its vector set."""

    answer: str
    entry: str
    near: str
    id: str


class Shelf:
    """Puts answers into Redis and tells what is left."""

    def __init__(self, url: str, redis: Redis) -> None:
        self.url = url
        self.redis = redis
        self.tenant = uuid.uuid4().hex
        self._store, self._vectors = RedisStore(url), RedisVectors(url, timeout_s=5)
        self._random = np.random.default_rng(3)

    @property
    def owner(self) -> str:
        return owner_tag(self.tenant)

    async def put(
        self,
        text: str,
        *,
        tags: Sequence[str] = (),
        made_s: float = 1000.0,
        tenant: str | None = None,
        indexed: bool = True,
    ) -> Stored:
        """With `indexed` False only the entry knows its tags."""
        who = tenant or self.tenant
        key = exact_key({"p": text}, endpoint="chat", tenant=who, policy_version="1")
        scope = scope_key({}, endpoint="chat", tenant=who, policy_version="1")
        answer = CachedAnswer(b"x" * 300, "small", "m", Usage(), 0, made_s)
        await self._store.set(key, answer.to_bytes(), 60, tags if indexed else ())
        entry = SemanticEntry(entry_id(text), text, "0f" * 8, key, tuple(tags), made_s)
        vector = self._random.normal(size=32).astype(np.float32)
        await self._vectors.keep(scope, vector, entry, 60, 10_000)
        return Stored(key, entry_key(scope, entry.id), near_key(scope), entry.id)

    async def left(self, one: Stored) -> tuple[bool, bool, bool]:
        """Whether the answer, the entry and its vector are there."""
        answer, entry = await self.redis.exists(one.answer), await self.redis.exists(one.entry)
        member = await self.redis.execute_command("VEMB", one.near, one.id)
        return bool(answer), bool(entry), member is not None

    async def close(self) -> None:
        await self._store.close()
        await self._vectors.close()


@asynccontextmanager
async def shelf(url: str) -> AsyncIterator[Shelf]:
    async with Redis.from_url(url, protocol=2) as redis:
        made = Shelf(url, redis)
        try:
            yield made
        finally:
            await made.close()
