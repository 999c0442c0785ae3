"""Two drain processes at once, one of them killed: every line is in the database once."""

import asyncio
import signal
import sys
import uuid
from collections import Counter

import pytest
from sqlalchemy import URL

from ledger.path.redis_stream import RedisStream, StreamReader
from ledger.path.sql_store import SqlStore
from tests.ledger.lines import line

pytestmark = pytest.mark.redis

LINES = 3000  # at least, before the one drain dies, and after

# Says what it is at and waits there for its end, if it is told to; otherwise drains on.
DRAIN = """
import asyncio, sys, time
from sqlalchemy import event
from ledger.path.drain import drain_forever
from ledger.path.redis_stream import StreamReader
from ledger.path.sql_store import SqlStore

redis_url, stream, database, consumer, dies_at = sys.argv[1:]
turns = 0

def at(stage):
    global turns
    turns += stage == "read"
    if stage == dies_at and turns > 3:
        print(stage, flush=True)
        time.sleep(60)

class Reader(StreamReader):
    async def read(self, count, block_s):
        entries = await super().read(count, block_s)
        if entries:
            at("read")
        return entries

    async def ack(self, entries):
        at("committed")
        await super().ack(entries)

store = SqlStore(database)
event.listen(store._engine, "commit", lambda connection: at("in the transaction"))
print("ready", flush=True)
asyncio.run(drain_forever(
    Reader(redis_url, stream, consumer=consumer), store,
    count=50, interval_s=0.01, deadline_s=0.3, claim_every_s=0.1, retry_s=0.01,
))
"""


async def start(*arguments: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DRAIN, *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert await said(process) == "ready"
    return process


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()


@pytest.mark.parametrize("stage", ["read", "in the transaction", "committed"])
async def test_a_drain_killed_beside_another_loses_and_doubles_nothing(
    stage: str, redis_url: str, database: URL
) -> None:
    name = uuid.uuid4().hex
    stream, reader = RedisStream(redis_url, name), StreamReader(redis_url, name, consumer="test")
    await reader.read(1, 0.001)
    to = (redis_url, name, database.render_as_string(hide_password=False))
    dying, living = await asyncio.gather(start(*to, "dying", stage), start(*to, "living", "never"))
    try:
        waiting = asyncio.create_task(said(dying))
        made = 0
        # The living drain may be the faster one: lines come until the other has had its turns.
        while made < LINES or not waiting.done():
            await stream.append([line(at).to_bytes() for at in range(made, made + 100)])
            made += 100
            await asyncio.sleep(0.01)
        assert await waiting == stage
        dying.kill()
        assert await dying.wait() == -signal.SIGKILL
        await stream.append([line(at).to_bytes() for at in range(made, made + LINES)])
        made += LINES
        async with asyncio.timeout(60):
            while await reader.backlog_lines():  # noqa: ASYNC110 - another process empties it
                await asyncio.sleep(0.02)
        assert living.returncode is None
    finally:
        for process in (dying, living):
            if process.returncode is None:
                process.kill()
                await process.wait()
        await stream.close()
        await reader.close()
    store = SqlStore(database)
    found = Counter(item.line.identity for item in store.tail(2 * made))
    store.close()
    assert found == Counter({(f"c{at}", 0): 1 for at in range(made)})
