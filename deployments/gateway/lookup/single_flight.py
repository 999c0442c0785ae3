"""Share one generation among calls that want the same answer at the same time.

Promises: callers of one exact key get one generation's answer, each in the form that it asked for
and from its start; the generation's own ledger lines are as without sharing, so that they add up
to what the engines made, and each caller who joined has a line of kind `joined` with its share,
which the leader's line of kind `credit` takes off. Whatever ends a caller, it leaves its seat and,
unless it led, its line.
Not covered: who leads, hand-over and Redis (`cache.flight.flights`).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

import orjson

from cache.flight.cost import CostShare
from cache.flight.flights import Flights
from cache.flight.subscribers import Lead, Subscription
from core.call import Call, Decision, Lane, Usage
from core.errors import EngineFailed, HansomError
from core.ledger_line import Kind, Outcome
from deployments.gateway.attempt import Attempt, Recorder
from deployments.gateway.backends.generate import Miss, ShareListener, deadline_exceeded
from deployments.gateway.reply import Reply, closing_object, headers
from deployments.gateway.tracing import trace
from wire.relay import SseRelay, error_event, payload, split
from wire.whole import DONE, assemble, replay

Result = TypeVar("Result")
Alone = Callable[[Call, Miss, ShareListener], Awaitable[Reply]]
# The credit's place among its call's lines, beyond every attempt to answer and every question.
_CREDIT = 1010
_ERROR = b'data: {"error"'


class SingleFlight:
    """Joins the calls of one gateway; `alone` answers a call without sharing."""

    def __init__(self, recorder: Recorder, flights: Flights, alone: Alone) -> None:
        self._recorder = recorder
        self._flights = flights
        self._alone = alone

    async def ride(self, call: Call, miss: Miss) -> Reply:
        """The answer of the key's one generation; raises `HansomError` for the client."""
        assert miss.store_key is not None  # what may not be stored is not shared
        generation = _Generation(self._recorder, call, miss, self._alone)
        seat = self._flights.join(_flight(call, miss.store_key), generation.lead)
        rider = _SharedCall(self._recorder, call, seat)
        try:
            if call.stream:
                return await self._begin(call, seat, rider)
            events = await rider.within(seat.whole())
        except BaseException as error:
            rider.leave(error)
            raise
        return self._whole(call, rider, generation.body or orjson.dumps(assemble(events)))

    def _whole(self, call: Call, rider: "_SharedCall", body: bytes) -> Reply:
        fare, decision = rider.arrive()
        tier = self._recorder.settings.tier(decision.tier)
        cost = fare.share_usd_micros
        return Reply(
            200,
            body,
            headers(call, decision, tier, cache=rider.cache, cost_usd_micros=cost),
        )

    async def _begin(self, call: Call, seat: Subscription, rider: "_SharedCall") -> Reply:
        """Wait for the first events, so that a generation that fails before is an HTTP error."""

        def closing(_usage: Usage) -> dict[str, object]:
            share = seat.fare.share_usd_micros if seat.fare else 0
            tier = self._recorder.settings.tier(rider.decision.tier)
            return closing_object(call, tier, cache=rider.cache, cost_usd_micros=share)

        relay = SseRelay(want_usage=call.include_usage, keep=False, closing=closing)
        first = b""
        while not first and not relay.finished:
            first = relay.feed(await rider.within(seat.block()))
        rider.begin()
        body = _pass_on(seat, rider, relay, first)
        await anext(body)  # closing a generator that never began would leave no seat
        tier = self._recorder.settings.tier(rider.decision.tier)
        return Reply(200, body, headers(call, rider.decision, tier, cache=rider.cache))


def _flight(call: Call, store_key: str) -> str:
    """Key the calls that share a generation: equal requests of one lane and one output bound.

    Nobody who waits for an answer now gets into a flight that waits behind others, and nobody's
    answer ends where another caller's budget does.
    """
    key = store_key if call.lane is Lane.INTERACTIVE else f"{store_key}:{call.lane}"
    caps = sorted(call.output_caps.items())
    return f"{key}:{caps}" if caps else key


class _Generation:
    """One caller's way of generating: the whole path, told to the flight as it goes."""

    def __init__(self, recorder: Recorder, call: Call, miss: Miss, alone: Alone) -> None:
        self.body = b""
        self._recorder = recorder
        # Others may want the usage that this caller did not ask for.
        self._call = replace(call, include_usage=True)
        self._miss = miss
        self._alone = alone
        self._told = _ShareRecorder()
        self._trace = trace.current()

    async def lead(self, lead: Lead) -> None:
        """Generate for everyone; raises `HansomError`."""
        with trace.active(self._trace):  # a flight's task may be another caller's
            await self._lead(lead)

    async def _lead(self, lead: Lead) -> None:
        told = self._told
        told.lead = lead
        reply = await self._alone(self._call, self._miss, told)
        if isinstance(reply.body, bytes):
            events = b"".join(replay(orjson.loads(reply.body), include_usage=True))
            self.body = reply.body
            self._credit(await lead.land(events, told.usage, told.cost_usd_micros))
            return
        async with aclosing(reply.body) as blocks:
            async for block in blocks:
                if _ERROR in block:
                    lead.put(b"".join(one for one in split(block) if not one.startswith(_ERROR)))
                    raise _fault(block)
                if DONE in block:
                    self._credit(await lead.land(block, told.usage, told.cost_usd_micros))
                elif block:
                    lead.put(block)

    def _credit(self, fare: CostShare) -> None:
        """Take off what the others pay, also when this caller's client has left."""
        if fare.callers > 1 and self._told.decision is not None:
            line = _line(self._recorder, self._call, self._told.decision, Kind.CREDIT, _CREDIT)
            shared = fare.share_usd_micros - fare.cost_usd_micros
            line.close(Outcome.SUCCESS, Usage(), served=False, share_usd_micros=shared)


