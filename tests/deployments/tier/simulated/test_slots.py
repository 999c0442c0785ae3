"""Places of a simulated engine go by priority, and none is lost when somebody leaves."""

import asyncio
import random

import hypothesis.strategies as st
from hypothesis import given, settings

from deployments.tier.simulated.slots import EngineSlots


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3), st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=12),
    st.integers(0, 1_000_000),
)  # fmt: skip
def test_no_place_is_lost_or_made_whoever_leaves(
    places: int, comers: list[tuple[int, bool]], seed: int
) -> None:
    async def play() -> None:
        slots, inside, random_ = EngineSlots(places), 0, random.Random(seed)

        async def one(priority: int) -> None:
            nonlocal inside
            await slots.acquire(priority)
            inside += 1
            assert inside <= places
            try:
                await asyncio.sleep(0)
            finally:
                inside -= 1
                slots.release()

        tasks = [asyncio.create_task(one(priority)) for priority, _ in comers]
        for task, (_, leaves) in zip(tasks, comers, strict=True):
            for _ in range(random_.randrange(3)):
                await asyncio.sleep(0)
            if leaves:
                task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [error for error in found if isinstance(error, AssertionError)]
        for _ in range(places):
            assert not slots.locked()
            await slots.acquire()
        assert slots.locked()

    asyncio.run(play())
