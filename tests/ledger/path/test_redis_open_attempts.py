"""The list of open attempts on a real Redis: what dead gateways left, and only theirs."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.ledger_line import LedgerLine
from ledger.path.open_attempts import OpenAttemptWriter, OpenList
from ledger.path.redis_open_attempts import RedisLeft, RedisOpenList
from ledger.path.redis_stream import StreamReader
from tests.conftest import RedisServer
from tests.fakes import FakeOpenList
from tests.ledger.lines import line

pytestmark = pytest.mark.redis

SHORT_S = 0.05


@dataclass
class Lists:
    """One ledger's stream, and the lists beside it."""

    url: str
    stream: str
    left: RedisLeft
    redis: Redis

    def of(self, gateway: str, lease_s: float = 60.0) -> RedisOpenList:
        return RedisOpenList(self.url, self.stream, gateway, lease_s)

    async def mark(self, gateway: str, *lines: LedgerLine, lease_s: float = SHORT_S) -> None:
        one = self.of(gateway, lease_s)
        await one.mark({item.call_id: item.to_bytes() for item in lines}, [])
        await one.close()

    async def dead(self, gateway: str, *lines: LedgerLine) -> None:
        """A gateway that listed these and died."""
        await self.mark(gateway, *lines)
        await asyncio.sleep(2 * SHORT_S)

    async def drained(self) -> list[LedgerLine]:
        reader = StreamReader(self.url, self.stream, consumer="a")
        found = await reader.read(9, 0.01) or await reader.read(9, 0.01)
        await reader.close()
        return [entry.line for entry in found]


@pytest.fixture
async def lists(redis_url: str) -> AsyncIterator[Lists]:
    stream = uuid.uuid4().hex
    left, redis = RedisLeft(redis_url, stream), Redis.from_url(redis_url)
    yield Lists(redis_url, stream, left, redis)
    await left.close()
    await redis.aclose()


async def until_listed(left: RedisLeft, count: int) -> None:
    async with asyncio.timeout(10):
        while True:
            with suppress(RedisError, OSError):
                if len(await left.left("g")) == count:
                    return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["fake", "redis"])
async def test_a_list_adds_removes_begins_anew_and_leaves(lists: Lists, kind: str) -> None:
    fake, real = FakeOpenList(), lists.of("g")
    one: OpenList = fake if kind == "fake" else real

    async def listed() -> dict[str, bytes]:
        if kind == "fake":
            return fake.listed
        found: dict[bytes, bytes] = await lists.redis.hgetall(f"{lists.stream}:open:g")  # type: ignore[misc]
        return {id.decode(): raw for id, raw in found.items()}

    await one.mark({"a": b"1", "b": b"2"}, [])
    await one.mark({"c": b"3", "b": b"4"}, ["a", "never there"])
    assert await listed() == {"b": b"4", "c": b"3"}
    await one.mark({"d": b"5"}, ["b"], afresh=True)
    assert await listed() == {"d": b"5"}
    await one.mark({}, [])
    assert await listed() == {"d": b"5"}
    await one.mark({}, [], afresh=True)
    assert await listed() == {}
    await one.mark({"e": b"6"}, [])
    await one.leave()
    assert await listed() == {}
    assert await lists.left.dead() == []
    await one.close()


async def test_a_gateway_is_dead_when_its_lease_has_passed_and_not_before(lists: Lists) -> None:
    await lists.mark("alive", line(1), lease_s=60.0)
    await lists.mark("b", line(2), lease_s=1.0)
    await lists.mark("a", lease_s=1.0)
    assert await lists.left.dead() == []
    await asyncio.sleep(1.1)
    assert await lists.left.dead() == ["a", "b"]
    await lists.mark("b", lease_s=60.0)
    assert await lists.left.dead() == ["a"], "b was only silent"
    assert await lists.left.left("b") == {"c2": line(2)}


async def test_a_gateway_that_ends_well_is_never_dead(lists: Lists) -> None:
    one = lists.of("g", SHORT_S)
    await one.mark({"a": line(1).to_bytes()}, [])
    await one.leave()
    await one.close()
    await asyncio.sleep(2 * SHORT_S)
    assert await lists.left.dead() == []
    assert await lists.left.left("g") == {}


