"""Check the Redis in use once, before anything relies on it.

Promises: a Redis that may throw away ledger lines stops the start with the reason; one that lacks
vector sets is told in the log, and one that does not answer now is no reason to stop: it costs
cache hits, and the ledger waits for it.
"""

import asyncio
import logging

from redis.exceptions import RedisError

from cache.admin.redis_facts import RedisFacts, refusal, without_semantic
from cache.exact.redis_store import RedisStore
from core import log
from core.errors import HansomError

_logger = logging.getLogger("hansom.cache")
_TIMEOUT_S = 5.0


async def check(store: RedisStore) -> RedisFacts | None:
    """The facts, or None without an answer; raises `HansomError` for a Redis that must not be."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            facts = await store.facts()
    except (TimeoutError, RedisError, OSError) as error:
        log.event(_logger, "redis_unavailable", error=repr(error)[:200])
        return None
    if reason := refusal(facts):
        raise HansomError(reason)
    if reason := without_semantic(facts):
        log.event(_logger, "semantic_cache_off", reason=reason)
    return facts


def check_url(url: str) -> RedisFacts | None:
    """The same for a URL, where no event loop runs."""

    async def once() -> RedisFacts | None:
        store = RedisStore(url)
        try:
            return await check(store)
        finally:
            await store.close()

    return asyncio.run(once())
