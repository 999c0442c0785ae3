"""Tasks end when they are told to, also one that a library has kept from hearing of it."""

import asyncio
from contextlib import suppress

import pytest

from core import background


async def forever(deaf: int) -> None:
    """Miss so many cancellations, as `asyncio.wait_for` does when its result is there, too."""
    for _ in range(deaf):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
    await asyncio.sleep(60)


async def fails() -> None:
    raise OSError("its own affair")


@pytest.mark.parametrize("deaf", [0, 1, 3])
async def test_a_task_that_missed_its_cancellation_is_cancelled_again(
    deaf: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "AGAIN_S", 0.01)
    task = asyncio.create_task(forever(deaf))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await background.end([task])
    assert task.cancelled()


async def test_what_has_ended_is_left_alone_and_nothing_is_raised() -> None:
    tasks = [asyncio.create_task(fails()), asyncio.create_task(forever(0))]
    await asyncio.sleep(0)
    await background.end(tasks)
    assert isinstance(tasks[0].exception(), OSError)
    assert tasks[1].cancelled()
    await background.end([])
