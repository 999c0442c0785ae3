"""Lead a flight: write one generation to Redis for its followers.

Promised: the callers of this process get events at once and wait for Redis only at the end, for
the bill. Events go to Redis in the order in which they came, the first at once, later ones
together. Without callers here or elsewhere the generation is cancelled. A Redis that fails, or a
lease that is lost, ends the writing and nothing else.
Not covered: an answer's size, which the tier's own output limit bounds, and a bill whose writing
Redis did but did not confirm in time: then both sides split it, and the shares exceed the cost.
"""

import asyncio
from contextlib import suppress

import orjson

from cache.flight.cost import CostShare, FlightResult
from cache.flight.error import to_bytes
from cache.flight.redis_flights import RedisFlights, SharedBill
from cache.flight.subscribers import Subscribers, Subscription
from core.background import end
from core.call import Decision, Usage
from core.errors import DeadlineExceeded, EngineFailed, HansomError


class Leading:
    """`cache.flight.subscribers.Lead` of one leg. An empty `token` leads for this process alone."""

    def __init__(
        self,
        wire: RedisFlights,
        cabin: Subscribers,
        key: str,
        process: str,
        token: str,
        seat: Subscription,
    ) -> None:
        self._wire = wire
        self._cabin = cabin
        self._leg = cabin.leg
        self._key = key
        self._process = process
        self._token = token
        self._seat = seat
        self._head = b""
        self._sent = 0
        self._at = 1
        self._others = 0
        self._landing = False
        self._writing = asyncio.Lock()
        self._due: asyncio.TimerHandle | None = None
        self._wrote_s = 0.0

    def open(self, decision: Decision) -> None:
        """See `Lead`."""
        self._leg.decision = decision
        self._head = orjson.dumps(decision)

    def put(self, events: bytes) -> None:
        """See `Lead`."""
        self._cabin.put(events)
        if self._due is None and self._token:
            loop = asyncio.get_running_loop()
            timing = self._wire.timing
            pause_s = timing.followed_s if self._others else timing.alone_s
            self._due = loop.call_at(self._wrote_s + pause_s, self._ring)

    async def land(self, events: bytes, usage: Usage, cost_usd_micros: int) -> CostShare:
        """See `Lead`."""
        self._landing = True
        callers = self._callers()
        seal = None
        if self._token:
            facts = orjson.dumps({"usage": usage, "cost_usd_micros": cost_usd_micros})
            # Whether an answer that did not come was given cannot be known but by asking again; the
            # followers, who read it, would pay for what these callers pay, too.
            seal = await self._seal(callers, events, facts)
            seal = seal or await self._seal(callers, events, facts)
            self._token = ""
        seal = seal or SharedBill(callers, {})
        landing = FlightResult(usage, cost_usd_micros, seal.callers, 0, callers)
        return self._cabin.land(events, landing, self._seat)

    async def _seal(self, callers: int, events: bytes, facts: bytes) -> SharedBill | None:
        """Put the last entry and the bill into the stream; None when that did not work."""
        try:
            async with asyncio.timeout(self._wire.timing.timeout_s), self._writing:
                last = (self._unsent() + events, self._opening(), facts)
                return await self._wire.land(
                    self._key, self._token, self._process, callers, self._at, last
                )
        except TimeoutError:
            return None

    async def fly(self) -> bool:
        """Generate; whether everybody has what they wait for. Otherwise another must lead.

        Cancelled, it gives the lease back before it ends.
        """
        generating = asyncio.ensure_future(self._seat.take_lead()(self))
        writing = asyncio.create_task(self._write_on())
        try:
            await asyncio.wait({generating, writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end([writing, generating])
            if self._due is not None:
                self._due.cancel()
            if self._leg.landing is None:
                await self._fail(_reason(generating))
        return not self._leg.broken

    async def _fail(self, error: HansomError | None) -> None:
        """Give up: for everyone when all tiers refused, else for another caller to try.

        A stream that broke or ran out of its own time says nothing of what another would get.
        """
        final = error and self._leg.decision is None and not isinstance(error, DeadlineExceeded)
        others = self._others or any(seat.can_lead for seat in self._cabin.aboard)
        if error and (final or not others):
            self._cabin.fail(error)
        else:
            self._cabin.break_off()
        if self._token:
            said = to_bytes(error) if error and final else b""
            await self._wire.end(self._key, self._token, self._at, said)

    async def _write_on(self) -> None:
        """Write, renew and count until no caller is left."""
        loop, changed = asyncio.get_running_loop(), self._cabin.changed
        renew_s = loop.time() + self._wire.timing.lease_s / 3
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(renew_s):
                    await changed.wait()
            changed.clear()
            unsent = self._sent < len(self._leg.blocks)
            if unsent or self._empty() or loop.time() >= renew_s:
                renew_s = loop.time() + self._wire.timing.lease_s / 3
                async with self._writing:
                    await self._write()
            if not self._landing and self._empty() and not self._others:
                return

    async def _write(self) -> None:
        if self._landing or not self._token:
            return
        events = self._unsent()
        sent = len(self._leg.blocks)
        self._wrote_s = asyncio.get_running_loop().time()
        others = await self._wire.append(
            self._key, self._token, self._process, self._at, events, self._opening()
        )
        if others is None:
            self._token, self._others = "", 0
            return
        self._others = others
        self._at += bool(events)
        self._sent = sent

    def _opening(self) -> bytes:
        return self._head if self._at == 1 else b""

    def _unsent(self) -> bytes:
        return b"".join(self._leg.blocks[self._sent :])

    def _ring(self) -> None:
        self._due = None
        self._cabin.changed.set()

    def _callers(self) -> int:
        """Count the callers of this process; the leader counts also when its client has left."""
        return len(self._cabin.aboard) + (self._seat not in self._cabin.aboard)

    def _empty(self) -> bool:
        return not self._cabin.aboard


def _reason(generating: asyncio.Future[None]) -> HansomError | None:
    """Why it ended without an answer; None for an abort."""
    if generating.cancelled():
        return None
    error = generating.exception()
    if error is None:
        return EngineFailed("The generation ended without an answer.", code="engine_failed")
    if isinstance(error, HansomError):
        return error
    return EngineFailed(f"The generation failed ({type(error).__name__}).", code="internal")
