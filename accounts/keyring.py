"""Cache the records of virtual keys in a gateway.

Promises: a record is taken from memory for `LAST_S` at most while Redis answers, so a revoked key
is refused by every gateway within that time; a key in use is read again before then, beside the
request. While Redis is away known keys go on for `outage_s`, and nobody else is let in. Memory is
bounded, also against secrets that are made up.
"""

import asyncio
import logging
from collections import OrderedDict
from contextlib import suppress
from typing import Protocol

from accounts.keys import Key
from core import log
from core.breaker import Away, Breaker
from core.errors import Unavailable
from core.ports import Clock

FRESH_S, LAST_S = 2.0, 5.0
_MAX_KEYS, _MAX_UNKNOWN = 20_000, 4096
_logger = logging.getLogger("hansom.accounts")


class Records(Protocol):
    """Where records are kept; `accounts.redis_store.RedisAccounts`."""

    async def find_key(self, sha256: str) -> Key | None:
        """The key that a secret's hash leads to; raises `ValueError` for another form of record."""


class Keyring:
    """One per gateway replica."""

    def __init__(self, records: Records, breaker: Breaker, clock: Clock, outage_s: float) -> None:
        self._records = records
        self._breaker = breaker
        self._clock = clock
        self._outage_s = outage_s
        self._known: OrderedDict[str, tuple[float, Key]] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._reading: dict[str, asyncio.Task[None]] = {}

    async def find(self, sha256: str) -> Key | None:
        """The key of a secret's hash, None of one that leads nowhere; raises `Unavailable`."""
        now_s = self._clock.monotonic_s()
        read_s, key = self._known.get(sha256, (-LAST_S, None))
        if key is not None and now_s - read_s < LAST_S:
            if now_s - read_s >= FRESH_S and sha256 not in self._reading:
                task = asyncio.create_task(self._again(sha256))
                self._reading[sha256] = task
                task.add_done_callback(lambda _: self._reading.pop(sha256, None))
            return key
        if now_s - self._unknown.get(sha256, -LAST_S) < LAST_S:
            return None
        try:
            return await self._read(sha256)
        except Away as error:
            if key is not None and now_s - read_s < self._outage_s:
                return key
            raise Unavailable(
                "This API key cannot be checked at the moment. Try again shortly.",
                code="accounts_unavailable",
                retry_after_s=2,
            ) from error

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _again(self, sha256: str) -> None:
        with suppress(Away):  # the next one asks again, and knows what to do
            await self._read(sha256)

    async def _read(self, sha256: str) -> Key | None:
        """Raises `Away`, which a record that cannot be read is too."""
        try:
            key = await self._breaker.ask(lambda: self._records.find_key(sha256))
        except ValueError as error:
            log.event(_logger, "key_unreadable", error=repr(error)[:200])
            raise Away(str(error)) from error
        now_s = self._clock.monotonic_s()
        if key is None:
            self._known.pop(sha256, None)
            self._unknown[sha256] = now_s
            self._unknown.move_to_end(sha256)
            if len(self._unknown) > _MAX_UNKNOWN:
                self._unknown.popitem(last=False)
            return None
        self._unknown.pop(sha256, None)
        self._known[sha256] = (now_s, key)
        self._known.move_to_end(sha256)
        if len(self._known) > _MAX_KEYS:
            self._known.popitem(last=False)
        return key
