"""Single flight: callers of one exact key share one generation.

Promised: in one process always, and across processes while Redis answers, callers of a key get
one generation's answer, each from its start and at its own pace, whoever leaves. A leader that
dies, breaks off or leaves is followed by another of its callers; nobody gets a character twice or
misses one, and an answer that cannot be gone on with ends in an error. A caller generates at most
once. A Redis that is away costs at most `timing.timeout_s` and a generation per process.
Not covered: which requests may share (`cache.exact.eligible`), and what a generation is: the caller
brings it.

A flight is a task of its own. So the client of whoever leads is a caller like the others, and its
leaving cancels nothing that others wait for.
"""

import asyncio
import logging
from dataclasses import dataclass

import orjson

from cache.flight.cost import FlightResult
from cache.flight.error import from_bytes
from cache.flight.lead import Leading
from cache.flight.redis_flights import FlightEntry, Lease, RedisFlights
from cache.flight.subscribers import FlightGeneration, Generate, Subscribers, Subscription
from core.background import end
from core.call import Decision, Usage
from core.errors import EngineFailed
from core.ids import new_id
from core.log import event

log = logging.getLogger("hansom.cache")


@dataclass(slots=True)
class FlightStats:
    """Counts of one process since its start.

    `joined` of the `callers` came to a flight that was there; `detached` of the `generations`
    that began here began without Redis; a flight that changed its leader is a handover.
    """

    callers: int = 0
    joined: int = 0
    generations: int = 0
    detached: int = 0
    handovers: int = 0


class Flights:
    """The flights of one process. One per event loop."""

    def __init__(self, wire: RedisFlights) -> None:
        self.stats = FlightStats()
        self._wire = wire
        self._process = new_id()
        self._flights: dict[str, _Flight] = {}

    def join(self, key: str, generate: Generate) -> Subscription:
        """A seat in the flight for `key`; `generate` is called if this caller is to lead.

        `generate` runs in a task of its own, may be cancelled at any time, and ends with
        `Lead.land` or raises a `HansomError`.
        """
        self.stats.callers += 1
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(key, self._wire, self._process, self.stats)
            seat = flight.cabin.sit(generate)
            flight.task = asyncio.create_task(self._fly(flight))
            return seat
        self.stats.joined += 1
        return flight.cabin.sit(generate)

    async def close(self) -> None:
        """Abort what still flies and give the leases back."""
        await end(flight.task for flight in self._flights.values() if flight.task is not None)
        await self._wire.close()

    async def _fly(self, flight: "_Flight") -> None:
        """Run the flight, and leave no caller waiting when it ends."""
        try:
            await flight.fly()
        except Exception as error:
            event(log, "flight_crashed", error=repr(error))
        finally:
            # Nothing is awaited between a flight's end and this: no caller can join in between.
            del self._flights[flight.key]
            leg = flight.cabin.leg
            if leg.landing is None and leg.error is None:
                flight.cabin.fail(EngineFailed("The flight was aborted.", code="engine_failed"))


