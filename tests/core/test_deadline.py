"""Deadlines count the other side's time, and not that of a busy event loop."""

import asyncio
import time

import pytest

from core.deadline import within

TIMEOUT_S = 0.02


async def test_an_answer_in_time_is_returned_and_its_error_is_raised():
    async def fails() -> None:
        raise ValueError("its own")

    assert await within(asyncio.sleep(0, "answer"), TIMEOUT_S) == "answer"
    with pytest.raises(ValueError, match="its own"):
        await within(fails(), TIMEOUT_S)


async def test_another_side_that_is_late_is_a_timeout():
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        await within(asyncio.Event().wait(), TIMEOUT_S)
    assert time.monotonic() - began_s < 5


async def test_a_loop_that_is_late_costs_the_other_side_nothing():
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    # The loop stands still for longer than the deadline, and the answer comes right after.
    loop.call_soon(time.sleep, 4 * TIMEOUT_S)
    loop.call_soon(loop.call_later, TIMEOUT_S / 4, answer.set_result, "answer")
    assert await within(answer, TIMEOUT_S) == "answer"


async def test_a_cancelled_wait_leaves_no_timer():
    task = asyncio.ensure_future(within(asyncio.Event().wait(), 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
