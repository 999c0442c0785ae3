"""Flights in Redis: the leader's lease, the followers and the stream of events.

Promised: every step is one script, so that two processes never both hold a lease, and a leader
that has lost its own writes nothing more. Nothing here raises but a cancellation: a Redis that is
away, slow or confused is None, within a deadline, and after a few failures in a row it is not
asked to join for a while. Entries are numbered, so that a reader sees when some are missing.
All keys of a flight bear the hash tag of the exact key.
Not covered: clusters and sentinels by this client, as in `cache.exact.redis_store`.
"""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, cast

import orjson
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from cache.exact.key import KEY_PREFIX
from cache.flight.redis_scripts import APPEND, CHECK_IN, END, JOIN, LAND
from core.log import event
from core.ports import Clock
from core.redis_client import connect_pool

FLIGHT_PREFIX = "hansom:flight:"
_READ_ENTRIES = 256
_KEEP_LEASES = 4  # keys outlive what was written last by as many leases

log = logging.getLogger("hansom.cache")


@dataclass(frozen=True, slots=True)
class FlightTiming:
    """How long things last, in seconds.

    `timeout_s` is what a caller may wait for Redis, `lease_s` after which silence a leader counts
    as dead, `linger_s` how long a flight that landed can still be joined: longer than from a
    look-up that missed to joining, and than a write to the cache takes. Events leave for Redis
    every `followed_s` when other processes follow, else every `alone_s`.
    """

    timeout_s: float = 0.25
    lease_s: float = 3.0
    linger_s: float = 2.0
    followed_s: float = 0.01
    alone_s: float = 0.1


@dataclass(frozen=True, slots=True)
class Lease:
    """Where a process stands in a flight: it leads under the lease `owner`, or follows it.

    `start` is the stream id after which that leader's entries come.
    """

    leads: bool
    owner: str
    start: str


@dataclass(frozen=True, slots=True)
class FlightEntry:
    """One entry of a flight's stream.

    `at` counts the leader's entries from 1; `head`, `final` and `error` are JSON or empty; `gone`
    says that the leader gave up.
    """

    id: str
    owner: str
    at: int
    events: bytes
    head: bytes
    final: bytes
    error: bytes
    gone: bool


@dataclass(frozen=True, slots=True)
class FlightState:
    """A flight's state: whose lease, whether it still runs, whether it landed."""

    owner: str
    alive: bool
    landed: bool


@dataclass(frozen=True, slots=True)
class SharedBill:
    """Callers in all when a flight landed, and each following process's first number and count."""

    callers: int
    parts: dict[str, tuple[int, int]]


