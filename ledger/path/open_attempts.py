"""List attempts in progress, so that a gateway's death does not lose them.

Promises: an attempt that lasts longer than `linger_s` is on the list until its line has been
recorded for `hold_s`, so that the line is in the stream or in the spool before the list forgets
it; a list that is not reachable costs nothing, and is written afresh once it is: nobody knows what
of a mark that failed has arrived, nor what a list that was away still has.
Not covered: attempts that a gateway began within its last `linger_s`; closing those that a dead
gateway left (`deployments.ledger.sweep`).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from core.background import end
from core.ledger_line import LedgerLine

Provisional = Callable[[], LedgerLine]


class OpenList(Protocol):
    """Where open attempts of this gateway are listed; see `redis_open_attempts.RedisOpenList`."""

    async def mark(
        self, opened: Mapping[str, bytes], closed: Sequence[str], *, afresh: bool = False
    ) -> None:
        """Add and remove entries, and say that this gateway lives; any exception means: not now.

        `afresh` says that `opened` is all that is open: whatever else is listed goes.
        """

    async def leave(self) -> None:
        """This gateway ends well: forget it and what it lists."""

    async def close(self) -> None:
        """Close the connections."""


class OpenAttempts(Protocol):
    """Where attempts say that they begin and end."""

    def begin(self, id: str, provisional: Provisional) -> None:
        """An attempt goes to an engine; `provisional` makes the line that stands if all is lost."""

    def end(self, id: str) -> None:
        """Its line has been recorded."""


class Unlisted:
    """Keeps no list."""

    def begin(self, id: str, provisional: Provisional) -> None:
        """Nothing."""

    def end(self, id: str) -> None:
        """Nothing."""


NO_LIST = Unlisted()


class OpenAttemptWriter:
    """One gateway's open attempts; `start` begins to tell `listed` of them."""

    def __init__(
        self,
        listed: OpenList,
        *,
        linger_s: float = 0.02,
        hold_s: float = 1.0,
        alive_every_s: float = 3.0,
        timeout_s: float = 1.0,
    ) -> None:
        self._listed = listed
        self._linger_s = linger_s
        self._hold_s = hold_s
        self._alive_every_s = alive_every_s
        self._timeout_s = timeout_s
        self._opening: dict[str, Provisional] = {}
        self._known: dict[str, bytes] = {}
        self._closing: dict[str, tuple[float, bytes]] = {}
        self._afresh = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="open-attempts")

    def begin(self, id: str, provisional: Provisional) -> None:
        """An attempt goes to an engine; `provisional` makes the line that stands if all is lost."""
        self._opening[id] = provisional
        self._wake.set()

    def end(self, id: str) -> None:
        """Its line has been recorded."""
        if self._opening.pop(id, None) is None and (raw := self._known.pop(id, None)) is not None:
            self._closing[id] = asyncio.get_running_loop().time(), raw

    async def close(self) -> None:
        """Every line is where it belongs: nothing is left open."""
        if self._task is not None:
            await end([self._task])
        with suppress(Exception):  # then the sweep finds lines that are known
            async with asyncio.timeout(self._timeout_s):
                await self._listed.leave()
        await self._listed.close()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._alive_every_s):
                    await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(self._linger_s)
            await self._mark()

    async def _mark(self) -> None:
        closed = self._held()
        opened = self._newly_open()
        if afresh := self._afresh:
            opened = self._known | {id: raw for id, (_, raw) in self._closing.items()}
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._listed.mark(opened, closed, afresh=afresh)
        except Exception:  # whatever client library is behind the list
            self._afresh = True
        else:
            self._afresh = False

    def _held(self) -> list[str]:
        """Those whose lines have been recorded long enough; they are forgotten here."""
        now_s = asyncio.get_running_loop().time()
        closed = [id for id, (at_s, _) in self._closing.items() if now_s - at_s >= self._hold_s]
        for id in closed:
            del self._closing[id]
        return closed

    def _newly_open(self) -> dict[str, bytes]:
        opening, self._opening = self._opening, {}
        opened = {}
        for id, make in opening.items():
            with suppress(TypeError):  # not to be written as JSON: it will have no line either
                opened[id] = make().to_bytes()
        self._known |= opened
        return opened
