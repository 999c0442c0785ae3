"""Ask a replica for the tokens of an attempt that was left before its end.

Promises: each line is written once, with the engine's count where its replica tells it in time,
else with what had been seen; closing writes what is still waited for.
"""

import asyncio
from collections.abc import Awaitable, Callable

from core.call import Usage

Ask = Callable[[], Awaitable[Usage | None]]
_ASK_S = 5.0


class UsageQuery:
    """Owns the questions of one gateway."""

    def __init__(self, ask_s: float = _ASK_S) -> None:
        self._ask_s = ask_s
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Lines that are still to be written."""
        return len(self._tasks)

    def settle(self, ask: Ask, write: Callable[[Usage | None], None]) -> None:
        """Ask off the request's path, then `write` what was told, or None; never raises."""
        task = asyncio.get_running_loop().create_task(self._settle(ask, write))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, ask: Ask, write: Callable[[Usage | None], None]) -> None:
        told: Usage | None = None
        try:
            async with asyncio.timeout(self._ask_s):
                told = await ask()
        except Exception:  # whatever is behind `ask`: the replica is gone, or silent
            pass
        finally:
            write(told)

    async def close(self, grace_s: float = 1.0) -> None:
        """Wait no longer than that; what was not told is written as it was seen."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
