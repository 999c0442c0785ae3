"""What a dead gateway left open becomes one line for each attempt, however often it is swept."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.asyncio import Redis

from accounts.limits import Amount
from accounts.redis_store import Settling
from core.call import Usage
from core.ledger_line import Kind, LedgerLine, Outcome
from deployments.ledger.sweep import Sweep, settlings
from ledger.path.drain import drain_once
from ledger.path.redis_open_attempts import RedisLeft, RedisOpenList
from ledger.path.redis_stream import RedisStream, StreamReader
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.deployments.rig import settings_of
from tests.ledger.lines import line, until

pytestmark = pytest.mark.redis

TOLD = Usage(100, 50, 10)
LEASE_S = 0.05


def lost(request: int, tier: str = "small") -> LedgerLine:
    """What an attempt is listed as."""
    return line(
        request, tier=tier, usage=Usage(), cost_usd_micros=0, saved_usd_micros=0,
        outcome=Outcome.ERROR, error_code="gateway_lost",
    )  # fmt: skip


@dataclass
class Engines:
    """What they say, by tier; an error is raised. None of them knows any other tier's requests."""

    says: dict[str, Usage | Exception] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    wait_s: float = 0.0
    under_way: int = 0
    most: int = 0

    async def ask(self, tier: str, engine_request_id: str) -> Usage | None:
        self.asked.append((tier, engine_request_id))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.wait_s)
        finally:
            self.under_way -= 1
        found = self.says.get(tier)
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class Swept:
    """A sweep, its engines, and the ledger behind it."""

    url: str
    stream: str
    left: RedisLeft
    engines: Engines
    sweep: Sweep
    store: SqlStore

    async def listed(self, gateway: str, *lines: LedgerLine, lease_s: float = LEASE_S) -> None:
        one = RedisOpenList(self.url, self.stream, gateway, lease_s)
        await one.mark({item.call_id: item.to_bytes() for item in lines}, [])
        await one.close()

    async def dead(self, gateway: str, *lines: LedgerLine) -> None:
        await self.listed(gateway, *lines)
        await asyncio.sleep(2 * LEASE_S)

    async def lines(self) -> dict[str, LedgerLine]:
        """The database's, by request, after a drain."""
        reader = StreamReader(self.url, self.stream, consumer="a")
        for _ in range(2):
            await drain_once(reader, self.store, block_s=0.01)
        await reader.close()
        return {one.line.request_id: one.line for one in self.store.tail(1000)}


@pytest.fixture
async def swept(redis_url: str, tmp_path: Path) -> AsyncIterator[Swept]:
    stream, engines = uuid.uuid4().hex, Engines({"small": TOLD})
    left = RedisLeft(redis_url, stream)
    sweep = Sweep(settings_of(), left, engines.ask)
    store = SqlStore(sqlite_url(tmp_path / "ledger.sqlite3"))
    yield Swept(redis_url, stream, left, engines, sweep, store)
    await left.close()
    store.close()


async def test_each_open_attempt_becomes_a_line_with_what_the_engine_counted(swept: Swept) -> None:
    await swept.listed("g0", lost(1))
    await swept.listed("alive", lost(3), lease_s=60.0)
    await swept.dead("g1", lost(2, "large"))
    assert await swept.sweep.once() == 2
    lines = await swept.lines()
    assert set(lines) == {"r1", "r2"}
    told = lines["r1"]
    assert (told.usage, told.undelivered_tokens, told.estimated_tokens) == (TOLD, 10, False)
    assert (told.outcome, told.error_code) == (Outcome.ERROR, "gateway_lost")
    assert told.cost_usd_micros == 100 + 25 + 20
    assert told.saved_usd_micros == -told.cost_usd_micros
    assert told.created_s == lost(1).created_s
    unknown = lines["r2"]
    assert (unknown.usage, unknown.cost_usd_micros, unknown.estimated_tokens) == (Usage(), 0, True)
    assert set(swept.engines.asked) == {
        ("small", lost(1).engine_request_id),
        ("large", lost(2).engine_request_id),
    }
    assert await swept.left.dead() == []


