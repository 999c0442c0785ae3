"""One contract for the fake store and for Redis, and what only a real Redis can do wrong."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from cache.exact.answers import AnswerStore, CachedAnswer, ExactCache
from cache.exact.redis_store import RedisStore
from core.call import Usage
from tests.conftest import RedisServer
from tests.fakes import FakeClock, FakeStore

pytestmark = pytest.mark.redis


@pytest.fixture(params=["fake", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[AnswerStore]:
    if request.param == "fake":
        yield FakeStore()
        return
    real = RedisStore(request.getfixturevalue("redis_url"))
    await real.ping()
    yield real
    await real.close()


async def test_a_store_gives_back_what_it_was_given(store: AnswerStore) -> None:
    key = uuid.uuid4().hex
    assert await store.get([key]) == [None]
    await store.set(key, b"\x00\xff" * 1000, 60)
    assert await store.get([key]) == [b"\x00\xff" * 1000]
    await store.set(key, b"", 60)
    assert await store.get([key, uuid.uuid4().hex, key]) == [b"", None, b""]


async def test_values_expire(redis_url: str) -> None:
    store, key = RedisStore(redis_url), uuid.uuid4().hex
    await store.set(key, b"x", 60)
    async with Redis.from_url(redis_url) as client:
        assert 55 <= await client.ttl(key) <= 60
    await store.close()


async def test_a_burst_beyond_the_pool_waits_its_turn(redis_url: str) -> None:
    store = RedisStore(redis_url, max_connections=4)
    await store.set("burst", b"x", 60)
    assert await asyncio.gather(*(store.get(["burst"]) for _ in range(200))) == [[b"x"]] * 200
    await store.close()


async def test_an_answer_that_comes_too_late_is_never_anothers(redis_server: RedisServer) -> None:
    """A lookup cut off by its timeout must not leave its answer on the connection."""
    store = RedisStore(redis_server.url, max_connections=1)
    cache = ExactCache(
        store, FakeClock(), timeout_s=1.0, lookup_timeout_s=0.05, failures_to_open=1000
    )
    answers = [CachedAnswer(b"%d" % at, "t", "m", Usage(), 0, 0.0) for at in range(20)]
    for at, answer in enumerate(answers):
        await cache.put(f"k{at}", answer, 60)
    async with Redis.from_url(redis_server.url) as client:
        for at in range(0, 20, 2):
            await client.client_pause(120)
            assert await cache.get(f"k{at}") in (None, answers[at])
            await asyncio.sleep(0.04)
            assert await cache.get(f"k{at + 1}") in (None, answers[at + 1])
    assert await cache.get("k3") == answers[3]
    assert cache.stats.timeouts >= 5
    await store.close()


async def test_a_killed_redis_is_misses_and_a_restarted_one_is_used_again(
    redis_server: RedisServer,
) -> None:
    clock = FakeClock()
    store = RedisStore(redis_server.url)
    cache = ExactCache(store, clock, timeout_s=1.0, lookup_timeout_s=1.0)
    answer = CachedAnswer(b"{}", "t", "m", Usage(), 0, 0.0)
    assert await cache.put("k", answer, 60)
    redis_server.kill()
    assert [await cache.get("k") for _ in range(10)] == [None] * 10
    assert cache.stats.skipped == 7
    redis_server.start()
    clock.advance(5)
    assert await cache.get("k") == answer
    await store.close()
