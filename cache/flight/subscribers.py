"""The callers of one key in one process, and the events that each of them gets.

Promised: events are kept once, whoever reads them, and a caller holds no more than how far it
has read: it may be slow without anybody waiting and without memory. A caller is given one whole
answer, from its start, or an error; when the generation changes under it, it is given the rest of
the new one only if that goes on from what it has (`cache.flight.rejoin`).
Not covered: deadlines, which are the caller's; who leads (`cache.flight.flights`).
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Protocol

from cache.flight.cost import CostShare, FlightResult
from cache.flight.rejoin import Differs, Rejoin
from core.call import Decision, Usage
from core.errors import EngineFailed, HansomError


class Lead(Protocol):
    """What a generation tells of itself."""

    def open(self, decision: Decision) -> None:
        """Say where the answer comes from, before its first events."""

    def put(self, events: bytes) -> None:
        """Add whole events, as they are kept for the cache."""

    async def land(self, events: bytes, usage: Usage, cost_usd_micros: int) -> CostShare:
        """Add the last events, `[DONE]` among them, and get the bill; the leader's own share."""


Generate = Callable[[Lead], Awaitable[None]]


class FlightGeneration:
    """One generation as it comes in.

    It is open while none of `landing`, `error` and `broken` is set. A broken one is followed by
    another leg, or by an error when no caller can generate any more.
    """

    __slots__ = ("blocks", "broken", "decision", "error", "landing")

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.decision: Decision | None = None
        self.landing: FlightResult | None = None
        self.error: HansomError | None = None
        self.broken = False


class Subscribers:
    """The callers aboard and the leg they are on. `changed` is set when somebody comes or goes."""

    def __init__(self) -> None:
        self.leg = FlightGeneration()
        self.aboard: dict[Subscription, None] = {}
        self.changed = asyncio.Event()
        # Whole answers are waited for apart, or each of their callers would wake for every token.
        self._news, self._turn = asyncio.Event(), asyncio.Event()

    def sit(self, generate: Generate) -> "Subscription":
        """A seat for a caller that could itself generate the answer by `generate`."""
        seat = Subscription(self, generate)
        self.aboard[seat] = None
        self.changed.set()
        return seat

    def depart(self, seat: "Subscription") -> None:
        """The caller has left."""
        if seat in self.aboard:
            del self.aboard[seat]
            self.changed.set()

    def next_leg(self) -> FlightGeneration:
        """The leg that follows a broken one."""
        self.leg = FlightGeneration()
        self._turn_over()
        return self.leg

    def break_off(self) -> None:
        """The leg ends without an end."""
        self.leg.broken = True
        self._turn_over()

    async def news(self) -> None:
        """Wait until there is something new."""
        await self._news.wait()

    async def turn(self) -> None:
        """Wait until the leg has ended, or another began."""
        await self._turn.wait()

    def put(self, events: bytes) -> None:
        """Add events to the leg."""
        if events:
            self.leg.blocks.append(events)
            self._wake()

    def fail(self, error: HansomError) -> None:
        """End the leg with an error for everyone."""
        self.leg.error = error
        self._turn_over()

    def land(
        self, events: bytes, landing: FlightResult, leader: "Subscription | None" = None
    ) -> CostShare:
        """End the leg with its last events and the bill; the first fare, for the leader.

        A leader whose client has left still pays.
        """
        payers = [seat for seat in self.aboard if seat is not leader]
        if leader is not None:
            payers.insert(0, leader)
        fares = landing.fares(len(payers))
        for seat, fare in zip(payers, fares, strict=True):
            seat.fare = fare
        self.leg.landing = landing
        if events:
            self.leg.blocks.append(events)
        self._turn_over()
        return fares[0] if fares else landing.fare(0)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _turn_over(self) -> None:
        self._turn.set()
        self._turn = asyncio.Event()
        self._wake()


class Subscription:
    """One caller. Reads its answer by `block` or `whole`, not both; `close` it in any case."""

    def __init__(self, cabin: Subscribers, generate: Generate) -> None:
        self.fare: CostShare | None = None
        self._cabin = cabin
        self._generate: Generate | None = generate
        self._leg = cabin.leg
        self._read = 0
        self._rejoin: Rejoin | None = None
        self._given: list[bytes] = []

    @property
    def can_lead(self) -> bool:
        """Whether no subscriber's way of generating has been used yet."""
        return self._generate is not None

    @property
    def led(self) -> bool:
        """The answer, or a part of it, was generated by this caller."""
        return self._generate is None

    @property
    def decision(self) -> Decision | None:
        """Where the answer comes from; known with its first events."""
        return self._leg.decision

    def take_lead(self) -> Generate:
        """Its way of generating, which is used at most once; raises `ValueError` if it was."""
        if self._generate is None:
            raise ValueError("this caller has generated already")
        generate, self._generate = self._generate, None
        return generate

    async def block(self) -> bytes:
        """The next whole events, all that there are; empty at the end, when `fare` is known.

        Raises the `HansomError` that ended the generation, or one of our own with the code
        `stream_broken` for an answer that cannot be gone on with.
        """
        while True:
            self._follow()
            leg = self._leg
            # What a broken leg has left would only make it harder to go on from there.
            if self._read < len(leg.blocks) and (not leg.broken or leg.error):
                if events := self._next(leg):
                    return events
            elif self._ended(leg):
                return b""
            else:
                await self._cabin.news()

    async def whole(self) -> list[bytes]:
        """All events of a whole answer; raises as `block` does."""
        while True:
            leg = self._leg = self._cabin.leg
            if self._ended(leg):
                return leg.blocks
            await self._cabin.turn()

    def close(self) -> None:
        """The caller needs nothing more; with the last one the generation is aborted."""
        self._cabin.depart(self)

    def _ended(self, leg: FlightGeneration) -> bool:
        """Whether it has landed; raises the error that it ended in."""
        if leg.landing is not None:
            self.fare = self.fare or leg.landing.fare(0)
            return True
        if leg.error is not None:
            # Each its own: a traceback grows wherever an exception is raised.
            raise copy.copy(leg.error)
        return False

    def _follow(self) -> None:
        """Change to the leg that the others are on; what was given stays given."""
        if self._leg is self._cabin.leg:
            return
        if self._rejoin is None:
            self._given = self._leg.blocks[: self._read]
        self._leg, self._read = self._cabin.leg, 0
        if self._given:
            try:
                self._rejoin = Rejoin(self._given)
            except Differs as error:
                raise _broken() from error

    def _next(self, leg: FlightGeneration) -> bytes:
        events = b"".join(leg.blocks[self._read :])
        self._read = len(leg.blocks)
        if self._rejoin is None:
            return events
        try:
            events = self._rejoin.feed(events)
        except Differs as error:
            raise _broken() from error
        if events:
            self._given.append(events)
        return events


def _broken() -> EngineFailed:
    return EngineFailed(
        "The stream broke after its first token, and another generation of the same request says "
        "something else; what came before is all there is. Send the request again.",
        code="stream_broken",
    )
