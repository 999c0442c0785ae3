"""The fakes of our own seams, one for each Protocol; contract tests hold them to the real ones."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accounts.keys import Key
from accounts.limits import Amount, Limit, LimitRefusal, LimitState
from accounts.redis_store import ReservationOutcome, ReservationRequest, Settling
from accounts.windows import span
from cache.error_budget.budget import (
    Change,
    ErrorBudget,
    Level,
    OutcomeSource,
    State,
    outcome,
    seen,
    settle,
)
from cache.semantic import entries as semantic
from core.ledger_line import LedgerLine
from deployments.gateway.lookup.served import Served
from deployments.router.semantic_index import SemanticIndex
from ledger.path.drain import StreamEntry
from router.score.model import Score
from text.embed import Embedded


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
    """A `answers.AnswerStore` in memory; `failure`, when set, is raised by every operation."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.failure: Exception | None = None
        self.operations = 0
        self._values: dict[str, tuple[bytes, float]] = {}
        self.tagged: dict[str, frozenset[str]] = {}

    async def get(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        self._operate()
        now_s = self.clock.monotonic_s()
        found = [self._values.get(key, (None, 0.0)) for key in keys]
        return [value if now_s < until_s else None for value, until_s in found]

    async def set(self, key: str, value: bytes, ttl_s: int, tags: Sequence[str] = ()) -> None:
        self._operate()
        self.tagged.update({tag: self.tagged.get(tag, frozenset()) | {key} for tag in tags})
        self._values[key] = (value, self.clock.monotonic_s() + ttl_s)

    def _operate(self) -> None:
        self.operations += 1
        if self.failure is not None:
            raise self.failure


class FakeNearby:
    """A `entries.Nearby` in memory; `failure`, when set, is raised by every operation.

    `scopes` holds, by scope and id, each entry with its vector of length 1 and when it ends. Above
    the cap the entry that ends first goes.
    """

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.failure: Exception | None = None
        self.scopes: dict[
            str, dict[str, tuple[semantic.SemanticEntry, NDArray[np.float32], float]]
        ] = {}

    async def near(
        self, scope_key: str, vector: NDArray[np.float32], count: int
    ) -> list[tuple[semantic.SemanticEntry, float]]:
        unit = vector / np.linalg.norm(vector)
        found = [(entry, float(row @ unit)) for entry, row, _ in self._live(scope_key).values()]
        return sorted(found, key=lambda one: -one[1])[:count]

    async def keep(
        self,
        scope_key: str,
        vector: NDArray[np.float32],
        entry: semantic.SemanticEntry,
        ttl_s: int,
        cap: int,
    ) -> None:
        scope = self._live(scope_key)
        scope.pop(entry.id, None)
        while len(scope) >= cap:
            del scope[min(scope, key=lambda id: scope[id][2])]
        end_s = self.clock.monotonic_s() + ttl_s
        scope[entry.id] = (entry, vector / np.linalg.norm(vector), end_s)

    async def forget(self, scope_key: str, ids: Sequence[str]) -> None:
        scope = self._live(scope_key)
        for id in ids:
            scope.pop(id, None)

    async def learn(self, scope_key: str, id: str, cosine: float, same: bool) -> None:
        scope = self._live(scope_key)
        if id in scope:
            entry, row, end_s = scope[id]
            scope[id] = (replace(entry, boundary=entry.boundary.seen(cosine, same)), row, end_s)

    def _live(
        self, scope_key: str
    ) -> dict[str, tuple[semantic.SemanticEntry, NDArray[np.float32], float]]:
        if self.failure is not None:
            raise self.failure
        now_s = self.clock.monotonic_s()
        scope = self.scopes.setdefault(scope_key, {})
        for id in [id for id, (_, _, end_s) in scope.items() if end_s <= now_s]:
            del scope[id]
        return scope


@dataclass
class FakeStream:
    """A `ledger.path.writer.Stream` in memory; `failure`, when set, is raised by every append."""

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
    """A `drain.LineReader` in memory: read entries stay pending until they are acked."""

    fresh: list[StreamEntry] = field(default_factory=list)
    pending: list[StreamEntry] = field(default_factory=list)
    failure: Exception | None = None

    def add(self, *lines: LedgerLine) -> None:
        start = len(self.fresh) + len(self.pending)
        self.fresh += [
            StreamEntry(f"{start + at}-0".encode(), line) for at, line in enumerate(lines, start=1)
        ]

    async def read(self, count: int, block_s: float) -> list[StreamEntry]:
        if self.failure is not None:
            raise self.failure
        await asyncio.sleep(0 if self.fresh else block_s)
        taken, self.fresh = self.fresh[:count], self.fresh[count:]
        self.pending += taken
        return taken

    async def claim(self, count: int, idle_s: float) -> list[StreamEntry]:
        await asyncio.sleep(0)
        return self.pending[:count] if idle_s == 0 else []

    async def ack(self, entries: Sequence[StreamEntry]) -> None:
        if self.failure is not None:
            raise self.failure
        self.pending = [entry for entry in self.pending if entry not in entries]


class FakeRouter:
    """The router's Serve handle as the gateway uses it; a vector is (0.5, -0.25, its length).

    Its embedder takes a token a character, and 4 at most.
    """

    def __init__(
        self, answer: Score | None = None, failure: Exception | None = None, wait_s: float = 0.0
    ) -> None:
        self.asked: list[Any] = []
        self.more: list[tuple[Any, ...]] = []
        self.known: set[str] = set()
        self.feedback = _FakeMethod(self, lambda _: bool(self.known & set(self.more[-1])))
        self.score = _FakeMethod(self, lambda _: answer)
        self.embed = _FakeMethod(
            self,
            lambda texts: Embedded(
                [[0.5, -0.25, float(len(text))] for text in texts],
                [min(len(text), 4) for text in texts],
                [index for index, text in enumerate(texts) if len(text) > 4],
            ),
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


class FakeBudgets:
    """A `deployments.gateway.lookup.served.ErrorBudgets` in memory, over the real rules."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, str], State] = {}
        self.changes: list[Change] = []
        self.remembered: dict[tuple[str, str], Served] = {}

    async def state(self, owner: str, domain: str) -> State:
        return self.states.get((owner, domain), State())

    async def count(
        self, served: Served, *, wrong: bool | None, source: OutcomeSource
    ) -> Change | None:
        where = served.owner, served.domain
        added = outcome(Level(served.level), wrong, source, served.share)
        state = seen(self.states.get(where, State()), Level(served.level), added)
        self.states[where], change = settle(state, ErrorBudget(served.limit), served.domain)
        self.changes += [change] if change else []
        return change

    async def remember(self, tenant: str, request_id: str, served: Served) -> None:
        self.remembered[tenant, request_id] = served

    async def served(self, tenant: str, request_id: str) -> Served | None:
        return self.remembered.get((tenant, request_id))

    async def close(self) -> None:
        return None


class FakeNear:
    """The router's handle for the semantic cache, around a real `SemanticIndex`."""

    def __init__(self, near: SemanticIndex) -> None:
        self.wait_s = 0.0
        self.asked: list[str] = []
        self.near = _Handled(self, "near", near.look_up)
        self.keep = _Handled(self, "keep", near.keep)
        self.compare = _Handled(self, "compare", near.compare)
        self.learn = _Handled(self, "learn", near.learn)
        self.forget = _Handled(self, "forget", near.forget)


class _Handled:
    def __init__(self, near: FakeNear, name: str, method: Callable[..., Any]) -> None:
        self._near, self._name, self._method = near, name, method

    async def remote(self, *given: Any) -> Any:
        self._near.asked.append(self._name)
        await asyncio.sleep(self._near.wait_s)
        return await self._method(*given)


@dataclass
class _Reserved:
    asked: ReservationRequest
    starts_s: dict[str, int]
    until_s: float
    used: Amount = Amount()  # noqa: RUF009
    step: int = 0
    open: bool = True
    forget_s: float | None = None


class FakeAccounts:
    """A `reserve.AccountsStore` in memory: every count is added up anew from what was asked.

    `failure`, when set, is raised by every operation.
    """

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.failure: Exception | None = None
        self.operations = 0
        self.records: dict[str, Key] = {}
        self.reserved: dict[tuple[str, str], _Reserved] = {}

    async def reserve(
        self, asked: ReservationRequest, wall_s: float, *, now_s: float | None = None
    ) -> ReservationOutcome:
        now_s = self._operate(now_s)
        if (asked.tenant, asked.id) in self.reserved:
            return ReservationOutcome(now_s)
        standings = [self.standing(asked.tenant, limit, now_s) for limit in asked.limits]
        for one in standings:
            amount = asked.amount.of(one.limit.measure)
            if one.over(amount, one.limit.hard):
                return ReservationOutcome(now_s, refusal=LimitRefusal(one, amount))
        self._keep(asked, now_s, now_s)
        return ReservationOutcome(now_s, tuple(standings))

    async def send(
        self,
        steps: Sequence[ReservationRequest | Settling],
        wall_s: float,
        *,
        now_s: float | None = None,
    ) -> list[Exception]:
        now_s = self._operate(now_s)
        for step in steps:
            found = self.reserved.get((step.tenant, step.id))
            if isinstance(step, ReservationRequest):
                if found is None:
                    self._keep(step, wall_s, now_s)
            elif found is not None and step.step > found.step:
                found.step, found.used = step.step, found.used + step.used
                if step.last and found.open:
                    found.open, found.forget_s = False, now_s + 120
        return []

    async def find_key(self, sha256: str) -> Key | None:
        self._operate(None)
        return self.records.get(sha256)

    async def close(self) -> None:
        return None

    def standing(self, tenant: str, limit: Limit, now_s: float) -> LimitState:
        start_s, end_s = span(limit.window, now_s) if limit.window else (0, 0)
        spent = held = 0
        for one in self.reserved.values():
            if one.asked.tenant != tenant or one.starts_s.get(limit.field) != start_s:
                continue
            if limit.measure == "requests":
                spent += 1
                continue
            spent += one.used.of(limit.measure) if limit.measure != "concurrency" else 0
            held += one.asked.amount.of(limit.measure) if one.open else 0
        return LimitState(limit, spent, held, end_s or None)

    def _keep(self, asked: ReservationRequest, moment_s: float, now_s: float) -> None:
        starts_s = {
            limit.field: span(limit.window, moment_s)[0] if limit.window else 0
            for limit in asked.limits
        }
        key = (asked.tenant, asked.id)
        self.reserved[key] = _Reserved(asked, starts_s, now_s + asked.life_s)

    def _operate(self, now_s: float | None) -> float:
        self.operations += 1
        if self.failure is not None:
            raise self.failure
        now_s = self.clock.wall_s() if now_s is None else now_s
        for one in self.reserved.values():
            if one.open and one.until_s <= now_s:
                one.open, one.forget_s = False, now_s + 3600
            if one.forget_s is not None and one.forget_s <= now_s:
                one.step = 1 << 60  # nobody knows it any more; what it spent stays spent
        return now_s


class FakeOpenList:
    """A `ledger.path.open_attempts.OpenList` in memory.

    `failure`, when set, is raised by every mark, after it has been carried out when `lost_reply`.
    """

    def __init__(self) -> None:
        self.listed: dict[str, bytes] = {}
        self.ever: set[str] = set()
        self.marks = 0
        self.failure: Exception | None = None
        self.lost_reply = False
        self.wait_s = 0.0
        self.alive = self.closed = False

    async def mark(
        self, opened: Mapping[str, bytes], closed: Sequence[str], *, afresh: bool = False
    ) -> None:
        self.marks += 1
        failure = self.failure
        if failure is None or self.lost_reply:
            self.alive = True
            if afresh:
                self.listed.clear()
            for id in closed:
                self.listed.pop(id, None)
            self.listed |= opened
            self.ever |= opened.keys()
        await asyncio.sleep(self.wait_s)
        if failure is not None:
            raise failure

    async def leave(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.listed.clear()
        self.alive = False

    async def close(self) -> None:
        self.closed = True


class FakeShelf:
    """An `record_store.KeyValue` in memory; `failure`, when set, is raised by every operation."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.failure: Exception | None = None
        self.puts = 0

    def get(self, key: str) -> bytes | None:
        self._operate()
        return self.values.get(key)

    def put(self, key: str, value: bytes) -> None:
        self._operate()
        self.puts += 1
        self.values[key] = value

    def delete(self, key: str) -> None:
        self._operate()
        self.values.pop(key, None)

    def keys(self, prefix: str) -> list[str]:
        self._operate()
        return [key for key in self.values if key.startswith(prefix)]

    def _operate(self) -> None:
        if self.failure is not None:
            raise self.failure
