"""End background tasks: cancel them and wait until they have ended.

One cancellation is not enough. Python 3.11's `asyncio.wait_for` drops one that comes in the same
turn as its result (bpo-37658, mended in 3.12), and redis-py sends every command within one: a loop
that was cancelled just then goes on for good, and who waits for its end waits for good, too.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 1.0


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel what has not ended, again each `AGAIN_S`; raises nothing of theirs."""
    known = set(tasks)
    while left := [task for task in known if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=AGAIN_S)
    for task in known:
        if not task.cancelled():
            task.exception()  # mark it as retrieved; otherwise asyncio logs it
