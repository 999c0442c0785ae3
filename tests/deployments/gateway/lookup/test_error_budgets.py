"""Budgets and served hits in a real Redis, and without one."""

import uuid

import pytest
from redis.asyncio import Redis

from cache.error_budget.budget import Level, OutcomeSource, State, Tally
from deployments.gateway.lookup.error_budgets import RedisBudgets
from deployments.gateway.lookup.served import Served
from tests.fakes import FakeClock


def hit(owner: str) -> Served:
    return Served(
        "scope", "entry", 0.9, owner, "law", Level.STRICT.value, 0.01, 1.0, "text", "small"
    )


@pytest.mark.redis
async def test_who_was_served_what_is_kept_for_its_tenant_alone_and_without_the_text(
    redis_url: str,
) -> None:
    budgets, tenant = RedisBudgets(redis_url, FakeClock()), uuid.uuid4().hex
    await budgets.remember(tenant, "r-1", hit(tenant))
    found = await budgets.served(tenant, "r-1")
    assert found is not None
    assert (found.entry, found.cosine, found.text) == ("entry", 0.9, "")
    assert await budgets.served("another", "r-1") is None
    assert await budgets.served(tenant, "r-2") is None
    async with Redis.from_url(redis_url) as client:
        (key,) = [one async for one in client.scan_iter("hansom:served:*:r-1")]
        assert 0 < await client.ttl(key) <= 86_400
        assert b"text" not in await client.get(key)
    await budgets.close()


@pytest.mark.redis
async def test_an_outcome_is_seen_at_once_here_and_within_seconds_elsewhere(redis_url: str) -> None:
    clock, owner = FakeClock(), uuid.uuid4().hex
    here, there = RedisBudgets(redis_url, clock), RedisBudgets(redis_url, clock)
    assert await there.state(owner, "law") == State()
    await here.count(hit(owner), wrong=False, source=OutcomeSource.CHECK)
    seen = (await here.state(owner, "law")).records[Level.STRICT].all
    assert seen == Tally(1, 0)
    assert await there.state(owner, "law") == State()
    clock.advance(5)
    assert (await there.state(owner, "law")).records[Level.STRICT].all == seen
    assert await here.state(owner, "tax") == State()
    await here.close()
    await there.close()


async def test_without_redis_nothing_is_known_and_nothing_raises() -> None:
    budgets = RedisBudgets("unix:///nowhere/redis.sock", FakeClock())
    assert await budgets.state("o", "law") == State()
    assert await budgets.count(hit("o"), wrong=True, source=OutcomeSource.CHECK) is None
    await budgets.remember("t", "r-1", hit("o"))
    assert await budgets.served("t", "r-1") is None
    await budgets.close()