class _ShareRecorder:
    """`ShareListener` of the generation."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.cost_usd_micros = 0
        self.lead: Lead | None = None
        self.decision: Decision | None = None

    def opened(self, decision: Decision) -> None:
        """See `ShareListener`."""
        self.decision = decision
        if self.lead is not None:
            self.lead.open(decision)

    def settled(self, usage: Usage, cost_usd_micros: int) -> None:
        """See `ShareListener`."""
        self.usage, self.cost_usd_micros = usage, cost_usd_micros


class _SharedCall:
    """One caller: its time, its seat, and the line that it leaves."""

    def __init__(self, recorder: Recorder, call: Call, seat: Subscription) -> None:
        self._recorder = recorder
        self._call = call
        self._seat = seat
        self._attempt: Attempt | None = None
        self._done = False

    @property
    def decision(self) -> Decision:
        """The generation's decision; None before it is known."""
        first = self._recorder.settings.tiers[0].name
        return self._seat.decision or Decision(first, "joined", "the answer had not begun")

    @property
    def cache(self) -> str:
        """What the header says."""
        if not self._seat.led:
            return "flight"
        return "semantic" if self.decision.code == "cache_semantic" else "miss"

    async def within(self, answer: Awaitable[Result]) -> Result:
        """Wait no longer than the call has left; raises `DeadlineExceeded`."""
        left_s = self._call.arrived_s + self._call.deadline_s - self._recorder.clock.monotonic_s()
        try:
            async with asyncio.timeout(max(left_s, 0.001)):
                return await answer
        except TimeoutError:
            raise deadline_exceeded(self._call) from None

    def begin(self) -> None:
        """The first events are there."""
        self._line().first_byte()

    def arrive(self) -> tuple[CostShare, Decision]:
        """The whole answer is the client's."""
        fare = self._seat.fare
        assert fare is not None  # the seat has read to the end
        self._leave(Outcome.SUCCESS, fare)
        return fare, self.decision

    def leave(self, error: BaseException) -> None:
        """Something ended the call before its answer did."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._leave(Outcome.CANCELLED)
        else:
            code = error.code if isinstance(error, HansomError) else type(error).__name__
            late = code == "deadline_exceeded"
            self._leave(Outcome.TIMEOUT if late else Outcome.ERROR, error=code)

    def _leave(
        self, outcome: Outcome, fare: CostShare | None = None, error: str | None = None
    ) -> None:
        if self._done:
            return
        self._done = True
        self._seat.close()
        self._recorder.metrics.flights.labels("led" if self._seat.led else "joined").inc()
        if not self._seat.led:
            usage, share = (fare.usage, fare.share_usd_micros) if fare else (Usage(), 0)
            self._line().close(outcome, usage, error=error, cache="flight", share_usd_micros=share)

    def _line(self) -> Attempt:
        if self._attempt is None:
            self._attempt = _line(self._recorder, self._call, self.decision, Kind.JOINED, 0)
        return self._attempt


def _line(recorder: Recorder, call: Call, decision: Decision, kind: Kind, number: int) -> Attempt:
    return Attempt(recorder, call, decision, recorder.settings.tier(decision.tier), kind, number)


async def _pass_on(
    seat: Subscription, rider: _SharedCall, relay: SseRelay, first: bytes
) -> AsyncGenerator[bytes, None]:
    """The stream from its first events to its end, and the rider's line however it ends."""
    try:
        yield b""  # taken by whoever opens it
        yield first
        while not relay.finished:
            block = await rider.within(seat.block())
            if not block:
                raise EngineFailed("The stream ended early.", code="stream_broken")
            if events := relay.feed(block):
                if relay.complete:  # also for a client that hangs up on the last events
                    rider.arrive()
                yield events
        rider.arrive()
    except HansomError as error:
        rider.leave(error)
        yield error_event(error)
    except BaseException as error:
        rider.leave(error)
        raise


def _fault(block: bytes) -> HansomError:
    """The error that an event tells."""
    events = (one for one in split(block) if one.startswith(_ERROR))
    told = payload(next(events)).get("error")
    told = told if isinstance(told, dict) else {}
    fault = EngineFailed(str(told.get("message") or "The stream broke."))
    fault.code = str(told.get("code") or "") or fault.code
    return fault
