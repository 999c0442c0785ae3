"""A Redis that would lose the ledger stops the start; one that is away does not."""

import pytest
from redis.asyncio import Redis

from cache.exact.redis_store import RedisStore
from core.errors import HansomError
from deployments.machine.redis_check import check, check_url
from tests.conftest import RedisServer


@pytest.mark.redis
async def test_a_redis_that_evicts_anything_is_refused_with_the_reason(
    redis_server: RedisServer,
) -> None:
    async with Redis.from_url(redis_server.url) as client:
        await client.config_set("maxmemory-policy", "allkeys-lru")
    store = RedisStore(redis_server.url)
    with pytest.raises(HansomError, match=r"allkeys-lru.*volatile-lfu"):
        await check(store)
    await store.close()


@pytest.mark.redis
def test_the_one_that_tests_use_is_accepted(redis_url: str) -> None:
    facts = check_url(redis_url)
    assert facts is not None
    assert facts.vector_sets


def test_one_that_does_not_answer_is_no_reason_to_stop() -> None:
    assert check_url("unix:///nowhere/redis.sock") is None
