"""The fakes of our own seams, one for each Protocol; contract tests hold them to the real ones."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.drain import Entry
from ledger.line import LedgerLine
from router.score import Score


@dataclass
class FakeClock:
    """A `core.ports.Clock` that moves only when told to."""

    now_s: float = 1_000.0
    wall_offset_s: float = 1_700_000_000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.wall_offset_s + self.now_s

    def advance(self, seconds_s: float) -> None:
        self.now_s += seconds_s


class FakeStore:
    """A `cache.exact.Store` in memory; `failure`, when set, is raised by every operation."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.failure: Exception | None = None
        self.operations = 0
        self._values: dict[str, tuple[bytes, float]] = {}

    async def get(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        self._operate()
        now_s = self.clock.monotonic_s()
        found = [self._values.get(key, (None, 0.0)) for key in keys]
        return [value if now_s < until_s else None for value, until_s in found]

    async def set(self, key: str, value: bytes, ttl_s: int) -> None:
        self._operate()
        self._values[key] = (value, self.clock.monotonic_s() + ttl_s)

    def _operate(self) -> None:
        self.operations += 1
        if self.failure is not None:
            raise self.failure


@dataclass
class FakeStream:
    """A `ledger.writer.Stream` in memory; `failure`, when set, is raised by every append."""

    payloads: list[bytes] = field(default_factory=list)
    failure: Exception | None = None

    async def append(self, payloads: Sequence[bytes]) -> None:
        if self.failure is not None:
            raise self.failure
        self.payloads += payloads

    async def close(self) -> None:
        return None


@dataclass
class FakeReader:
    """A `ledger.drain.Reader` in memory: read entries stay pending until they are acked."""

    fresh: list[Entry] = field(default_factory=list)
    pending: list[Entry] = field(default_factory=list)
    failure: Exception | None = None

    def add(self, *lines: LedgerLine) -> None:
        start = len(self.fresh) + len(self.pending)
        self.fresh += [
            Entry(f"{start + at}-0".encode(), line) for at, line in enumerate(lines, start=1)
        ]

    async def read(self, count: int, block_s: float) -> list[Entry]:
        if self.failure is not None:
            raise self.failure
        await asyncio.sleep(0 if self.fresh else block_s)
        taken, self.fresh = self.fresh[:count], self.fresh[count:]
        self.pending += taken
        return taken

    async def claim(self, count: int, idle_s: float) -> list[Entry]:
        await asyncio.sleep(0)
        return self.pending[:count] if idle_s == 0 else []

    async def ack(self, entries: Sequence[Entry]) -> None:
        if self.failure is not None:
            raise self.failure
        self.pending = [entry for entry in self.pending if entry not in entries]


class FakeRouter:
    """The router's Serve handle as the gateway uses it; a vector is (0.5, -0.25, its length)."""

    def __init__(
        self, answer: Score | None = None, failure: Exception | None = None, wait_s: float = 0.0
    ) -> None:
        self.asked: list[Any] = []
        self.more: list[tuple[Any, ...]] = []
        self.known: set[str] = set()
        self.feedback = _FakeMethod(self, lambda _: bool(self.known & set(self.more[-1])))
        self.score = _FakeMethod(self, lambda _: answer)
        self.embed = _FakeMethod(
            self, lambda texts: ([[0.5, -0.25, float(len(text))] for text in texts], len(texts))
        )
        self.failure = failure
        self.wait_s = wait_s


class _FakeMethod:
    """One method of a handle: `remote` answers, fails or takes its time."""

    def __init__(self, router: FakeRouter, answer: Callable[[Any], Any]) -> None:
        self._router = router
        self._answer = answer

    async def remote(self, asked: Any, *more: Any) -> Any:
        self._router.asked.append(asked)
        self._router.more.append(more)
        await asyncio.sleep(self._router.wait_s)
        if self._router.failure is not None:
            raise self._router.failure
        return self._answer(asked)
