"""Counting keys by their names, and estimating their sizes; then a real Redis."""

from random import Random

import pytest
from redis.asyncio import Redis

from cache.admin.census import Census, estimated_bytes, number
from cache.admin.key_names import KeyKind
from cache.admin.redis_census import take
from cache.error_budget.budget import Level, OutcomeSource, State, outcome, seen
from cache.error_budget.counts import Tally
from cache.error_budget.redis_budget import budget_key
from cache.error_budget.state import fields
from tests.cache.admin.stored import shelf
from tests.conftest import RedisServer

ONE, TWO = "0" * 16, "1" * 16


def key(kind: str, owner: str, rest: object) -> bytes:
    return f"hansom:{kind}:{{{owner}}}:{rest}".encode()


def test_keys_count_for_their_owner_and_kind_and_others_not_at_all():
    census = Census(Random(1))
    census.add([key("exact", ONE, at) for at in range(3)] + [b"hansom:ledger", b"x"])
    census.add([key("entry", TWO, at) for at in range(5)] + [key("near", TWO, 0)])
    census.add([key("budget", TWO, "c"), key("tag", TWO, "t"), key("served", TWO, "r")])
    assert census.owners() == [
        (TWO, {KeyKind.ANSWER: 0, KeyKind.ENTRY: 5, KeyKind.SCOPE: 1}),
        (ONE, {KeyKind.ANSWER: 3, KeyKind.ENTRY: 0, KeyKind.SCOPE: 0}),
    ]
    assert [census.total(kind) for kind in (KeyKind.ANSWER, KeyKind.ENTRY, KeyKind.SCOPE)] == [
        3,
        5,
        1,
    ]
    assert census.budgets == [key("budget", TWO, "c")]


def test_a_sample_is_of_a_fixed_size_and_from_everywhere():
    census = Census(Random(1), sampled=50)
    census.add([key("exact", ONE, f"{at:05}") for at in range(5000)])
    sample = census.samples[KeyKind.ANSWER]
    places = [int(one.rpartition(b":")[2]) for one in sample]
    assert len(set(places)) == 50
    assert 1500 < sum(places) / 50 < 3500


def test_sizes_are_the_samples_mean_times_the_count():
    assert estimated_bytes(100, [10, 30, None]) == 2000
    assert estimated_bytes(100, [None]) == 0
    assert estimated_bytes(0, []) == 0


def test_a_number_that_is_not_told_is_zero():
    assert number({"used_memory": 7}, "used_memory") == 7
    assert number({}, "used_memory") == 0
    assert number({"used_memory": "?"}, "used_memory") == 0


@pytest.mark.redis
async def test_a_real_redis_is_counted_measured_and_described(redis_server: RedisServer):
    async with shelf(redis_server.url) as stored, Redis.from_url(redis_server.url) as redis:
        one = [await stored.put(str(at)) for at in range(30)]
        await stored.put("x", tenant="other")
        state = seen(State(), Level.STRICT, outcome(Level.STRICT, True, OutcomeSource.CHECK))
        await redis.hset(budget_key(stored.owner, ""), mapping=fields(state))
        await redis.hset(budget_key(stored.owner, "bad"), mapping={"epoch": -1})
        found = await take(redis_server.url)
        own = await take(redis_server.url, stored.owner)
        exact = [await redis.memory_usage(stored_.answer) for stored_ in one]
    assert [found.census.total(kind) for kind in found.size_bytes] == [31, 31, 2]
    assert [own.census.total(kind) for kind in own.size_bytes] == [30, 30, 1]
    assert own.size_bytes[KeyKind.ANSWER] == sum(exact)
    assert own.size_bytes[KeyKind.SCOPE] > 30 * 32
    ((owner, _),) = own.budgets
    assert owner == stored.owner
    (budget,) = own.budgets.values()
    assert budget.records[Level.STRICT].all == Tally(1, 1)
    assert found.server.vector_sets and found.server.used_bytes > 100_000
    assert found.server.version.startswith("8")
    assert found.server.eviction == "noeviction"