async def test_a_sweep_that_is_repeated_changes_nothing(swept: Swept) -> None:
    own = line(1, usage=Usage(1, 1, 1))
    stream = RedisStream(swept.url, swept.stream)
    await stream.append([own.to_bytes()])
    await stream.close()
    for turn in range(2):
        await swept.dead("g", lost(1), lost(2))
        assert await swept.sweep.once() == 2
        swept.engines.says["small"] = Usage(9, 9, 9)  # another answer later is no other line
        lines = await swept.lines()
        assert lines["r1"] == own, "the gateway's own line was first"
        assert lines["r2"].usage == TOLD, turn
    assert await swept.sweep.once() == 0
    assert len(await swept.lines()) == 2


async def test_one_that_could_not_be_asked_holds_nobody_up(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.ledger.sweep._ASK_S", 0.01)
    swept.engines.says["large"] = RuntimeError("no such deployment")
    await swept.dead("g", lost(1), lost(2, "large"), lost(3, "of older settings"))
    assert await swept.sweep.once() == 3
    lines = await swept.lines()
    assert {id: one.estimated_tokens for id, one in lines.items()} == {
        "r1": False, "r2": True, "r3": True,
    }  # fmt: skip
    swept.engines.wait_s = 60.0
    await swept.dead("g", lost(4))
    assert await swept.sweep.once() == 1
    assert (await swept.lines())["r4"].estimated_tokens


async def test_tokens_without_a_price_are_still_told(swept: Swept) -> None:
    swept.engines.says["of older settings"] = TOLD
    await swept.dead("g", lost(1, "of older settings"))
    assert await swept.sweep.once() == 1
    found = (await swept.lines())["r1"]
    assert (found.usage, found.cost_usd_micros, found.estimated_tokens) == (TOLD, 0, False)


async def test_many_are_asked_at_once_and_not_all(swept: Swept) -> None:
    swept.engines.wait_s = 0.002
    await swept.dead("g", *(lost(number) for number in range(100)))
    assert await swept.sweep.once() == 100
    assert swept.engines.most == 32
    assert len(await swept.lines()) == 100


async def test_a_gateway_that_comes_back_while_it_is_swept_keeps_its_attempts(
    swept: Swept,
) -> None:
    await swept.dead("g", lost(1))
    swept.engines.wait_s = 0.05
    sweeping = asyncio.create_task(swept.sweep.once())
    await until(lambda: swept.engines.asked)
    await swept.listed("g", lost(2), lease_s=60.0)
    assert await sweeping == 0
    assert await swept.lines() == {}
    assert set(await swept.left.left("g")) == {"c1", "c2"}


async def test_failures_of_redis_are_waited_out(swept: Swept) -> None:
    async with Redis.from_url(swept.url) as redis:
        await redis.set(swept.stream, "no stream")
        await swept.dead("g", lost(1))
        running = asyncio.create_task(swept.sweep.forever(every_s=0.01))
        await until(lambda: len(swept.engines.asked) >= 2)
        assert await swept.left.left("g") == {"c1": lost(1)}
        await redis.delete(swept.stream)
        async with asyncio.timeout(10):
            while await swept.left.dead():  # noqa: ASYNC110 - Redis has no event to set
                await asyncio.sleep(0.01)
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert set(await swept.lines()) == {"r1"}


def test_what_a_call_left_open_is_the_last_step_of_its_reservation() -> None:
    again = line(1, attempt=1, cost_usd_micros=5, usage=Usage(1, 1, 1))
    shared = line(2, kind=Kind.CREDIT, cost_usd_micros=-3, usage=Usage())
    found = settlings([line(1, cost_usd_micros=7, usage=Usage(10, 0, 2)), again, shared])
    assert [(one.id, one.used, one.last) for one in found] == [
        ("c1", Amount(12, 15), True),
        ("c2", Amount(-3, 0), True),
    ]


async def test_what_it_cost_is_counted_once_however_often_it_is_swept(swept: Swept) -> None:
    counted: list[Settling] = []

    async def count(steps: Sequence[Settling], wall_s: float) -> None:
        counted.extend(steps)

    swept.engines.says["small"] = TOLD
    sweep = Sweep(settings_of(), swept.left, swept.engines.ask, count)
    await swept.dead("gone", lost(1), lost(2))
    assert [await sweep.once(), await sweep.once()] == [2, 0]
    assert sorted(one.id for one in counted) == ["c1", "c2"]
    assert all(one.used.tokens == TOLD.total_tokens and one.used.usd_micros > 0 for one in counted)
