"""One contract for the fake neighbours and for Redis, and what only a real Redis can do wrong."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from cache.exact.key import exact_key
from cache.scope import scope_key
from cache.semantic.boundary import KEPT, Boundary
from cache.semantic.entries import Nearby, SemanticEntry, entry_id, entry_key, near_key
from cache.semantic.redis_vectors import RedisVectors
from tests.conftest import RedisServer
from tests.fakes import FakeNearby

pytestmark = pytest.mark.redis

SIZE = 384
PATIENT_S = 10.0  # other tests run beside these
KEY = exact_key({"n": 1}, endpoint="chat", tenant="t", policy_version="1")


def scope() -> str:
    return scope_key({"n": uuid.uuid4().hex}, endpoint="chat", tenant="t", policy_version="1")


def entry(text: str) -> SemanticEntry:
    return SemanticEntry(entry_id(text), text, "0f" * 8, KEY, ("faq",), 1_700_000_000.0)


def vectors(count: int, size: int = SIZE) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=(count, size)).astype(np.float32)


def aside(vector: NDArray[np.float32], cosine: float) -> NDArray[np.float32]:
    """A vector at this cosine to another."""
    unit = vector / np.linalg.norm(vector)
    other = np.random.default_rng(6).normal(size=vector.shape)
    other -= unit * (other @ unit)
    made = cosine * unit + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other)
    return (3 * made).astype(np.float32)


@pytest.fixture(params=["fake", "redis"])
async def nearby(request: pytest.FixtureRequest) -> AsyncIterator[Nearby]:
    if request.param == "fake":
        yield FakeNearby()
        return
    real = RedisVectors(request.getfixturevalue("redis_url"), timeout_s=PATIENT_S)
    yield real
    await real.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def real(redis_url: str) -> AsyncIterator[RedisVectors]:
    found = RedisVectors(redis_url, timeout_s=PATIENT_S)
    yield found
    await found.close()


async def test_the_nearest_come_first_with_their_cosines(nearby: Nearby):
    here, vector = scope(), vectors(1)[0]
    cosines = {"far": 0.1, "same": 1.0, "near": 0.9, "opposite": -0.8, "middle": 0.6}
    for text, cosine in cosines.items():
        await nearby.keep(here, aside(vector, cosine), entry(text), 60, 10)
    found = await nearby.near(here, vector, 4)
    assert [one for one, _ in found] == [entry(t) for t in ("same", "near", "middle", "far")]
    assert [cosine for _, cosine in found] == pytest.approx([1.0, 0.9, 0.6, 0.1], abs=0.005)
    assert all(-1 <= cosine <= 1 for _, cosine in found)
    everything = await nearby.near(here, vector, 100)
    assert everything[-1][1] == pytest.approx(-0.8, abs=0.005)


async def test_scopes_are_apart_and_an_unknown_one_is_empty(nearby: Nearby):
    here, vector = scope(), vectors(1)[0]
    await nearby.keep(here, vector, entry("mine"), 60, 10)
    assert await nearby.near(scope(), vector, 5) == []


async def test_an_entry_kept_again_takes_the_place_of_the_former(nearby: Nearby):
    here, (vector, other) = scope(), vectors(2)
    await nearby.keep(here, vector, entry("text"), 60, 10)
    later = replace(entry("text"), answer="other", created_s=2.0)
    await nearby.keep(here, other, later, 60, 10)
    [(found, cosine)] = await nearby.near(here, other, 5)
    assert (found, cosine) == (later, pytest.approx(1.0, abs=0.005))


async def test_a_scope_never_has_more_than_its_cap(nearby: Nearby):
    here, rows = scope(), vectors(30)
    for at, row in enumerate(rows):
        await nearby.keep(here, row, entry(f"text {at}"), 60, 7)
        found = await nearby.near(here, row, 30)
        assert len(found) == min(at + 1, 7)
        assert found[0][0].text == f"text {at}"


async def test_above_the_cap_the_entry_that_ends_first_goes(nearby: Nearby):
    here, rows = scope(), vectors(4)
    for row, ttl_s in zip(rows, (90, 30, 60, 60), strict=True):
        await nearby.keep(here, row, entry(f"for {ttl_s} {row[0]}"), ttl_s, 3)
    left = {one.text.split()[1] for one, _ in await nearby.near(here, rows[0], 9)}
    assert left == {"90", "60"}


async def test_a_cap_of_one_keeps_the_latest(nearby: Nearby):
    here, rows = scope(), vectors(3)
    for at, row in enumerate(rows):
        await nearby.keep(here, row, entry(f"text {at}"), 60, 1)
    assert [one.text for one, _ in await nearby.near(here, rows[0], 9)] == ["text 2"]


async def test_what_is_forgotten_is_gone_and_the_rest_stays(nearby: Nearby):
    here, rows = scope(), vectors(3)
    for at, row in enumerate(rows):
        await nearby.keep(here, row, entry(f"text {at}"), 60, 10)
    await nearby.forget(here, [])
    await nearby.forget(here, [entry_id("text 0"), entry_id("text 2"), "f" * 16])
    await nearby.forget(scope(), ["f" * 16])
    assert [one.text for one, _ in await nearby.near(here, rows[0], 9)] == ["text 1"]


async def test_outcomes_are_learned_in_order(nearby: Nearby):
    here, vector = scope(), vectors(1)[0]
    await nearby.keep(here, vector, entry("text"), 60, 10)
    for cosine, same in ((0.9, True), (0.75, False), (0.8, True)):
        await nearby.learn(here, entry_id("text"), cosine, same)
    [(found, _)] = await nearby.near(here, vector, 1)
    assert [same for _, same in found.boundary.outcomes] == [True, False, True]
    learned = [cosine for cosine, _ in found.boundary.outcomes]
    assert learned == pytest.approx([0.9, 0.75, 0.8], abs=1e-4)
    assert replace(found, boundary=Boundary()) == entry("text")


async def test_only_the_latest_outcomes_are_kept(nearby: Nearby):
    here, vector = scope(), vectors(1)[0]
    await nearby.keep(here, vector, entry("text"), 60, 10)
    for at in range(KEPT + 5):
        await nearby.learn(here, entry_id("text"), at / 100, at % 3 == 0)
    [(found, _)] = await nearby.near(here, vector, 1)
    kept = [at for at in range(KEPT + 5)][-KEPT:]
    assert [same for _, same in found.boundary.outcomes] == [at % 3 == 0 for at in kept]
    learned = [cosine for cosine, _ in found.boundary.outcomes]
    assert learned == pytest.approx([at / 100 for at in kept], abs=1e-4)
    assert replace(found, boundary=Boundary()) == entry("text")


async def test_learning_of_what_is_gone_is_nothing(nearby: Nearby):
    here, vector = scope(), vectors(1)[0]
    await nearby.learn(here, entry_id("text"), 0.9, True)
    await nearby.keep(here, vector, entry("text"), 60, 10)
    await nearby.forget(here, [entry_id("text")])
    await nearby.learn(here, entry_id("text"), 0.9, True)
    assert await nearby.near(here, vector, 1) == []


async def test_concurrent_outcomes_are_all_learned(real: RedisVectors):
    here, vector = scope(), vectors(1)[0]
    await real.keep(here, vector, entry("text"), 60, 10)
    learning = (real.learn(here, entry_id("text"), 0.8, bool(at % 2)) for at in range(KEPT))
    await asyncio.gather(*learning)
    [(found, _)] = await real.near(here, vector, 1)
    assert sorted(same for _, same in found.boundary.outcomes) == sorted(
        [False, True] * (KEPT // 2)
    )


async def test_an_entry_lives_for_its_time_and_learning_does_not_prolong_it(
    real: RedisVectors, redis: Redis
):
    here = scope()
    key = entry_key(here, entry_id("text"))
    await real.keep(here, vectors(1)[0], entry("text"), 60, 10)
    assert 55_000 < await redis.pttl(key) <= 60_000
    await redis.pexpire(key, 30_000)
    await real.learn(here, entry_id("text"), 0.9, True)
    assert 25_000 < await redis.pttl(key) <= 30_000


async def test_the_set_lives_as_long_as_its_longest_entry(real: RedisVectors, redis: Redis):
    here, rows = scope(), vectors(3)
    for row, ttl_s in zip(rows, (60, 600, 30), strict=True):
        await real.keep(here, row, entry(f"for {ttl_s}"), ttl_s, 10)
    assert 590 < await redis.ttl(near_key(here)) <= 600


async def test_an_entry_that_expired_is_no_result_and_its_vector_goes(
    real: RedisVectors, redis: Redis
):
    here, vector = scope(), vectors(1)[0]
    for at in range(8):
        await real.keep(here, aside(vector, 0.9 - at / 20), entry(f"text {at}"), 60, 20)
    await redis.delete(*(entry_key(here, entry_id(f"text {at}")) for at in range(3)))
    found = await real.near(here, vector, 4)
    assert [one.text for one, _ in found] == [f"text {at}" for at in range(3, 7)]
    assert await redis.vset().vcard(near_key(here)) == 5


async def test_a_scope_of_dead_entries_is_an_empty_one(real: RedisVectors, redis: Redis):
    here, vector = scope(), vectors(1)[0]
    for at in range(3):
        await real.keep(here, aside(vector, 0.9 - at / 20), entry(f"text {at}"), 60, 20)
    await redis.delete(*(entry_key(here, entry_id(f"text {at}")) for at in range(3)))
    assert await real.near(here, vector, 4) == []
    assert not await redis.exists(near_key(here))


async def test_keeping_removes_the_dead_before_the_living(real: RedisVectors, redis: Redis):
    here, rows = scope(), vectors(4)
    for at in range(3):
        await real.keep(here, rows[at], entry(f"text {at}"), 60, 3)
    await redis.delete(entry_key(here, entry_id("text 1")))
    await real.keep(here, rows[3], entry("text 3"), 600, 3)  # of four members all are drawn
    left = {one.text for one, _ in await real.near(here, rows[0], 9)}
    assert left == {"text 0", "text 2", "text 3"}


async def test_the_dead_stay_a_minority_below_the_cap(real: RedisVectors, redis: Redis):
    here, rows = scope(), vectors(300, 8)
    for at, row in enumerate(rows):
        await real.keep(here, row, entry(f"text {at}"), 60, 10_000)
        await redis.delete(entry_key(here, entry_id(f"text {at - 20}")))
    assert 20 <= await redis.vset().vcard(near_key(here)) < 60


async def test_a_cap_that_was_lowered_is_reached(real: RedisVectors, redis: Redis):
    here, rows = scope(), vectors(40, 8)
    for at, row in enumerate(rows):
        await real.keep(here, row, entry(f"text {at}"), 60, 30 if at < 30 else 5)
    assert await redis.vset().vcard(near_key(here)) == 5
    assert len([key async for key in redis.scan_iter(entry_key(here, "*"), 1000)]) == 5


async def test_an_entry_of_another_version_is_left_alone(real: RedisVectors, redis: Redis):
    here, rows = scope(), vectors(2)
    for at, row in enumerate(rows):
        await real.keep(here, row, entry(f"text {at}"), 60, 10)
    foreign = b"\x63" + entry("text 0").to_bytes()[1:]
    key = entry_key(here, entry_id("text 0"))
    await redis.set(key, foreign, keepttl=True)
    await real.learn(here, entry_id("text 0"), 0.9, True)
    assert [one.text for one, _ in await real.near(here, rows[0], 9)] == ["text 1"]
    assert await redis.get(key) == foreign
    assert await redis.vset().vcard(near_key(here)) == 2


async def test_a_key_of_another_type_is_an_error(real: RedisVectors, redis: Redis):
    here, vector = scope(), vectors(1)[0]
    await redis.set(near_key(here), "x")
    await redis.rpush(entry_key(here, "ab"), "x")
    operations: list[Callable[[], Awaitable[object]]] = [
        lambda: real.near(here, vector, 3),
        lambda: real.keep(here, vector, entry("text"), 60, 10),
        lambda: real.forget(here, ["ab"]),
        lambda: real.learn(here, "ab", 0.9, True),
    ]
    for operation in operations:
        with pytest.raises(ResponseError):
            await operation()
    assert not await redis.exists(entry_key(here, entry_id("text")))


async def test_a_vector_of_another_size_is_refused_and_changes_nothing(
    real: RedisVectors, redis: Redis
):
    here, vector = scope(), vectors(1)[0]
    await real.keep(here, vector, entry("text"), 60, 10)
    with pytest.raises(ResponseError):
        await real.keep(here, vector[:100], entry("other"), 60, 10)
    with pytest.raises(ResponseError):
        await real.near(here, vector[:100], 3)
    assert not await redis.exists(entry_key(here, entry_id("other")))
    assert [one.text for one, _ in await real.near(here, vector, 9)] == ["text"]


@pytest.mark.parametrize("factor", [0.0, np.nan, np.inf])
async def test_a_vector_without_direction_is_refused(real: RedisVectors, factor: float):
    here, vector = scope(), vectors(1)[0]
    with np.errstate(invalid="ignore"), pytest.raises(ValueError):
        await real.keep(here, (vector * factor).astype(np.float32), entry("text"), 60, 10)
    assert await real.near(here, vector, 3) == []


async def test_a_burst_beyond_the_pool_waits_its_turn(redis_url: str):
    real = RedisVectors(redis_url, max_connections=2, timeout_s=PATIENT_S)
    here, vector = scope(), vectors(1)[0]
    await real.keep(here, vector, entry("text"), 60, 10)
    found = await asyncio.gather(*(real.near(here, vector, 1) for _ in range(50)))
    assert all(one[0][0] == entry("text") for one in found)
    await real.close()


async def test_a_redis_that_hangs_is_an_error_in_time(redis_server: RedisServer):
    real, vector = RedisVectors(redis_server.url, timeout_s=0.1), vectors(1)[0]
    await real.near(scope(), vector, 1)
    async with Redis.from_url(redis_server.url) as client:
        await client.client_pause(2000)
    began_s = time.monotonic()
    with pytest.raises(RedisError):
        await real.near(scope(), vector, 1)
    assert time.monotonic() - began_s < 1.0
    await real.close()


async def test_a_killed_redis_is_an_error_at_once_and_a_restarted_one_is_used_again(
    redis_server: RedisServer,
):
    real, here, vector = RedisVectors(redis_server.url), scope(), vectors(1)[0]
    await real.keep(here, vector, entry("text"), 600, 10)
    redis_server.kill()
    began_s = time.monotonic()
    for operation in (
        real.near(here, vector, 1),
        real.keep(here, vector, entry("text"), 60, 10),
        real.forget(here, ["ab"]),
        real.learn(here, entry_id("text"), 0.9, True),
    ):
        with pytest.raises((RedisError, OSError)):
            await operation
    assert time.monotonic() - began_s < 1.0
    redis_server.start()
    assert [one for one, _ in await real.near(here, vector, 1)] == [entry("text")]
    await real.close()