class RedisFlights:
    """One process's access to the flights of one Redis."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        timing: FlightTiming,
        *,
        max_follows: int = 128,
        failures_to_open: int = 3,
        open_s: float = 5.0,
    ) -> None:
        self.timing = timing
        self._clock = clock
        self._failures_to_open = failures_to_open
        self._open_s = open_s
        self._failures = 0
        self._closed_again_s = 0.0
        # Reading holds a connection for as long as a flight is followed: readers have a pool of
        # their own, and whoever finds it full for `timeout_s` generates for itself.
        self._writing = _client(url, 32, timing.timeout_s)
        self._reading = _client(url, max_follows, timing.timeout_s)
        scripts = (JOIN, APPEND, LAND, END, CHECK_IN)
        self._scripts = {text: self._writing.register_script(text) for text in scripts}
        self._lease_ms = round(timing.lease_s * 1000)
        self._keep_ms = _KEEP_LEASES * self._lease_ms

    async def join(self, key: str, token: str, process: str, callers: int) -> Lease | None:
        """Lead under `token` if nobody does, else follow; None when Redis cannot be asked.

        An answer that is late may have been a lease, which everybody else would wait for: then the
        caller leads, and `append` tells whether it may.
        """
        if not self._allowed():
            return None
        times = (self._lease_ms, self._keep_ms)
        # Again at once: after a restart of Redis every pooled connection is stale once.
        for _ in range(2):
            found = await self._run(JOIN, key, token, process, callers, *times)
            if isinstance(found, list):
                self._failures = 0
                return Lease(found[0] == 1, found[1].decode(), found[2].decode())
            if not isinstance(found, RedisConnectionError):
                break
        self._failed()
        return Lease(True, token, "") if isinstance(found, TimeoutError) else None

    async def append(
        self, key: str, token: str, process: str, at: int, events: bytes, head: bytes
    ) -> int | None:
        """Renew the lease, with entry `at` when there are events; callers in other processes.

        None when the lease is another's or Redis failed: then nothing more may be written. Waits
        up to a lease: no caller waits for it.
        """
        times = (self._lease_ms, self._keep_ms)
        arguments = (token, process, *times, at, events, head)
        found = await self._run(APPEND, key, *arguments, timeout_s=self.timing.lease_s)
        return found if isinstance(found, int) and found >= 0 else None

    async def land(
        self, key: str, token: str, process: str, callers: int, at: int, last: tuple[bytes, ...]
    ) -> SharedBill | None:
        """The last entry (events, head, facts), with the bill; None as for `append`."""
        linger_ms = round(self.timing.linger_s * 1000)
        found = await self._run(LAND, key, token, process, callers, linger_ms, at, *last)
        if not isinstance(found, bytes):
            return None
        seal = orjson.loads(found)
        return SharedBill(seal["callers"], {name: (a, b) for name, a, b in seal["parts"]})

    async def end(self, key: str, token: str, at: int, error: bytes) -> None:
        """Give the lease back without an answer: with an error for everyone, or for the next."""
        await self._run(END, key, token, at, error, self._keep_ms)

    async def check_in(self, key: str, process: str, callers: int) -> FlightState | None:
        """Say how many callers of this process follow, and how the flight stands."""
        patient_s = max(self.timing.timeout_s, self.timing.lease_s / 3)  # no caller waits for it
        given = (process, callers, self._lease_ms)
        found = await self._run(CHECK_IN, key, *given, timeout_s=patient_s)
        if not isinstance(found, list):
            return None
        return FlightState(found[0].decode(), found[1] == 1, found[2] == 1)

    async def read(self, key: str, after: str, block_s: float) -> list[FlightEntry] | None:
        """Entries after `after`, waiting up to `block_s` for the first; None when Redis failed."""
        _, stream = keys(key)
        block_ms = max(1, round(block_s * 1000))
        reading = self._reading.xread({stream: after}, count=_READ_ENTRIES, block=block_ms)
        found = await self._within(reading, self.timing.timeout_s + block_s)
        if isinstance(found, Exception):
            return None
        try:
            return [_entry(id_, fields) for id_, fields in found[0][1]] if found else []
        except (KeyError, ValueError):
            return None

    async def close(self) -> None:
        """Close all connections."""
        await self._writing.aclose()
        await self._reading.aclose()

    async def _run(self, script: str, key: str, *given: Any, timeout_s: float = 0.0) -> Any:
        """A script's answer, or the exception that it ended in."""
        running = cast(Awaitable[Any], self._scripts[script](keys=list(keys(key)), args=given))
        return await self._within(running, timeout_s or self.timing.timeout_s)

    async def _within(self, operation: Awaitable[Any], timeout_s: float) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await operation
        except Exception as error:  # whatever the client library raises
            log.debug("flight_store_failed: %r", error)
            return error

    def _allowed(self) -> bool:
        """While open, one process in `open_s` may try."""
        if self._failures < self._failures_to_open:
            return True
        now_s = self._clock.monotonic_s()
        if now_s < self._closed_again_s:
            return False
        self._closed_again_s = now_s + self._open_s
        return True

    def _failed(self) -> None:
        self._failures += 1
        if self._failures == self._failures_to_open:
            self._closed_again_s = self._clock.monotonic_s() + self._open_s
            event(log, "flight_store_left_alone", open_s=self._open_s)


def keys(key: str) -> tuple[str, str]:
    """The hash and the stream of the flight for an exact key, in that key's cluster slot."""
    name = FLIGHT_PREFIX + key.removeprefix(KEY_PREFIX)
    return name, f"{name}:events"


def _entry(id_: bytes, fields: dict[bytes, bytes]) -> FlightEntry:
    return FlightEntry(
        id_.decode(),
        fields[b"owner"].decode(),
        int(fields[b"at"]),
        fields.get(b"events", b""),
        fields.get(b"head", b""),
        fields.get(b"final", b""),
        fields.get(b"error", b""),
        b"gone" in fields,
    )


def _client(url: str, connections: int, timeout_s: float) -> Redis:
    return connect_pool(url, connections, retries=0, timeout=timeout_s, socket_timeout=None)
