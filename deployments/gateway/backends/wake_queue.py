"""Hold calls to a tier without a replica, and wake it once.

How many wait, and their prompt tokens, are noted on the shelf that the scaling policy hears from
(`autoscale.live.record_store`): the first at once, changes behind it, and a renewal every second.
Where the policy has not answered after `KICK_AFTER_S`, an ordinary call through Serve's handle
starts a replica by Serve's own rule instead.

Promises: nothing is written while nobody is held; a call that leaves is not counted any more; the
callers come out in the order in which they came in; nothing here raises into them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import orjson

from autoscale.live.observe import HeldCalls
from autoscale.live.record_store import KeyValue, held_key, held_note, record_key

POLL_S = 0.02
NOTE_EVERY_S = 0.05
RENEW_S = 1.0
KICK_AFTER_S = 2.0
NUDGE_S = 1.0


class WakeQueue:
    """The held calls of one gateway for one tier. `kick` starts a replica whatever the policy."""

    def __init__(
        self, tier: str, shelf: KeyValue, gateway: str, kick: Callable[[], Awaitable[object]]
    ) -> None:
        self._tier = tier
        self._key = held_key(tier, gateway)
        self._shelf = shelf
        self._kick = kick
        self._calls = self._tokens = 0
        self._noted = (0, 0)
        self._number = 0
        self._turn: asyncio.Future[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._nudging: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()  # a note must not be overtaken by an older one's removal

    @property
    def calls(self) -> int:
        """Calls that wait now."""
        return self._calls

    @contextmanager
    def hold(self, tokens: int) -> Iterator[None]:
        """Count one call with so many prompt tokens as held."""
        self._calls += 1
        self._tokens += tokens
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._calls -= 1
            self._tokens -= tokens

    def warm_up(self) -> None:
        """Wake the tier for a call that another one takes, as this one would be late."""
        if self._calls == 0:
            self._nudging = asyncio.create_task(self._nudge())

    async def _nudge(self) -> None:
        with self.hold(0):
            await asyncio.sleep(NUDGE_S)

    async def wait_turn(self) -> None:
        """Until it is time to look for a replica again."""
        if self._turn is None:
            self._turn = asyncio.get_running_loop().create_future()
        # Shared: one caller that leaves must not cancel it for the others.
        await asyncio.shield(self._turn)

    async def close(self) -> None:
        """Stop; calls that still wait have their own deadlines."""
        tasks = [task for task in (self._nudging, self._running) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self) -> None:
        """While calls are held: give turns, and tell of them."""
        telling = asyncio.create_task(self._tell())
        try:
            while self._calls:
                await asyncio.sleep(POLL_S)
                turn, self._turn = self._turn, None
                if turn is not None:
                    turn.set_result(None)
                    await asyncio.sleep(0)  # they count themselves out before we look
        finally:
            self._running = None
            telling.cancel()
            await asyncio.wait({telling})
            async with self._writing:
                if self._running is None:  # none has come meanwhile
                    with suppress(Exception):
                        await asyncio.to_thread(self._shelf.delete, self._key)

    async def _tell(self) -> None:
        """Write the held calls when they change, and wake Serve when no policy answers."""
        loop = asyncio.get_running_loop()
        begun_s, noted_s, kicking = loop.time(), float("-inf"), None
        try:
            while True:
                now, now_s = (self._calls, self._tokens), loop.time()
                if now != self._noted or now_s - noted_s >= RENEW_S:
                    self._noted, noted_s = now, now_s
                    async with self._writing:
                        with suppress(Exception):
                            await asyncio.to_thread(self._note, HeldCalls(*now))
                if kicking is None and now_s - begun_s >= KICK_AFTER_S:
                    begun_s = now_s
                    if not await asyncio.to_thread(self._answered):
                        kicking = asyncio.ensure_future(self._kick())
                await asyncio.sleep(NOTE_EVERY_S)
        finally:
            self._noted = (0, 0)
            if kicking is not None:
                kicking.cancel()

    def _note(self, held: HeldCalls) -> None:
        self._number += 1
        self._shelf.put(self._key, held_note(held, self._number))

    def _answered(self) -> bool:
        """Whether the policy wants a replica."""
        try:
            record = orjson.loads(self._shelf.get(record_key(self._tier)) or b"{}")
            return int(record["wanted"]["replicas"]) > 0
        except Exception:  # no record and no store: no policy answers
            return False