async def test_what_is_left_is_there_until_it_is_settled_and_unreadable_entries_are_not(
    lists: Lists,
) -> None:
    await lists.mark("g", line(1), line(2))
    one = lists.of("g", SHORT_S)
    await one.mark({"bad": b"no line", "worse": b"\xff"}, [])
    await one.close()
    await asyncio.sleep(2 * SHORT_S)
    for _ in range(2):
        assert await lists.left.left("g") == {"c1": line(1), "c2": line(2)}
    assert await lists.left.settle("g", {"c1": line(1, tier="large")})
    assert await lists.left.left("g") == {"c2": line(2)}
    assert await lists.drained() == [line(1, tier="large")]
    await lists.left.forget("g")
    assert await lists.left.left("g") == {}
    assert await lists.left.dead() == []
    assert await lists.redis.keys(f"{lists.stream}:*") == []


async def test_nothing_to_settle_is_no_line(lists: Lists) -> None:
    await lists.dead("g")
    assert await lists.left.settle("g", {})
    assert not await lists.redis.exists(lists.stream)


async def test_stream_and_list_change_together_or_not_at_all(lists: Lists) -> None:
    await lists.dead("g", line(1), line(2))
    await lists.redis.set(lists.stream, "no stream")
    with pytest.raises(RedisError):
        await lists.left.settle("g", {"c1": line(1), "c2": line(2)})
    assert len(await lists.left.left("g")) == 2
    await lists.redis.delete(lists.stream)
    assert await lists.left.settle("g", {"c1": line(1), "c2": line(2)})
    assert await lists.left.left("g") == {}
    assert len(await lists.drained()) == 2


async def test_one_that_comes_back_meanwhile_closes_its_attempts_itself(lists: Lists) -> None:
    await lists.dead("g", line(1))
    found = await lists.left.left("g")
    await lists.mark("g", line(2), lease_s=60.0)
    assert not await lists.left.settle("g", found)
    await lists.left.forget("g")
    assert await lists.left.left("g") == {"c1": line(1), "c2": line(2)}
    assert not await lists.redis.exists(lists.stream)


async def test_two_ledgers_on_one_redis_do_not_see_each_other(lists: Lists) -> None:
    other = RedisLeft(lists.url, uuid.uuid4().hex)
    await lists.dead("g", line(1))
    assert await other.dead() == []
    assert await other.left("g") == {}
    await other.close()


async def test_nothing_has_an_expiry_that_a_full_redis_could_evict(lists: Lists) -> None:
    await lists.mark("g", line(1))
    keys = [key async for key in lists.redis.scan_iter(f"{lists.stream}*")]
    assert len(keys) == 2
    assert [await lists.redis.ttl(key) for key in keys] == [-1, -1]


async def test_a_book_lists_what_lasts_and_leaves_nothing(lists: Lists) -> None:
    one = OpenAttemptWriter(lists.of("g"), linger_s=0.001, hold_s=0.0, alive_every_s=0.01)
    one.start()
    for number in range(200):
        one.begin(f"c{number}", lambda number=number: line(number))  # type: ignore[misc]

    await until_listed(lists.left, 200)
    for number in range(1, 200):
        one.end(f"c{number}")
    await until_listed(lists.left, 1)
    assert await lists.left.left("g") == {"c0": line(0)}
    await one.close()
    assert await lists.redis.keys(f"{lists.stream}*") == []


@pytest.fixture
def forgetful() -> Iterator[RedisServer]:
    """A Redis that is empty whenever it starts."""
    folder = Path(tempfile.mkdtemp(prefix="hansom-"))
    server = RedisServer(folder)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_redis_that_died_and_came_back_empty_is_told_again(forgetful: RedisServer) -> None:
    left = RedisLeft(forgetful.url, "ledger")
    listed = RedisOpenList(forgetful.url, "ledger", "g", 60.0)
    one = OpenAttemptWriter(listed, linger_s=0.001, hold_s=0.0, alive_every_s=0.01)
    one.start()
    one.begin("a", lambda: line(1))
    await until_listed(left, 1)
    await asyncio.to_thread(forgetful.kill)
    await asyncio.sleep(0.05)
    await asyncio.to_thread(forgetful.start)
    await until_listed(left, 1)
    assert await left.left("g") == {"a": line(1)}
    await one.close()
    await left.close()
