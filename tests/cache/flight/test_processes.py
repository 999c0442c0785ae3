"""Flights between real processes, which can be killed."""

import asyncio
import multiprocessing
import os
import signal
import uuid
from multiprocessing.connection import Connection

import pytest

from cache.flight.subscribers import Lead
from tests.cache.flight.flying import (
    DECISION,
    QUICK,
    WORDS,
    Engine,
    ask,
    flights,
    read,
    read_until,
    said,
    text,
)

pytestmark = pytest.mark.redis
PROCESSES, CALLERS = 3, 20
WHOLE = "".join(WORDS)
HALF = "".join(WORDS[:2])
# A copy of this process, as it is, starts in milliseconds.
fork = multiprocessing.get_context("fork")


def ask_many(url: str, key: str, to: Connection) -> None:
    """A process with many callers; tells their answers and how often it generated."""

    async def run() -> None:
        one, engine = flights(url), Engine()
        answers = await asyncio.gather(*(ask(one, key, engine.generate) for _ in range(CALLERS)))
        to.send((answers, engine.begun))
        await one.close()

    asyncio.run(run())


def lead_and_hang(url: str, key: str, to: Connection) -> None:
    """A process that says the half and then nothing; it goes on to renew its lease."""

    async def generate(lead: Lead) -> None:
        lead.open(DECISION)
        for event in said(WORDS[:2]):
            lead.put(event)
        await asyncio.Event().wait()

    async def run() -> None:
        seat = flights(url, QUICK).join(key, generate)
        await read_until(seat, HALF)
        to.send("led")
        await asyncio.Event().wait()

    asyncio.run(run())


def test_many_callers_in_many_processes_make_one_generation(redis_url: str) -> None:
    key = uuid.uuid4().hex
    ours, theirs = fork.Pipe()
    processes = [
        fork.Process(target=ask_many, args=(redis_url, key, theirs)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    told = [ours.recv() for _ in processes]
    for process in processes:
        process.join()
    assert [answers for answers, _ in told] == [[WHOLE] * CALLERS] * PROCESSES
    assert sum(begun for _, begun in told) == 1


def test_a_leader_that_is_killed_hands_over_without_a_character_missing_or_twice(
    redis_url: str,
) -> None:
    key = uuid.uuid4().hex
    ours, theirs = fork.Pipe()
    leader = fork.Process(target=lead_and_hang, args=(redis_url, key, theirs))
    leader.start()
    assert ours.recv() == "led" and leader.pid is not None
    asyncio.run(_taken_over(redis_url, key, leader.pid))
    leader.join()


async def _taken_over(url: str, key: str, leader: int) -> None:
    """Two processes follow; one leads when the leader is dead, cutting the text otherwise."""
    near, far = flights(url, QUICK), flights(url, QUICK)
    engine = Engine(words=[*WHOLE], id_="b")
    seats = [one.join(key, engine.generate) for one in (near, near, far)]
    given = [await read_until(seat, HALF) for seat in seats]
    assert engine.begun == 0
    os.kill(leader, signal.SIGKILL)
    rest = await asyncio.gather(*(read(seat) for seat in seats))
    fresh = await ask(far, key, engine.generate)
    assert [text([*a, *b]) for a, b in zip(given, rest, strict=True)] == [WHOLE] * 3
    assert fresh == WHOLE
    assert engine.begun == 1
    await asyncio.gather(near.close(), far.close())
