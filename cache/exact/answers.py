"""The exact cache: answer an equal request from Redis.

Promised: a look-up waits at most `lookup_timeout_s` for the store and a write `timeout_s`; a dead,
slow or confused store is a miss, never an error. After a few failures in a row the store is left
alone for a while, so that an outage costs a few timeouts and not one per request.
Not covered: joining requests that are in flight at the same moment (`cache.flight.flights`), and
invalidation other than by time and by the policy version in the key.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import orjson
import zstandard

from core.call import Usage
from core.deadline import within
from core.log import event
from core.ports import Clock

FORMAT_VERSION = 2
# Shorter bodies hardly shrink; of a chat answer half of the bytes go.
_COMPRESS_FROM_BYTES = 200
# Made once: making one takes 20 microseconds, using it 1. They serve one thread, that of the loop.
_COMPRESSOR, _DECOMPRESSOR = zstandard.ZstdCompressor(level=3), zstandard.ZstdDecompressor()
# A loop that comes back this late from its own work may hold the store's answer unread.
# A few milliseconds pass on a busy machine, too: it takes four times as many timeouts as errors
# before the store is left alone.
_TIMEOUT_WEIGHT = 0.25

log = logging.getLogger("hansom.cache")
Result = TypeVar("Result")


class AnswerStore(Protocol):
    """Bytes under keys, each with a time to live. Any exception means: not available."""

    async def get(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Each key's value, or None when it is absent or expired; in the order of the keys."""

    async def set(self, key: str, value: bytes, ttl_s: int, tags: Sequence[str] = ()) -> None:
        """Keep `value` for `ttl_s` seconds, in place of what was there.

        A purge of one of the `tags` removes it.
        """


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A complete answer as it was first given.

    `body` is the whole non-stream OpenAI response as JSON bytes. `usage` and `cost_usd_micros`
    are those of the first answer; `created_s` is wall time.
    """

    body: bytes
    tier: str
    model: str
    usage: Usage
    cost_usd_micros: int
    created_s: float

    def to_bytes(self) -> bytes:
        """One line of JSON facts, then the body, compressed: a hit never parses its own answer."""
        packed = len(self.body) >= _COMPRESS_FROM_BYTES
        body = _COMPRESSOR.compress(self.body) if packed else self.body
        facts = {
            "v": FORMAT_VERSION,
            "bytes": len(body),
            "zstd": packed,
            "tier": self.tier,
            "model": self.model,
            "usage": self.usage,
            "cost_usd_micros": self.cost_usd_micros,
            "created_s": self.created_s,
        }
        return orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE) + body

    @classmethod
    def from_bytes(cls, raw: bytes) -> "CachedAnswer":
        """Read what `to_bytes` wrote; raises `ValueError` for anything else."""
        head, _, body = raw.partition(b"\n")
        try:
            facts = orjson.loads(head)
            if facts["v"] != FORMAT_VERSION or facts["bytes"] != len(body):
                raise ValueError("another format version, or cut short")
            return cls(
                _DECOMPRESSOR.decompress(body) if facts["zstd"] else body,
                str(facts["tier"]),
                str(facts["model"]),
                Usage(**facts["usage"]),
                int(facts["cost_usd_micros"]),
                float(facts["created_s"]),
            )
        except (KeyError, TypeError, zstandard.ZstdError) as error:
            raise ValueError(f"not a cached answer: {error!r}") from error


@dataclass(slots=True)
class CacheStats:
    """Counts since the start. `skipped` operations found the store left alone."""

    hits: int = 0
    misses: int = 0
    puts: int = 0
    timeouts: int = 0
    errors: int = 0
    skipped: int = 0
    unreadable: int = 0


class ExactCache:
    """Answers by exact key. One per process; not for use by several event loops."""

    def __init__(
        self,
        store: AnswerStore,
        clock: Clock,
        *,
        timeout_s: float,
        lookup_timeout_s: float,
        ttl_jitter: float = 0.0,
        failures_to_open: int = 3,
        open_s: float = 2.0,
    ) -> None:
        self.stats = CacheStats()
        self._store = store
        self._clock = clock
        self._timeout_s = timeout_s
        self._lookup_timeout_s = lookup_timeout_s
        self._ttl_jitter = ttl_jitter
        self._failures_to_open = failures_to_open
        self._open_s = open_s
        self._failures = 0.0
        self._closed_again_s = 0.0
        self._asked: list[tuple[str, asyncio.Future[bytes | None]]] = []
        self._asking: set[asyncio.Task[None]] = set()

    async def get(self, key: str, max_age_s: float | None = None) -> CachedAnswer | None:
        """The answer kept under `key`, or None; never raises.

        One older than `max_age_s` is a miss.
        """
        answer = await self._fetch(key)
        if answer is not None and max_age_s is not None:
            age_s = self._clock.wall_s() - answer.created_s
            answer = answer if age_s <= max_age_s else None
        if answer is None:
            self.stats.misses += 1
        else:
            self.stats.hits += 1
        return answer

    async def gone(self, key: str) -> bool:
        """Whether the store says that there is nothing under `key`; False when it does not say."""
        if not self._allowed():
            return False
        values = await self._attempt(self._store.get([key]), self._timeout_s)
        return values is not None and values[0] is None

    async def _fetch(self, key: str) -> CachedAnswer | None:
        raw = await self._ask(key) if self._allowed() else None
        if raw is None:
            return None
        try:
            return CachedAnswer.from_bytes(raw)
        except ValueError:
            self.stats.unreadable += 1
            return None

    async def put(
        self, key: str, answer: CachedAnswer, ttl_s: int, tags: Sequence[str] = ()
    ) -> bool:
        """Keep `answer` for about `ttl_s`; False when it was not kept. Never raises."""
        if not self._allowed():
            return False
        value, ttl_s = answer.to_bytes(), jittered(ttl_s, self._ttl_jitter, random.random())
        kept = await self._attempt(self._set(key, value, ttl_s, tags), self._timeout_s)
        self.stats.puts += kept is True
        return kept is True

    async def _set(self, key: str, value: bytes, ttl_s: int, tags: Sequence[str]) -> bool:
        await self._store.set(key, value, ttl_s, tags)
        return True

    async def _ask(self, key: str) -> bytes | None:
        """Look-ups of one turn of the event loop share one question and one deadline.

        A client library and a timer cost more than the question, and under load many requests ask
        in the same turn.
        """
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._send_batch)
        answer: asyncio.Future[bytes | None] = loop.create_future()
        self._asked.append((key, answer))
        return await answer

    def _send_batch(self) -> None:
        batch, self._asked = self._asked, []
        task = asyncio.create_task(self._answer(batch))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _answer(self, batch: "list[tuple[str, asyncio.Future[bytes | None]]]") -> None:
        """Tell everyone in the batch, apart from callers that have left."""
        values: Sequence[bytes | None] | None = None
        try:
            keys = [key for key, _ in batch]
            values = await self._attempt(self._store.get(keys), self._lookup_timeout_s)
        finally:
            for (_, answer), value in zip(batch, values or [None] * len(batch), strict=True):
                if not answer.done():
                    answer.set_result(value)

    def _allowed(self) -> bool:
        """While open, one operation per `open_s` goes through as a probe; the others skip."""
        if self._failures < self._failures_to_open:
            return True
        now_s = self._clock.monotonic_s()
        if now_s < self._closed_again_s:
            self.stats.skipped += 1
            return False
        self._closed_again_s = now_s + self._open_s
        return True

    async def _attempt(self, operation: Awaitable[Result], timeout_s: float) -> Result | None:
        """Run one store operation; any failure is None and counts towards the breaker."""
        try:
            result = await within(operation, timeout_s)
        except TimeoutError:
            self.stats.timeouts += 1
            self._failed("timeout", _TIMEOUT_WEIGHT)
        except Exception as error:  # whatever client library is behind the store
            self.stats.errors += 1
            self._failed(repr(error))
        else:
            self._failures = 0.0
            return result
        return None

    def _failed(self, reason: str, weight: float = 1.0) -> None:
        before, self._failures = self._failures, self._failures + weight
        if before < self._failures_to_open <= self._failures:
            self._closed_again_s = self._clock.monotonic_s() + self._open_s
            event(log, "cache_store_left_alone", reason=reason, open_s=self._open_s)


def jittered(ttl_s: int, share: float, draw: float) -> int:
    """`ttl_s` moved by up to `share` of it either way, by a `draw` in [0, 1); at least 1.

    What was stored in one rush must not expire in one rush.
    """
    return max(1, round(ttl_s * (1 + share * (2 * draw - 1))))
