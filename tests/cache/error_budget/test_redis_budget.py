"""Budgets in a real Redis: nothing counted is lost, and one gateway alone tells of a change."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from cache.error_budget.budget import Change, ErrorBudget, Level, OutcomeSource, State, level
from cache.error_budget.counts import Tally
from cache.error_budget.redis_budget import RedisBudget, budget_key
from tests.conftest import RedisServer

pytestmark = pytest.mark.redis
_BUDGET = ErrorBudget()


@pytest.fixture
async def gateways(redis_url: str) -> AsyncIterator[list[RedisBudget]]:
    async with AsyncExitStack() as stack:
        made = [RedisBudget(redis_url, timeout_s=10.0) for _ in range(4)]
        for one in made:
            stack.push_async_callback(one.close)
        yield made


@pytest.fixture
def owner() -> str:
    return uuid.uuid4().hex[:16]


async def test_an_unknown_class_has_no_past(gateways: list[RedisBudget], owner: str) -> None:
    assert await gateways[0].read(owner, "") == State()


async def test_outcomes_of_several_gateways_are_all_counted(
    gateways: list[RedisBudget], owner: str
) -> None:
    calls = [
        gateway.count(owner, "shop", Level.STRICT, None, OutcomeSource.CHECK, budget=_BUDGET)
        if at % 5 == 0
        else gateway.count(
            owner, "shop", Level.STRICT, False, OutcomeSource.CHECK, budget=_BUDGET, share=0.5
        )
        for at in range(50)
        for gateway in gateways
    ]
    assert set(await asyncio.gather(*calls)) == {None}
    record = (await gateways[0].read(owner, "shop")).records[Level.STRICT]
    assert (record.all, record.served, record.unclear) == (Tally(160), 320, 40)
    assert await gateways[0].read(owner, "bank") == State()
    assert await gateways[0].read(uuid.uuid4().hex[:16], "shop") == State()


async def test_one_caller_alone_is_told_of_a_change_and_no_count_is_lost(
    gateways: list[RedisBudget], owner: str
) -> None:
    """Counts race with the settlings that halve and move them."""
    limit = ErrorBudget(0.1)  # its windows are full after 20 and 400 outcomes
    told: list[Change | None] = []
    for _ in range(40):
        now = level(await gateways[0].read(owner, ""), limit)
        calls = [
            gateway.count(owner, "", now, False, OutcomeSource.CHECK, budget=limit)
            for gateway in gateways
            for _ in range(8)
        ]
        told += await asyncio.gather(*calls)
    assert [one for one in told if one] == []
    state = await gateways[0].read(owner, "")
    assert state.epoch > 10  # windows were halved while others counted
    assert state.records[Level.LOOSE].served == state.records[Level.LOOSE].all.checked
    assert 200 <= state.records[Level.LOOSE].all.checked <= 401

    calls = [
        gateway.count(owner, "", Level.LOOSE, True, OutcomeSource.CHECK, budget=limit)
        for gateway in gateways
        for _ in range(12)
    ]
    changes = [one for one in await asyncio.gather(*calls) if one]
    state = await gateways[0].read(owner, "")
    # Older checks may speak for it again in between; what two were told of would stand out.
    steps = Counter((one.before, one.after) for one in changes)
    down, up = steps[Level.LOOSE, Level.STRICT], steps[Level.STRICT, Level.LOOSE]
    assert down >= 1 and down + up == len(changes), changes
    assert down - up == (level(state, limit) is Level.STRICT), changes
    assert all("wrong" in one.reason for one in changes)
    # What failed, and what came in late for the level that was left, is all there.
    assert state.past.wrong + state.records[Level.LOOSE].all.wrong >= 48 / 2


async def test_two_wrong_checks_switch_a_class_off_for_all(
    gateways: list[RedisBudget], owner: str
) -> None:
    one, other, *_ = gateways
    first = await one.count(owner, "", Level.STRICT, True, OutcomeSource.CHECK, budget=_BUDGET)
    change = await other.count(owner, "", Level.STRICT, True, OutcomeSource.CHECK, budget=_BUDGET)
    reason = "2 of 2 checked hits were wrong: above 1.00%"
    assert (first, change) == (None, Change("", Level.STRICT, Level.OFF, reason))
    assert level(await one.read(owner, ""), _BUDGET) is Level.OFF


async def test_a_budget_has_no_time_to_live_and_stays_in_its_owners_slot(
    gateways: list[RedisBudget], owner: str, redis_url: str
) -> None:
    await gateways[0].count(
        owner, "a b}c", Level.STRICT, False, OutcomeSource.CHECK, budget=_BUDGET
    )
    key = budget_key(owner, "a b}c")
    assert key.startswith(f"hansom:budget:{{{owner}}}:")
    async with Redis.from_url(redis_url) as client:
        assert await client.ttl(key) == -1
        assert await client.object("encoding", key) == b"listpack"


async def test_praise_writes_nothing(gateways: list[RedisBudget], owner: str) -> None:
    await gateways[0].count(owner, "", Level.STRICT, False, OutcomeSource.FEEDBACK, budget=_BUDGET)
    assert await gateways[0].read(owner, "") == State()


async def test_a_hash_that_is_no_budget_is_said(
    gateways: list[RedisBudget], owner: str, redis_url: str
) -> None:
    async with Redis.from_url(redis_url) as client:
        await client.hset(budget_key(owner, ""), "epoch", "many")
    with pytest.raises(ValueError):
        await gateways[0].read(owner, "")


async def test_a_class_may_be_named_by_anything(gateways: list[RedisBudget], owner: str) -> None:
    for name in ("a b}c", "\udcff", "x" * 10_000):
        await gateways[0].count(
            owner, name, Level.STRICT, True, OutcomeSource.CHECK, budget=_BUDGET
        )
        assert (await gateways[1].read(owner, name)).records[Level.STRICT].all == Tally(1, 1)
        assert len(budget_key(owner, name)) < 64


async def test_a_redis_that_hangs_is_an_error_soon(redis_server: RedisServer, owner: str) -> None:
    gateway = RedisBudget(redis_server.url, timeout_s=0.1)
    await gateway.read(owner, "")
    async with Redis.from_url(redis_server.url) as client:
        await client.client_pause(2000)
        with pytest.raises((RedisError, OSError)):
            await asyncio.wait_for(gateway.read(owner, ""), 1.0)
    await gateway.close()


async def test_counts_survive_a_restart_and_a_dead_redis_is_an_error(
    redis_server: RedisServer, owner: str
) -> None:
    gateway = RedisBudget(redis_server.url)
    await gateway.count(owner, "", Level.STRICT, True, OutcomeSource.CHECK, budget=_BUDGET)
    redis_server.kill()
    with pytest.raises((RedisError, OSError)):
        await gateway.read(owner, "")
    redis_server.start()
    await gateway.close()  # its connections went with the server
    assert (await gateway.read(owner, "")).records[Level.STRICT].all == Tally(1, 1)
    await gateway.close()
