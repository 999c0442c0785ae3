"""A flight's steps in a real Redis, one by one."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from cache.exact.key import exact_key
from cache.flight.redis_flights import FlightState, FlightTiming, Lease, RedisFlights, keys
from tests.cache.flight.flying import QUICK
from tests.conftest import RedisServer
from tests.fakes import FakeClock

pytestmark = pytest.mark.redis
LONG = FlightTiming(timeout_s=10.0, lease_s=30.0)


@pytest.fixture
async def wire(redis_url: str) -> AsyncIterator[RedisFlights]:
    wire = RedisFlights(redis_url, FakeClock(), LONG)
    yield wire
    await wire.close()


@pytest.fixture
def key() -> str:
    return exact_key({"n": uuid.uuid4().hex}, endpoint="e", tenant="t", policy_version="1")


async def test_one_of_many_leads_and_the_others_know_whom_to_follow(
    wire: RedisFlights, key: str
) -> None:
    places = await asyncio.gather(*(wire.join(key, f"t{at}", f"p{at}", 1) for at in range(50)))
    leaders = [place for place in places if place and place.leads]
    assert len(leaders) == 1
    assert {place.owner for place in places if place} == {leaders[0].owner}
    assert {place.start for place in places if place} == {leaders[0].start}


async def test_joining_twice_under_one_token_is_joining_once(wire: RedisFlights, key: str) -> None:
    first = await wire.join(key, "t", "p", 1)
    again = await wire.join(key, "t", "p", 1)
    assert first and again and first.leads and again.leads


async def test_entries_come_in_order_and_the_bill_counts_everyone(
    wire: RedisFlights, key: str
) -> None:
    place = await wire.join(key, "t", "leader", 1)
    assert place == Lease(True, "t", place.start if place else "")
    await wire.join(key, "x", "b", 3)
    await wire.join(key, "y", "c", 2)
    assert await wire.append(key, "t", "leader", 1, b"one", b"head") == 5
    assert await wire.check_in(key, "c", 0) == FlightState("t", True, False)
    assert await wire.append(key, "t", "leader", 2, b"", b"") == 3
    seal = await wire.land(key, "t", "leader", 4, 2, (b"two", b"", b'{"f":1}'))
    assert seal is not None and (seal.callers, seal.parts) == (7, {"b": (4, 3)})
    read = await wire.read(key, place.start, 1.0)
    assert read is not None
    assert [(entry.at, entry.events, entry.head) for entry in read] == [
        (1, b"one", b"head"),
        (2, b"two", b""),
    ]
    assert read[1].final == b'{"facts":{"f":1},"seal":{"callers":7,"parts":[["b",4,3]]}}'
    assert await wire.read(key, read[1].id, 0.001) == []


async def test_landing_twice_is_landing_once_with_one_bill(wire: RedisFlights, key: str) -> None:
    """The first answer may have been lost on its way, and a caller may have left since."""
    place = await wire.join(key, "t", "leader", 1)
    assert place is not None
    await wire.join(key, "x", "b", 3)
    first = await wire.land(key, "t", "leader", 2, 1, (b"all", b"", b"{}"))
    again = await wire.land(key, "t", "leader", 1, 1, (b"all", b"", b"{}"))
    assert first is not None and first == again
    read = await wire.read(key, place.start, 0.1)
    assert read is not None and [entry.events for entry in read] == [b"all"]


async def test_a_landed_flight_can_still_be_joined_and_counts_nobody_more(
    redis_url: str, key: str
) -> None:
    wire = RedisFlights(
        redis_url, FakeClock(), FlightTiming(timeout_s=10.0, lease_s=0.1, linger_s=30.0)
    )
    place = await wire.join(key, "t", "p", 1)
    seal = await wire.land(key, "t", "p", 1, 1, (b"all", b"", b"{}"))
    assert place is not None and seal is not None and seal.parts == {}
    standing = await wire.check_in(key, "q", 1)
    while standing is None or standing.alive:  # the lease runs out, and is not needed any more
        standing = await wire.check_in(key, "q", 1)
    assert standing == FlightState("t", False, True)
    assert await wire.join(key, "u", "q", 1) == Lease(False, "t", place.start)
    await wire.close()


@pytest.mark.parametrize("error", [b"", b'{"class":"BadRequest"}'])
async def test_a_leader_that_gives_up_says_so_and_the_next_leads(
    wire: RedisFlights, key: str, error: bytes
) -> None:
    place = await wire.join(key, "t", "p", 1)
    assert place is not None
    await wire.end(key, "t", 1, error)
    read = await wire.read(key, place.start, 1.0)
    assert read is not None and (read[0].error, read[0].gone) == (error, not error)
    next_ = await wire.join(key, "u", "q", 1)
    assert next_ is not None and next_.leads


async def test_whoever_lost_its_lease_writes_nothing_more(redis_url: str, key: str) -> None:
    wire = RedisFlights(redis_url, FakeClock(), LONG)
    stalled = RedisFlights(redis_url, FakeClock(), FlightTiming(timeout_s=10.0, lease_s=0.02))
    await stalled.join(key, "old", "p", 1)
    await stalled.close()
    place = await wire.join(key, "new", "q", 1)
    while place is None or not place.leads:
        place = await wire.join(key, "new", "q", 1)
    assert await wire.append(key, "old", "p", 1, b"x", b"") is None
    assert await wire.land(key, "old", "p", 1, 1, (b"x", b"", b"{}")) is None
    await wire.end(key, "old", 1, b"")
    read = await wire.read(key, place.start, 0.001)
    assert read == []
    standing = await wire.check_in(key, "q", 1)
    assert standing is not None and standing.owner == "new"
    await wire.close()


async def test_a_process_that_dies_is_soon_counted_no_more(
    redis_url: str, wire: RedisFlights, key: str
) -> None:
    mortal = RedisFlights(redis_url, FakeClock(), FlightTiming(timeout_s=10.0, lease_s=0.05))
    await wire.join(key, "t", "leader", 1)
    await mortal.join(key, "u", "dies", 3)
    counts = [await wire.append(key, "t", "leader", 1, b"", b"")]
    while counts[-1]:
        counts.append(await wire.append(key, "t", "leader", 1, b"", b""))
    assert set(counts) <= {3, 0}
    seal = await wire.land(key, "t", "leader", 1, 1, (b"", b"", b"{}"))
    assert seal is not None and seal.callers == 1
    await mortal.close()


async def test_everything_expires_and_a_flight_that_is_gone_is_not_made_again(
    redis_url: str, key: str
) -> None:
    wire = RedisFlights(redis_url, FakeClock(), LONG)
    await wire.join(key, "t", "p", 1)
    await wire.join(key, "u", "q", 1)
    await wire.append(key, "t", "p", 1, b"x", b"")
    async with Redis.from_url(redis_url) as client:
        assert all([0 < await client.ttl(name) <= 120 for name in keys(key)])
        await wire.land(key, "t", "p", 1, 2, (b"", b"", b"{}"))
        assert all([0 < await client.pttl(name) <= 2000 for name in keys(key)])
        await client.delete(*keys(key))
        assert await wire.check_in(key, "q", 1) == FlightState("", False, False)
        assert await wire.append(key, "t", "p", 3, b"x", b"") is None
        assert await client.exists(*keys(key)) == 0
    await wire.close()


def test_a_flight_lies_in_its_exact_keys_slot(key: str) -> None:
    assert {key_slot(name.encode()) for name in keys(key)} == {key_slot(key.encode())}
    assert len({key, *keys(key)}) == 3


async def test_a_redis_that_is_away_is_soon_left_alone_and_tried_again_later(
    redis_server: RedisServer, key: str
) -> None:
    clock = FakeClock()
    wire = RedisFlights(redis_server.url, clock, QUICK, failures_to_open=2)
    assert await wire.join(key, "t", "p", 1) is not None
    redis_server.kill()
    assert [await wire.join(key, "u", "q", 1) for _ in range(2)] == [None, None]
    assert await wire.append(key, "t", "p", 1, b"x", b"") is None
    assert await wire.read(key, "0", 0.01) is None
    assert await wire.check_in(key, "q", 1) is None
    redis_server.start()
    assert await wire.join(key, "u", "q", 1) is None
    clock.advance(5)
    assert await wire.join(key, "u", "q", 1) is not None
    await wire.close()


async def test_a_redis_that_hangs_lets_its_caller_lead_until_it_knows(
    redis_server: RedisServer, key: str
) -> None:
    """The late answer may have been a lease, for which others would wait."""
    wire = RedisFlights(redis_server.url, FakeClock(), FlightTiming(timeout_s=0.05, lease_s=30.0))
    async with Redis.from_url(redis_server.url) as client:
        await client.client_pause(150)  # milliseconds
    assert await wire.join(key, "t", "p", 1) == Lease(True, "t", "")
    await wire.close()
