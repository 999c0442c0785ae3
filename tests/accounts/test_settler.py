"""Settlements: in order, at least once, bounded, and none is left when a gateway closes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ConnectionError

from accounts.limits import Amount
from accounts.redis_store import ReservationRequest, Settling
from accounts.settler import Settler
from tests.fakes import FakeAccounts, FakeClock
from tests.ledger.lines import until


class Listening(FakeAccounts):
    """Keeps every batch that it took."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.wait_s = 0.0

    async def send(  # type: ignore[override]
        self, steps: "list[ReservationRequest | Settling]", wall_s: float
    ) -> list[Exception]:
        await asyncio.sleep(self.wait_s)
        if self.failure is not None:
            raise self.failure
        self.batches.append([step.id for step in steps])
        return []

    @property
    def told(self) -> list[str]:
        return [id for batch in self.batches for id in batch]


def step(id: int) -> Settling:
    return Settling("acme", f"s{id}", 1, Amount(1, 1), True)


@pytest.fixture
async def store() -> AsyncIterator[Listening]:
    yield Listening()


def settler_of(store: Listening, **changes: float) -> Settler:
    one = Settler(store, FakeClock(), retry_s=0.02, batch=10, **changes)  # type: ignore[arg-type]
    one.start()
    return one


async def test_steps_of_one_moment_are_one_round_trip_and_keep_their_order(
    store: Listening,
) -> None:
    settler = settler_of(store)
    for id in range(25):
        settler.add(step(id))
    assert settler.pending == 25
    await settler.flushed(5.0)
    assert [len(batch) for batch in store.batches] == [10, 10, 5]
    assert store.told == [f"s{id}" for id in range(25)]
    await settler.close()


async def test_nothing_is_lost_while_redis_is_away(store: Listening) -> None:
    settler = settler_of(store)
    store.failure = ConnectionError("gone")
    for id in range(12):
        settler.add(step(id))
    await asyncio.sleep(0.1)
    assert settler.pending == 12
    store.failure = None
    await until(lambda: settler.pending == 0)
    assert store.told == [f"s{id}" for id in range(12)]
    await settler.close()


async def test_a_slow_redis_is_asked_again(store: Listening) -> None:
    settler = settler_of(store, timeout_s=0.02)
    store.wait_s = 1.0
    settler.add(step(1))
    await asyncio.sleep(0.1)
    assert settler.pending == 1
    store.wait_s = 0.0
    await until(lambda: settler.pending == 0)
    assert store.told == ["s1"]
    await settler.close()


async def test_the_oldest_go_when_memory_is_full_and_the_loss_is_counted(store: Listening) -> None:
    settler = settler_of(store, max_steps=5)
    store.failure = ConnectionError("gone")
    for id in range(9):
        settler.add(step(id))
    assert (settler.pending, settler.dropped) == (5, 4)
    store.failure = None
    await until(lambda: settler.pending == 0)
    assert store.told == ["s4", "s5", "s6", "s7", "s8"]
    await settler.close()


async def test_closing_sends_what_is_queued(store: Listening) -> None:
    settler = settler_of(store, linger_s=30.0)
    settler.add(step(1))
    await asyncio.sleep(0)
    closing = settler_of(store, linger_s=0.0)
    for id in range(25):
        closing.add(step(id))
    await closing.close()
    assert len(store.told) == 25
    assert closing.dropped == 0
    await settler.close(deadline_s=0.05)
    assert settler.dropped == 1, "what a deadline leaves is told"


async def test_closing_without_redis_ends_in_time(store: Listening) -> None:
    settler = settler_of(store)
    store.failure = ConnectionError("gone")
    settler.add(step(1))
    async with asyncio.timeout(2.0):
        await settler.close()
    assert settler.dropped == 1


async def test_waiting_for_it_has_an_end(store: Listening) -> None:
    settler = settler_of(store)
    store.failure = ConnectionError("gone")
    settler.add(step(1))
    async with asyncio.timeout(1.0):
        await settler.flushed(0.02)
    assert settler.pending == 1
    await settler.close()
