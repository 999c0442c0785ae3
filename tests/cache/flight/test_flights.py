"""Flights over a real Redis; each `Flights` stands for a process of its own."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from cache.exact.key import exact_key
from cache.flight.flights import Flights
from cache.flight.redis_flights import RedisFlights, keys
from core.errors import DeadlineExceeded, EngineFailed, HansomError, Unavailable
from core.log import SystemClock
from tests.cache.flight.flying import (
    CALM,
    COST,
    DECISION,
    QUICK,
    USAGE,
    WORDS,
    Engine,
    ask,
    begun,
    flights,
    never,
    read,
    read_until,
    said,
    text,
)
from tests.conftest import RedisServer

pytestmark = pytest.mark.redis
WHOLE = "".join(WORDS)
HALF = "".join(WORDS[:2])


@pytest.fixture
def key() -> str:
    return exact_key({"n": uuid.uuid4().hex}, endpoint="e", tenant="t", policy_version="1")


@pytest.fixture
async def three(redis_url: str) -> AsyncIterator[list[Flights]]:
    """Three processes."""
    all_ = [flights(redis_url) for _ in range(3)]
    yield all_
    await asyncio.gather(*(one.close() for one in all_))


@pytest.fixture
async def quick(redis_url: str) -> AsyncIterator[list[Flights]]:
    """Two processes whose leases soon run out."""
    both = [flights(redis_url, QUICK) for _ in range(2)]
    yield both
    await asyncio.gather(*(one.close() for one in both))


async def until(true: Callable[[], bool]) -> None:
    """Wait for it; the test's own time-out is the deadline."""
    while not true():  # noqa: ASYNC110  # what is waited for tells nobody
        await asyncio.sleep(0.001)


async def aboard(url: str, key: str, *callers: int) -> None:
    """Wait until as many processes follow, each with as many callers."""
    counted: list[int] = []
    async with Redis.from_url(url) as client:
        while sorted(counted) != sorted(callers):
            fields = await client.hgetall(keys(key)[0])
            counted = [
                int(value.split(b":")[0]) for name, value in fields.items() if name[:2] == b"p:"
            ]


async def test_callers_of_three_processes_share_one_generation(
    three: list[Flights], key: str
) -> None:
    engine = Engine()
    asked = [ask(one, key, engine.generate) for one in three for _ in range(20)]
    assert await asyncio.gather(*asked) == [WHOLE] * 60
    assert engine.begun == 1
    assert sum(one.stats.generations for one in three) == 1
    assert sum(one.stats.joined for one in three) == 57


async def test_different_keys_share_nothing(three: list[Flights], key: str) -> None:
    engine = Engine()
    await asyncio.gather(*(ask(three[0], f"{key}{at}", engine.generate) for at in range(5)))
    assert engine.begun == 5


async def test_the_bill_adds_up_over_processes_and_late_callers_pay_nothing(
    redis_url: str, three: list[Flights], key: str
) -> None:
    engine = Engine(upto=1)
    seats = [three[0].join(key, engine.generate)]
    await read_until(seats[0], WORDS[0])
    seats += [one.join(key, never) for one in three for _ in range(2)]
    await aboard(redis_url, key, 2, 2)
    engine.on.set()
    await asyncio.gather(*(read(seat) for seat in seats))
    fares = [seat.fare for seat in seats]
    assert all(fare is not None and fare.callers == 7 for fare in fares)
    assert sum(fare.share_usd_micros for fare in fares if fare) == COST
    assert {(fare.usage, fare.cost_usd_micros) for fare in fares if fare} == {(USAGE, COST)}
    assert [seat.led for seat in seats] == [True] + [False] * 6
    late = three[1].join(key, never)
    assert text(await read(late)) == WHOLE
    assert late.fare is not None and (late.fare.share_usd_micros, late.fare.callers) == (0, 7)


async def test_everyone_catches_up_from_the_start_and_follows_live(
    three: list[Flights], key: str
) -> None:
    engine = Engine(upto=2)
    leader = three[0].join(key, engine.generate)
    given = {leader: await read_until(leader, HALF)}
    for one in three:
        seat = one.join(key, never)
        given[seat] = await read_until(seat, HALF)
        assert seat.decision == DECISION
        assert not engine.on.is_set()
    engine.on.set()
    for seat, blocks in given.items():
        assert text([*blocks, *await read(seat)]) == WHOLE


