"""Queue requests for a simulated engine by vLLM's priority scheduling.

Promises: who waits comes by priority, a lower one first, then by arrival; a place that is given to
one that has left is given to the next.
Not covered: preemption, as a simulated engine is never short of KV cache.
"""

import asyncio
from heapq import heappop, heappush
from itertools import count


class EngineSlots:
    """A fixed number of slots; `acquire` waits for one, `release` gives it to the next."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def locked(self) -> bool:
        """Whether one that comes now waits."""
        return self._free == 0

    async def acquire(self, priority: int = 0) -> None:
        """Take a place."""
        if self._free:  # then no request waits
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (priority, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the place had just been given to it
                self.release()
            raise

    def release(self) -> None:
        """Give a place back."""
        while self._waiting:
            *_, turn = heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