class _Flight:
    """One key's flight in one process, over as many legs as it takes."""

    def __init__(self, key: str, wire: RedisFlights, process: str, stats: FlightStats) -> None:
        self.key = key
        self.cabin = Subscribers()
        self.task: asyncio.Task[None] | None = None
        self._wire = wire
        self._process = process
        self._stats = stats
        self._given_up = ""

    async def fly(self) -> None:
        """Run generations until one completes or no caller is left."""
        while self.cabin.aboard:
            callers = max(1, len(self.cabin.aboard))
            place = await self._wire.join(self.key, new_id(), self._process, callers)
            if place is not None and place.owner == self._given_up:
                place = None  # its leader lives, but its entries are lost to us
            if place is not None and not place.leads:
                done = await self._follow(place)
            else:
                done = await self._lead(place.owner if place else "")
            if done:
                return

    def _next_leg(self) -> None:
        if self.cabin.leg.broken:
            self._stats.handovers += 1
            self.cabin.next_leg()

    async def _lead(self, token: str) -> bool:
        """Generate by the first caller that has not yet; without one give the lease back."""
        seat = next((seat for seat in self.cabin.aboard if seat.can_lead), None)
        if seat is None:
            if self.cabin.aboard:
                self.cabin.fail(EngineFailed("The stream broke off.", code="stream_broken"))
            if token:
                await self._wire.end(self.key, token, 1, b"")
            return self.cabin.leg.error is not None
        self._next_leg()
        self._stats.generations += 1
        self._stats.detached += not token
        lead = Leading(self._wire, self.cabin, self.key, self._process, token, seat)
        return await lead.fly()

    async def _follow(self, place: Lease) -> bool:
        """Read the leader's entries; False when they end without an end."""
        self._next_leg()
        leg = self.cabin.leg
        reading = asyncio.create_task(self._read(leg, place))
        checking = asyncio.create_task(self._check_in(place.owner))
        try:
            await asyncio.wait({reading, checking}, return_when=asyncio.FIRST_COMPLETED)
            # A flight that is gone may have said why, which is on its way.
            await asyncio.wait({reading}, timeout=self._wire.timing.followed_s)
        finally:
            await end([reading, checking])
        if leg.landing is not None or leg.error is not None:
            return True
        if not (checking.done() and not checking.cancelled() and checking.result()):
            self._given_up = place.owner
        self.cabin.break_off()
        return False

    async def _read(self, leg: FlightGeneration, place: Lease) -> None:
        """Take entries in until the leg ends or one is not what must come next."""
        after, at = place.start, 0
        while True:
            entries = await self._wire.read(self.key, after, self._wire.timing.lease_s)
            if entries is None:
                return
            for entry in entries:
                at, after = at + 1, entry.id
                if entry.owner != place.owner or entry.at != at or entry.gone:
                    return
                try:
                    _take(self.cabin, entry, self._process)
                except (ValueError, KeyError, TypeError) as error:
                    event(log, "flight_entry_unreadable", error=repr(error))
                    return
                if leg.landing is not None or leg.error is not None:
                    return

    async def _check_in(self, owner: str) -> bool:
        """Count this process's callers in, until the leader is no more or, True, they are not."""
        changed, landed = self.cabin.changed, False
        while True:
            changed.clear()
            callers = len(self.cabin.aboard)
            standing = await self._wire.check_in(self.key, self._process, callers)
            if not callers:
                return True
            if standing is None or standing.owner != owner:
                return False
            if landed or not (standing.alive or standing.landed):
                return False  # a flight that landed a while ago has told every reader so
            try:
                async with asyncio.timeout(self._wire.timing.lease_s / 3):
                    await changed.wait()
            except TimeoutError:
                landed = standing.landed


def _take(cabin: Subscribers, entry: FlightEntry, process: str) -> None:
    """Add one entry of a leader to the leg; raises `ValueError`, `KeyError` or `TypeError`."""
    leg = cabin.leg
    if entry.head and leg.decision is None:
        fields = orjson.loads(entry.head)
        leg.decision = Decision(**fields | {"fallbacks": tuple(fields["fallbacks"])})
    if entry.error:
        cabin.fail(from_bytes(entry.error))
    elif entry.final:
        cabin.land(entry.events, _landing(entry.final, process))
    else:
        cabin.put(entry.events)


def _landing(raw: bytes, process: str) -> FlightResult:
    """The bill as this process sees it; raises `ValueError`, `KeyError` or `TypeError`."""
    final = orjson.loads(raw)
    facts, seal = final["facts"], final["seal"]
    parts = {name: (first, count) for name, first, count in seal["parts"]}
    first, count = parts.get(process, (0, 0))
    usage = Usage(**facts["usage"])
    return FlightResult(usage, facts["cost_usd_micros"], seal["callers"], first, count)
