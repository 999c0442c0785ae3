"""Which Redis is refused, and what one without vector sets lacks."""

import pytest

from cache.admin.redis_facts import RedisFacts, refusal, without_semantic
from cache.exact.redis_store import RedisStore
from tests.conftest import RedisServer


def facts(eviction: str = "volatile-lfu", *, vector_sets: bool = True) -> RedisFacts:
    return RedisFacts("8.2.3", eviction, 0, vector_sets)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_redis_that_may_evict_the_ledger_is_refused(policy: str) -> None:
    told = refusal(facts(policy))
    assert told is not None
    assert policy in told
    assert "volatile-lfu" in told


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lfu", "volatile-ttl", ""])
def test_others_are_not(policy: str) -> None:
    assert refusal(facts(policy)) is None


def test_without_vector_sets_only_the_semantic_cache_is_off() -> None:
    assert without_semantic(facts()) is None
    told = without_semantic(facts(vector_sets=False))
    assert told is not None
    assert "exact cache works" in told


def test_a_mute_info_is_no_refusal() -> None:
    found = RedisFacts.from_info({}, vector_sets=False)
    assert found == RedisFacts("unknown", "", 0, False)


@pytest.mark.redis
async def test_a_real_redis_tells_its_policy_and_its_vector_sets(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url)
    found = await store.facts()
    assert found.version.startswith("8.")
    assert found.vector_sets
    assert refusal(found) is None
    await store.close()
