"""The router's memory in a real Redis."""

import uuid
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from deployments.router.label_store import LABELS, LabelStore
from router.adapt.labels import Label
from tests.conftest import RedisServer
from tests.router.adapt.test_labels import seen

pytestmark = pytest.mark.redis


@pytest.fixture
async def memory(redis_server: RedisServer) -> AsyncIterator[LabelStore]:
    one = LabelStore(redis_server.url, keep_s=60, max_labels=5)
    yield one
    await one.close()


async def test_a_label_is_added_to_what_was_seen(memory: LabelStore) -> None:
    id_ = uuid.uuid4().hex
    await memory.remember("acme", id_, seen(1))
    assert await memory.label("acme", id_, 0, 1.0)
    assert await memory.label("acme", id_, 1, 0.0)
    assert await memory.labels() == [Label(seen(1), 0, 1.0), Label(seen(1), 1, 0.0)]
    assert await memory.given() == 2


async def test_what_was_never_seen_or_is_anothers_takes_no_label(memory: LabelStore) -> None:
    id_ = uuid.uuid4().hex
    await memory.remember("acme", id_, seen(1))
    assert not await memory.label("globex", id_, 0, 1.0)
    assert not await memory.label("acme", "no-such-request", 0, 1.0)
    assert (await memory.labels(), await memory.given()) == ([], 0)


async def test_the_newest_labels_stay_and_all_are_counted(memory: LabelStore) -> None:
    await memory.remember("acme", "r", seen(1))
    for at in range(8):
        await memory.label("acme", "r", 0, at / 10)
    assert [label.right for label in await memory.labels()] == [0.3, 0.4, 0.5, 0.6, 0.7]
    assert await memory.given() == 8


async def test_what_is_no_label_is_passed_over(
    memory: LabelStore, redis_server: RedisServer
) -> None:
    async with Redis.from_url(redis_server.url) as client:
        await client.rpush(LABELS, b"poison")
    await memory.remember("acme", "r", seen(1))
    await memory.label("acme", "r", 0, 1.0)
    assert len(await memory.labels()) == 1


async def test_what_was_seen_is_forgotten_in_time(redis_server: RedisServer) -> None:
    memory = LabelStore(redis_server.url, keep_s=60, max_labels=5)
    await memory.remember("acme", "r", seen(1))
    async with Redis.from_url(redis_server.url) as client:
        (key,) = [one async for one in client.scan_iter("hansom:seen:*")]
        assert 0 < await client.ttl(key) <= 60
    await memory.close()
