"""The stream over a real Redis: one contract with the fake, and what survives which kill."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from redis.asyncio import Redis

from core.ledger_line import LedgerLine
from ledger.path.drain import LineReader, drain_once
from ledger.path.redis_stream import RedisStream, StreamReader
from ledger.path.spool import Spool
from ledger.path.sql_store import SqlStore, sqlite_url
from ledger.path.writer import StreamWriter
from tests.conftest import RedisServer
from tests.fakes import FakeReader
from tests.ledger.lines import line, until

pytestmark = pytest.mark.redis


class Fill(Protocol):
    async def __call__(self, *lines: LedgerLine) -> None: ...


@pytest.fixture(params=["fake", "redis"])
async def way(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Fill, LineReader]]:
    """A way in and a reader at the other end."""
    if request.param == "fake":
        fake = FakeReader()

        async def fill_fake(*lines: LedgerLine) -> None:
            fake.add(*lines)

        yield fill_fake, fake
        return
    url, name = request.getfixturevalue("redis_url"), uuid.uuid4().hex
    stream, reader = RedisStream(url, name), StreamReader(url, name, consumer="drain-0")

    async def fill(*lines: LedgerLine) -> None:
        await stream.append([item.to_bytes() for item in lines])

    yield fill, reader
    await stream.close()
    await reader.close()


async def test_entries_come_in_order_and_once_until_they_are_claimed(
    way: tuple[Fill, LineReader],
) -> None:
    fill, reader = way
    assert await reader.read(9, 0.01) == []
    await fill(line(1), line(2), line(3))
    first = await reader.read(2, 0.01)
    second = await reader.read(2, 0.01)
    assert [entry.line for entry in first + second] == [line(1), line(2), line(3)]
    assert await reader.read(2, 0.01) == []
    await reader.ack(first)
    assert await reader.claim(9, 60) == []
    assert await reader.claim(9, 0) == second
    await reader.ack(second)
    await reader.ack(second)
    await reader.ack([])
    assert await reader.claim(9, 0) == []


async def test_lines_that_came_before_the_first_reader_are_read(redis_url: str) -> None:
    name = uuid.uuid4().hex
    stream = RedisStream(redis_url, name)
    await stream.append([line(1).to_bytes()])
    reader = StreamReader(redis_url, name, consumer="a")
    assert await reader.claim(9, 0) == []
    assert await reader.read(9, 0.01) == []
    assert [entry.line for entry in await reader.read(9, 0.01)] == [line(1)]
    await stream.close()
    await reader.close()


async def test_what_a_dead_consumer_held_another_one_claims(redis_url: str) -> None:
    name = uuid.uuid4().hex
    stream = RedisStream(redis_url, name)
    dead, alive = (StreamReader(redis_url, name, consumer=one) for one in ("dead", "alive"))
    await dead.read(9, 0.01)
    await stream.append([line(1).to_bytes(), line(2).to_bytes()])
    held = await dead.read(9, 0.01)
    await dead.close()
    await asyncio.sleep(0.05)
    claimed = await alive.claim(9, 0.02)
    assert claimed == held
    assert await alive.backlog_lines() == 2
    await alive.ack(claimed)
    assert await alive.backlog_lines() == 0
    async with Redis.from_url(redis_url) as client:
        assert (await client.xpending(name, "ledger"))["pending"] == 0
    await stream.close()
    await alive.close()


async def test_what_is_not_a_line_is_set_aside_and_does_not_come_back(redis_url: str) -> None:
    name = uuid.uuid4().hex
    stream, reader = RedisStream(redis_url, name), StreamReader(redis_url, name, consumer="a")
    await reader.read(9, 0.01)
    await stream.append([b"poison", line(1).to_bytes()])
    assert [entry.line for entry in await reader.read(9, 0.01)] == [line(1)]
    async with Redis.from_url(redis_url) as client:
        assert await client.xlen(f"{name}:unreadable") == 1
        assert await client.xlen(name) == 1
    await stream.close()
    await reader.close()


async def test_a_redis_that_forgot_everything_is_read_again(redis_url: str) -> None:
    name = uuid.uuid4().hex
    stream, reader = RedisStream(redis_url, name), StreamReader(redis_url, name, consumer="a")
    await reader.read(9, 0.01)
    async with Redis.from_url(redis_url) as client:
        await client.delete(name)
    await stream.append([line(1).to_bytes()])
    assert await reader.read(9, 0.01) == []
    assert len(await reader.read(9, 0.01)) == 1
    await stream.close()
    await reader.close()


async def drain_all(url: str, store: SqlStore) -> tuple[int, int]:
    """Everything that is in the stream; returns how many lines came and how many were new."""
    reader = StreamReader(url, "ledger", consumer="drain-1")
    came = new = 0
    await drain_once(reader, store, block_s=0.01)
    for claim_idle_s in (0.0, None):
        while turn := await drain_once(
            reader, store, block_s=0.01, count=1000, claim_idle_s=claim_idle_s
        ):
            came, new = came + turn[0], new + turn[1]
            if not turn[0]:
                break
    await reader.close()
    return came, new


async def test_redis_killed_while_lines_are_written_loses_and_doubles_none(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    stream = RedisStream(redis_server.url, "ledger")
    writer = StreamWriter(stream, Spool(tmp_path / "spool"), linger_s=0.001, retry_s=0.05)
    writer.start()
    for at in range(3000):
        writer.record(line(at))
        if at in (700, 2200):
            await asyncio.to_thread(redis_server.kill)
        if at == 1500:
            await asyncio.to_thread(redis_server.start)
        if at % 20 == 0:
            await asyncio.sleep(0.001)
    await until(lambda: writer.stats.spooled + writer.stats.sent >= 3000)
    assert writer.stats.sent > 0
    assert writer.stats.spooled > 0
    await asyncio.to_thread(redis_server.start)
    await until(lambda: writer.stats.resent == writer.stats.spooled)
    await writer.close()
    store = SqlStore(sqlite_url(tmp_path / "ledger.sqlite3"))
    await drain_all(redis_server.url, store)
    found = [item.line.identity for item in store.tail(10_000)]
    assert len(found) == len(set(found))
    assert set(found) == {(f"c{at}", 0) for at in range(3000)}
    assert writer.stats.dropped == 0
    store.close()


KILLED_BETWEEN_COMMIT_AND_ACK = """
import asyncio, os, signal, sys
from pathlib import Path
from ledger.path.drain import drain_once
from ledger.path.redis_stream import StreamReader
from ledger.path.sql_store import SqlStore, sqlite_url

class Dying(StreamReader):
    async def ack(self, entries):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    reader = Dying(sys.argv[1], "ledger", consumer="drain-0")
    store = SqlStore(sqlite_url(Path(sys.argv[2])))
    await drain_once(reader, store, block_s=0.01)
    await drain_once(reader, store, block_s=0.01)

asyncio.run(main())
"""


async def test_a_reader_killed_between_commit_and_ack_doubles_nothing(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    stream = RedisStream(redis_server.url, "ledger")
    await stream.append([line(at).to_bytes() for at in range(100)])
    path = tmp_path / "ledger.sqlite3"
    arguments = [sys.executable, "-c", KILLED_BETWEEN_COMMIT_AND_ACK, redis_server.url, str(path)]
    died = await asyncio.to_thread(subprocess.run, arguments, timeout=30)
    assert died.returncode == -9
    store = SqlStore(sqlite_url(path))
    assert len(store.tail(1000)) == 100
    await stream.append([line("new").to_bytes()])
    came, new = await drain_all(redis_server.url, store)
    assert (came, new) == (100, 0)
    found = [item.line.identity for item in store.tail(1000)]
    assert len(found) == len(set(found)) == 101
    await stream.close()
    store.close()