async def test_a_whole_answer_and_a_stream_share_a_generation(
    three: list[Flights], key: str
) -> None:
    engine = Engine()
    stream, plain = three[0].join(key, engine.generate), three[0].join(key, never)
    await engine.started.wait()
    far = three[1].join(key, never)
    assert text(await plain.whole()) == text(await far.whole()) == text(await read(stream))
    for seat in (plain, far):
        assert seat.fare is not None and seat.decision == DECISION
        seat.close()


async def test_a_slow_caller_keeps_nobody_waiting_and_no_events_of_its_own(
    three: list[Flights], key: str
) -> None:
    engine = Engine(words=["word "] * 500)
    slow = three[0].join(key, engine.generate)
    first = await slow.block()
    quick = [ask(one, key, never) for one in three]
    assert await asyncio.gather(*quick) == ["word " * 500] * 3
    assert engine.landed == 1
    assert text([first, *await read(slow)]) == "word " * 500
    assert slow._given == []  # nothing of its own: it holds a place in what all share


async def test_a_leader_whose_client_leaves_goes_on_for_callers_here(
    three: list[Flights], key: str
) -> None:
    engine = Engine(upto=1)
    leader, other = three[0].join(key, engine.generate), three[0].join(key, never)
    await read_until(leader, WORDS[0])
    leader.close()
    engine.on.set()
    assert text(await read(other)) == WHOLE
    assert (engine.landed, engine.aborted) == (1, 0)
    fare = other.fare  # the one who left has asked for it, and pays
    assert fare is not None and (fare.callers, fare.share_usd_micros) == (2, COST // 2)


async def test_a_leader_whose_client_leaves_goes_on_for_callers_elsewhere(
    redis_url: str, quick: list[Flights], key: str
) -> None:
    engine = Engine(upto=1)
    leader = quick[0].join(key, engine.generate)
    await read_until(leader, WORDS[0])
    far = quick[1].join(key, never)
    await aboard(redis_url, key, 1)
    leader.close()
    await asyncio.sleep(QUICK.lease_s / 2)  # longer than it takes to be counted again
    engine.on.set()
    assert text(await read(far)) == WHOLE
    await engine.ended.wait()
    assert (engine.landed, engine.aborted) == (1, 0)


@pytest.mark.parametrize("upto", [-1, 2])
async def test_without_callers_the_generation_is_aborted(
    three: list[Flights], key: str, upto: int
) -> None:
    engine = Engine(upto=upto)
    seats = [three[0].join(key, engine.generate), three[0].join(key, never)]
    await engine.started.wait()
    seats[0].close()
    await asyncio.sleep(0.02)
    assert not engine.ended.is_set()
    seats[1].close()
    await engine.ended.wait()
    assert (engine.landed, engine.aborted) == (0, 1)
    again = Engine()
    assert await ask(three[1], key, again.generate) == WHOLE
    assert again.begun == 1


async def test_when_the_last_caller_elsewhere_leaves_the_generation_is_aborted(
    redis_url: str, quick: list[Flights], key: str
) -> None:
    engine = Engine(upto=1)
    leader = quick[0].join(key, engine.generate)
    await read_until(leader, WORDS[0])
    far = quick[1].join(key, never)
    await read_until(far, WORDS[0])
    await aboard(redis_url, key, 1)
    leader.close()
    far.close()
    await engine.ended.wait()
    assert engine.aborted == 1


async def test_a_caller_that_leaves_before_it_is_known_who_leads_blocks_nobody(
    three: list[Flights], key: str
) -> None:
    engine = Engine()
    early = three[0].join(key, never)
    await asyncio.sleep(0)  # it asks Redis for the lease
    early.close()
    first, second = three[1].join(key, never), three[1].join(key, engine.generate)
    first.close()
    assert text(await read(second)) == WHOLE


async def test_what_all_tiers_refused_is_refused_to_all(
    redis_url: str, three: list[Flights], key: str
) -> None:
    engine = Engine(upto=-1, error=Unavailable("full", code="tier_overloaded", retry_after_s=1))
    asked = [asyncio.create_task(ask(one, key, engine.generate)) for one in three for _ in range(3)]
    await aboard(redis_url, key, 3, 3)
    engine.on.set()
    assert await asyncio.gather(*asked) == ["tier_overloaded"] * 9
    assert engine.begun == 1
    await until(lambda: not any(one._flights for one in three))
    assert await ask(three[0], key, Engine().generate) == WHOLE  # a failure does not linger


@pytest.mark.parametrize(
    ("upto", "error"),
    [(2, EngineFailed("x", code="stream_broken")), (-1, DeadlineExceeded("x")), (2, ValueError())],
)
async def test_a_stream_that_breaks_is_gone_on_with_by_another_caller(
    redis_url: str, three: list[Flights], key: str, upto: int, error: Exception
) -> None:
    engine, other = Engine(upto=upto, error=error), Engine(words=[*WHOLE], id_="b")
    asked = [asyncio.create_task(ask(three[0], key, engine.generate))]
    await engine.started.wait()
    asked += [asyncio.create_task(ask(one, key, other.generate)) for one in three for _ in range(2)]
    await aboard(redis_url, key, 2, 2)
    engine.on.set()
    assert await asyncio.gather(*asked) == [WHOLE] * 7
    assert (engine.begun, other.begun) == (1, 1)


async def test_a_broken_stream_with_nobody_else_is_told_with_all_that_there_was(
    three: list[Flights], key: str
) -> None:
    engine = Engine(upto=2, error=EngineFailed("x", code="engine_broke"))
    engine.on.set()
    seat = three[0].join(key, engine.generate)
    blocks = []
    with pytest.raises(EngineFailed) as raised:
        while True:
            blocks.append(await seat.block())
    assert raised.value.code == "engine_broke"
    assert begun(blocks) == HALF
    seat.close()


async def test_another_text_after_the_break_is_an_error_for_whom_it_does_not_go_on(
    three: list[Flights], key: str
) -> None:
    engine = Engine(upto=2, error=EngineFailed("x", code="stream_broken"))
    other = Engine(words=["Good day."])
    leader = three[0].join(key, engine.generate)
    blocks = await read_until(leader, HALF)
    fresh = three[0].join(key, other.generate)
    engine.on.set()
    with pytest.raises(HansomError) as raised:
        while True:
            blocks.append(await leader.block())
    assert raised.value.code == "stream_broken" and begun(blocks) == HALF
    assert text(await read(fresh)) == "Good day."


async def test_a_flushed_redis_costs_a_generation_and_no_answer(
    redis_server: RedisServer, key: str
) -> None:
    near, far = flights(redis_server.url, QUICK), flights(redis_server.url, QUICK)
    engine, other = Engine(upto=2), Engine(words=[*WHOLE])
    leader = near.join(key, engine.generate)
    blocks = await read_until(leader, HALF)
    follower = far.join(key, other.generate)
    given = await read_until(follower, HALF)
    async with Redis.from_url(redis_server.url) as client:
        await client.flushall()
    assert text([*given, *await read(follower)]) == WHOLE
    engine.on.set()
    assert text([*blocks, *await read(leader)]) == WHOLE
    assert (engine.begun, other.begun) == (1, 1)
    await asyncio.gather(near.close(), far.close())


async def test_a_redis_that_dies_costs_a_generation_and_no_answer(
    redis_server: RedisServer, key: str
) -> None:
    near, far = flights(redis_server.url), flights(redis_server.url)
    engine, other = Engine(upto=2), Engine(words=[*WHOLE])
    leader, local = near.join(key, engine.generate), near.join(key, never)
    blocks = await read_until(leader, HALF)
    followers = [far.join(key, other.generate), far.join(key, never)]
    given = await read_until(followers[0], HALF)
    redis_server.kill()
    assert text([*given, *await read(followers[0])]) == WHOLE
    assert text(await read(followers[1])) == WHOLE
    engine.on.set()
    assert text([*blocks, *await read(leader)]) == text(await read(local)) == WHOLE
    assert (engine.begun, other.begun) == (1, 1)
    assert far.stats.detached == 1
    assert sum(seat.fare.share_usd_micros for seat in followers if seat.fare) == COST
    await asyncio.gather(near.close(), far.close())


async def test_without_redis_nobody_elsewhere_is_waited_for(
    redis_server: RedisServer, key: str
) -> None:
    near, far = flights(redis_server.url, QUICK), flights(redis_server.url, QUICK)
    engine = Engine(upto=2)
    leader = near.join(key, engine.generate)
    await read_until(leader, HALF)
    follower = far.join(key, Engine(words=[*WHOLE]).generate)
    await aboard(redis_server.url, key, 1)
    await asyncio.sleep(QUICK.lease_s / 2)  # the leader knows of it
    redis_server.kill()
    leader.close()
    await engine.ended.wait()
    assert engine.aborted == 1
    assert text(await read(follower)) == WHOLE
    await asyncio.gather(near.close(), far.close())


async def test_without_redis_a_process_still_shares(redis_server: RedisServer, key: str) -> None:
    one = flights(redis_server.url)
    redis_server.kill()
    engine = Engine()
    assert await asyncio.gather(*(ask(one, key, engine.generate) for _ in range(9))) == [WHOLE] * 9
    assert engine.begun == 1
    await one.close()


async def test_a_missing_entry_is_never_skipped(
    redis_url: str, three: list[Flights], key: str
) -> None:
    """Redis may evict a stream and keep its hash: what is written next would follow a gap."""
    engine, other = Engine(upto=2), Engine(words=[*WHOLE])
    leader = three[0].join(key, engine.generate)
    blocks = await read_until(leader, HALF)
    far = three[1].join(key, other.generate)
    given = await read_until(far, HALF)
    late = three[2]
    async with Redis.from_url(redis_url) as client:
        await client.delete(keys(key)[1])
    missed = asyncio.create_task(ask(late, key, other.generate))
    await aboard(redis_url, key, 1, 1)
    engine.on.set()
    assert text([*blocks, *await read(leader)]) == WHOLE
    assert text([*given, *await read(far)]) == WHOLE
    assert await missed == WHOLE


async def test_entries_of_another_lease_are_never_taken_in(
    redis_url: str, three: list[Flights], key: str
) -> None:
    engine, other = Engine(upto=2), Engine(words=[*WHOLE])
    leader = three[0].join(key, engine.generate)
    blocks = await read_until(leader, HALF)
    far = three[1].join(key, other.generate)
    given = await read_until(far, HALF)
    async with Redis.from_url(redis_url) as client:
        stream = keys(key)[1]
        at = int((await client.xrevrange(stream, count=1))[0][1][b"at"])
        stray = {"owner": "x", "at": at + 1, "events": said(["stray"])[1]}
        await client.xadd(stream, stray)
    assert text([*given, *await read(far)]) == WHOLE
    engine.on.set()
    assert text([*blocks, *await read(leader)]) == WHOLE


async def test_a_process_follows_no_more_flights_than_it_has_connections_for(
    redis_url: str, key: str
) -> None:
    near = flights(redis_url)
    far = Flights(
        RedisFlights(redis_url, SystemClock(), replace(CALM, timeout_s=0.5), max_follows=1)
    )
    engine, other = Engine(upto=2), Engine(words=[*WHOLE])
    leaders = [near.join(one, engine.generate) for one in (key, f"{key}2")]
    for leader in leaders:
        await read_until(leader, HALF)
    first = far.join(key, never)
    await read_until(first, HALF)
    assert await ask(far, f"{key}2", other.generate) == WHOLE
    assert (engine.begun, other.begun) == (2, 1)
    await asyncio.gather(near.close(), far.close())


async def test_a_process_that_closes_gives_its_lease_back(redis_url: str, key: str) -> None:
    leaving, staying = flights(redis_url), flights(redis_url)
    engine, other = Engine(upto=2), Engine()
    leader = leaving.join(key, engine.generate)
    await read_until(leader, HALF)
    asked = asyncio.create_task(ask(staying, key, other.generate))
    await aboard(redis_url, key, 1)
    await leaving.close()
    assert await asked == WHOLE
    assert (engine.aborted, other.begun) == (1, 1)
    with pytest.raises(HansomError):
        await read(leader)
    await staying.close()


async def test_a_caller_that_is_cancelled_leaves_the_others_alone(
    three: list[Flights], key: str
) -> None:
    engine = Engine(upto=1)
    asked = [asyncio.create_task(ask(three[0], key, engine.generate)) for _ in range(3)]
    await engine.started.wait()
    asked[0].cancel()  # the one who leads
    asked[1].cancel()
    await until(lambda: asked[0].done() and asked[1].done())
    engine.on.set()
    assert await asked[2] == WHOLE
    assert asked[0].cancelled() and asked[1].cancelled()
    assert engine.begun == 1


async def test_no_flight_is_left_behind(three: list[Flights], key: str) -> None:
    engine = Engine()
    await asyncio.gather(*(ask(one, key, engine.generate) for one in three))
    await until(lambda: not any(one._flights for one in three))
