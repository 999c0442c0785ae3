"""What the tests of flights share: events of an answer, and generations that wait to be told."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

import orjson

from cache.flight.flights import Flights
from cache.flight.redis_flights import FlightTiming, RedisFlights
from cache.flight.subscribers import Generate, Lead, Subscription
from core.call import Decision, Usage
from core.errors import HansomError
from core.log import SystemClock
from wire.whole import DONE, assemble

DECISION = Decision("small", "cheap", "it is easy", difficulty=0.25, fallbacks=("large",))
USAGE = Usage(3, 4, 5)
COST = 100
WORDS = ("Hello", " wor", "ld, how", " are you", "?")
# Nothing runs out, however busy the machine is; and leases that run out while a test waits.
CALM = FlightTiming(timeout_s=10.0, lease_s=30.0, linger_s=30.0, followed_s=0.002, alone_s=0.01)
QUICK = replace(CALM, lease_s=1.2)


def chunk(delta: dict[str, object], *, id_: str = "a", end: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": end}
    body = {
        "id": id_, "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [choice],
    }  # fmt: skip
    return b"data: " + orjson.dumps(body) + b"\n\n"


def said(words: Iterable[str], *, id_: str = "a") -> list[bytes]:
    """The events of an answer but for the last: a role, and an event for each word."""
    first = chunk({"role": "assistant", "content": ""}, id_=id_)
    return [first, *(chunk({"content": word}, id_=id_) for word in words)]


def last(id_: str = "a") -> bytes:
    return chunk({}, id_=id_, end="stop") + DONE


def text(blocks: Sequence[bytes]) -> str:
    """What a whole stream says; raises `ValueError` when it is not whole."""
    content = assemble(blocks)["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


def begun(blocks: Iterable[bytes]) -> str:
    """What a stream has said so far."""
    return text([*blocks, last()])


class Engine:
    """Counts generations, and says `words` as far as it is let.

    `upto` words are said before it waits for `on`; after them comes `error`, if there is one.
    """

    def __init__(
        self,
        words: Sequence[str] = WORDS,
        *,
        upto: int | None = None,
        error: Exception | None = None,
        id_: str = "a",
    ) -> None:
        self.begun = 0
        self.aborted = 0
        self.landed = 0
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.on = asyncio.Event()
        self._words = words
        self._upto = len(words) if upto is None else upto
        self._error = error
        self._id = id_
        if upto is None:
            self.on.set()

    async def generate(self, lead: Lead) -> None:
        """A `Generate`."""
        self.begun += 1
        self.started.set()
        try:
            await self._generate(lead)
            self.landed += 1
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        finally:
            self.ended.set()

    async def _generate(self, lead: Lead) -> None:
        events = said(self._words, id_=self._id)
        if self._upto >= 0:
            lead.open(DECISION)
        for event in events[: self._upto + 1]:
            lead.put(event)
            await asyncio.sleep(0)
        await self.on.wait()
        if self._error is not None:
            raise self._error
        for event in events[self._upto + 1 :]:
            lead.put(event)
            await asyncio.sleep(0)
        await lead.land(last(self._id), USAGE, COST)


async def never(lead: Lead) -> None:
    """A `Generate` that must not be needed."""
    raise AssertionError("this caller was to follow")


def flights(url: str, timing: FlightTiming = CALM) -> Flights:
    """What one process has."""
    return Flights(RedisFlights(url, SystemClock(), timing))


async def read(seat: Subscription) -> list[bytes]:
    """A whole stream."""
    blocks = []
    while block := await seat.block():
        blocks.append(block)
    seat.close()
    return blocks


async def read_until(seat: Subscription, words: str) -> list[bytes]:
    """A stream as far as it says `words`."""
    blocks: list[bytes] = []
    while begun(blocks) != words:
        blocks.append(await seat.block())
    return blocks


async def ask(flights: Flights, key: str, generate: Generate) -> str:
    """One caller, from first to last; an error's code stands for its answer."""
    seat = flights.join(key, generate)
    try:
        return text(await read(seat))
    except HansomError as error:
        return str(error.code)
    finally:
        seat.close()
