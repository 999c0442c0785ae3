"""Calls held for a tier without a replica: told of, woken once, let go in order, never refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import pytest

from autoscale.live.record_store import held_key, record_key
from core.errors import Unavailable
from deployments.gateway.backends.choice import InFlight, Pace, ReplicaPicker
from deployments.gateway.backends.exchange import Connections
from deployments.gateway.backends.prefix_index import Prompt
from deployments.gateway.backends.tier import Replica, TierReplicas
from deployments.gateway.backends.wake_queue import WakeQueue
from tests.fakes import FakeShelf
from tests.ledger.lines import until

KEY = held_key("large", "g")
NONE: frozenset[str] = frozenset()
PROMPT = Prompt(10)


@dataclass
class Tier:
    """A tier of which the test says how many replicas run."""

    running: list[Replica] = field(default_factory=list)
    shelf: FakeShelf = field(default_factory=FakeShelf)
    kicks: int = 0
    room: int = 2

    def __post_init__(self) -> None:
        self.wake_queue = WakeQueue("large", self.shelf, "g", self.kick)
        self.sent: dict[str, list[InFlight]] = {}
        self.replicas = TierReplicas(
            "large", lambda: self.running, Connections(), 1.0,
            choice=ReplicaPicker(Pace(room=self.room)), wake_queue=self.wake_queue,
        )  # fmt: skip

    async def kick(self) -> None:
        self.kicks += 1
        await asyncio.sleep(60)

    def up(self, *names: str) -> None:
        self.running = [Replica(name, ("127.0.0.1", 1)) for name in names]

    async def find(self, timeout_s: float = 5.0) -> tuple[str, bool]:
        """A replica, and its place taken, as by a request."""
        replica, held = await self.replicas.find(NONE, PROMPT, timeout_s)
        sent = self.replicas._choice.send(replica.id, PROMPT, 0.0)
        self.sent.setdefault(replica.id, []).append(sent)
        return replica.id, held

    def note(self) -> dict[str, int]:
        told: dict[str, int] = orjson.loads(self.shelf.values[KEY])
        return told


@asynccontextmanager
async def tier(room: int = 2) -> AsyncIterator[Tier]:
    one = Tier(room=room)
    try:
        yield one
    finally:
        await one.wake_queue.close()


async def test_a_replica_that_is_there_is_found_at_once() -> None:
    async with tier() as one:
        one.up("a")
        assert await one.find() == ("a", False)
        assert one.shelf.puts == 0


async def test_a_tier_that_does_not_sleep_holds_nothing() -> None:
    replicas = TierReplicas("large", list, Connections(), 1.0)
    with pytest.raises(Unavailable):
        await replicas.find(NONE, PROMPT, 5.0)


async def test_twenty_are_held_told_of_and_let_go_when_there_is_room() -> None:
    async with tier(room=8) as one:
        calls = [asyncio.create_task(one.find()) for _ in range(20)]
        await until(lambda: KEY in one.shelf.values and one.note()["calls"] == 20)
        assert one.note()["tokens"] == 200
        assert one.wake_queue.calls == 20
        one.up("a")
        await until(lambda: sum(call.done() for call in calls) == 8)
        await asyncio.sleep(0.1)
        assert [call.done() for call in calls] == [True] * 8 + [False] * 12, "first come, first"
        one.up("a", "b")
        await until(lambda: sum(call.done() for call in calls) == 16)
        one.sent["a"][0].ended()
        await until(lambda: sum(call.done() for call in calls) == 17)
        for call in calls:
            call.cancel()
        await until(lambda: KEY not in one.shelf.values)
        assert one.kicks == 0


async def test_who_comes_while_others_wait_waits_behind_them() -> None:
    async with tier(room=1) as one:
        first, second = asyncio.create_task(one.find()), asyncio.create_task(one.find())
        await asyncio.sleep(0.05)
        one.up("a")
        await until(first.done)
        third = asyncio.create_task(one.find())
        await asyncio.sleep(0.05)
        one.up("a", "b")
        await until(second.done)
        assert not third.done()
        third.cancel()


async def test_who_leaves_is_counted_out() -> None:
    async with tier() as one:
        stays, leaves = asyncio.create_task(one.find()), asyncio.create_task(one.find())
        await until(lambda: KEY in one.shelf.values)
        leaves.cancel()
        await until(lambda: one.note()["calls"] == 1)
        one.up("a")
        assert await stays == ("a", True)


async def test_who_waits_too_long_is_late() -> None:
    async with tier() as one:
        with pytest.raises(TimeoutError):
            await one.find(0.1)
        await until(lambda: one.wake_queue.calls == 0)


async def test_it_is_renewed_while_anyone_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.gateway.backends.wake_queue.RENEW_S", 0.1)
    async with tier() as one:
        call = asyncio.create_task(one.find())
        await until(lambda: KEY in one.shelf.values and one.note()["number"] > 3)
        call.cancel()


@pytest.mark.parametrize(("wanted", "kicks"), [(None, 1), (0, 1), (2, 0)])
async def test_where_the_policy_does_not_answer_serve_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, wanted: int | None, kicks: int
) -> None:
    monkeypatch.setattr("deployments.gateway.backends.wake_queue.KICK_AFTER_S", 0.05)
    async with tier() as one:
        if wanted is not None:
            record = {"wanted": {"replicas": wanted}}
            one.shelf.values[record_key("large")] = orjson.dumps(record)
        calls = [asyncio.create_task(one.find()) for _ in range(3)]
        await asyncio.sleep(0.5)
        assert one.kicks == kicks
        for call in calls:
            call.cancel()


async def test_a_shelf_that_is_away_is_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.gateway.backends.wake_queue.KICK_AFTER_S", 0.05)
    async with tier() as one:
        one.shelf.failure = OSError("away")
        call = asyncio.create_task(one.find())
        await until(lambda: one.kicks == 1)
        one.up("a")
        assert await call == ("a", True)


async def test_a_nudge_wakes_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.gateway.backends.wake_queue.NUDGE_S", 0.2)
    async with tier() as one:
        one.wake_queue.warm_up()
        await until(lambda: KEY in one.shelf.values)
        assert one.note() == {"number": 1, "calls": 1, "tokens": 0}
        await until(lambda: KEY not in one.shelf.values)
