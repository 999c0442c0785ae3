"""One cold key, many callers: with single flight, and each generating for itself.

    python -m bench.flight

Promises: several processes with a Redis of the run's own; both cases have the same callers and
the same simulated generator, in turns, round after round; every answer is compared and every bill
added up. Callers come all at once, or after the first token, spread over the rest of one
generation. Not covered: the gateway around it, and a real engine's pace, which is less even.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from bench.load import percentile
from cache.exact.key import exact_key
from cache.flight.flights import Flights
from cache.flight.redis_flights import FlightTiming, RedisFlights
from cache.flight.subscribers import Lead
from core.call import Decision, Usage
from core.log import SystemClock
from deployments.machine.redis_server import RedisServer
from wire.whole import DONE

TTFT_S, TPOT_S, TOKENS = 0.2, 0.01, 64
PLACES = 256  # generations that the simulated engine runs; the others wait
GENERATION_S = TTFT_S + TPOT_S * (TOKENS - 1)
TOGETHER, LATER = "at once", "after the first token"
_LATER_S = TTFT_S + 0.1
_HEAD_START_S = 0.3
_COST_USD_MICROS = 64
_EVENT = b"data: " + orjson.dumps(
    {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "simulated",
     "choices": [{"index": 0, "delta": {"content": " cab"}, "finish_reason": None}]}
) + b"\n\n"  # fmt: skip
ANSWER = _EVENT * TOKENS + DONE


@dataclass(frozen=True, slots=True)
class Order:
    """What one process is to do from `start_s` (monotonic) on."""

    shared: bool
    key: str
    callers: int
    start_s: float
    arrival: str


@dataclass(frozen=True, slots=True)
class FlightSample:
    """One caller: its first and last byte after its own arrival, in seconds."""

    role: str
    first_s: float
    whole_s: float
    share_usd_micros: int
    right: bool
    behind_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FlightRow:
    """All rounds of one case and one role.

    `behind` is the first byte after the leader's own, for callers that came when it did.
    """

    arrival: str
    role: str
    callers: int
    first_p50_ms: float
    first_p99_ms: float
    behind_p50_ms: float
    behind_p99_ms: float
    whole_p50_ms: float
    whole_p99_ms: float


@dataclass(frozen=True, slots=True)
class FlightCase:
    """How the callers of a round come, and how many generations they made in each."""

    shared: bool
    arrival: str
    generations: list[int]


class FlightEngine:
    """Plays tokens at a pace; `places` generations at once in this process."""

    def __init__(self, places: int) -> None:
        self.generations = 0
        self._places = asyncio.Semaphore(places)

    async def play(self, put: Callable[[bytes], None]) -> None:
        """All tokens, each at its time."""
        async with self._places:
            self.generations += 1
            due_s = time.monotonic() + TTFT_S
            for _ in range(TOKENS):
                await asyncio.sleep(due_s - time.monotonic())
                put(_EVENT)
                due_s += TPOT_S

    async def generate(self, lead: Lead) -> None:
        """A `Generate` that plays."""
        lead.open(Decision("small", "bench", "simulated"))
        await self.play(lead.put)
        await lead.land(DONE, Usage(1, 0, TOKENS), _COST_USD_MICROS)


async def shared(flights: Flights, key: str, engine: FlightEngine) -> FlightSample:
    """A caller in a flight."""
    began_s = time.monotonic()
    seat = flights.join(key, engine.generate)
    blocks = [await seat.block()]
    first_s = time.monotonic() - began_s
    while blocks[-1]:
        blocks.append(await seat.block())
    seat.close()
    role = "leads" if seat.led else "follows"
    paid = seat.fare.share_usd_micros if seat.fare else 0
    whole_s = time.monotonic() - began_s
    return FlightSample(role, first_s, whole_s, paid, b"".join(blocks) == ANSWER)


async def alone(engine: FlightEngine) -> FlightSample:
    """A caller that generates for itself."""
    began_s = time.monotonic()
    times_s: list[float] = []
    blocks: list[bytes] = []

    def put(event: bytes) -> None:
        blocks.append(event)
        times_s.append(time.monotonic() - began_s)

    await engine.play(put)
    right = b"".join(blocks) + DONE == ANSWER
    return FlightSample("alone", times_s[0], time.monotonic() - began_s, _COST_USD_MICROS, right)


async def obey(order: Order, flights: Flights, places: int) -> tuple[int, list[FlightSample]]:
    """Generations made, and all samples."""
    engine = FlightEngine(places)

    async def caller(number: int) -> FlightSample:
        at_s = order.start_s
        if order.arrival == LATER and number:  # one in every process is there from the start
            at_s += _LATER_S + (GENERATION_S - _LATER_S) * number / order.callers
        await asyncio.sleep(max(0.0, at_s - time.monotonic()))
        if order.shared:
            return await shared(flights, order.key, engine)
        return await alone(engine)

    samples = await asyncio.gather(*(caller(number) for number in range(order.callers)))
    return engine.generations, samples


def work(url: str, places: int, line: Connection) -> None:
    """One process: an order after the other, until there is none."""

    async def run() -> None:
        flights = Flights(RedisFlights(url, SystemClock(), FlightTiming()))
        loop = asyncio.get_running_loop()
        while (order := await loop.run_in_executor(None, line.recv)) is not None:
            line.send(await obey(order, flights, places))
        await flights.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def round_of(lines: list[Connection], order: Order) -> tuple[int, list[FlightSample]]:
    """Every process at the same moment: generations and samples."""
    start_s = time.monotonic() + _HEAD_START_S
    for line in lines:
        line.send(replace(order, start_s=start_s))
    told = [line.recv() for line in lines]
    leaders_s = [one.first_s for _, some in told for one in some if one.role == "leads"]
    leader_s = min(leaders_s, default=0.0)
    samples = []
    for _, some in told:
        near = any(sample.role == "leads" for sample in some)
        named = {"follows": f"follows, {'the leader' if near else 'another'} process"}
        samples += [
            replace(one, role=named.get(one.role, one.role), behind_s=one.first_s - leader_s)
            for one in some
        ]
    return sum(generations for generations, _ in told), samples


def measure(callers: int, processes: int, rounds: int) -> tuple[list[FlightCase], list[FlightRow]]:
    """Start everything, and run all cases in every round."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="hansom-bench-") as folder:
        server = RedisServer(Path(folder), Path(folder) / "redis.sock")
        server.start()
        pairs = [context.Pipe() for _ in range(processes)]
        workers = [
            context.Process(target=work, args=(server.url, PLACES // processes, theirs))
            for _, theirs in pairs
        ]
        for worker in workers:
            worker.start()
        lines = [ours for ours, _ in pairs]
        try:
            return in_turns(lines, callers // processes, rounds)
        finally:
            for line in lines:
                line.send(None)
            for worker in workers:
                worker.join()
            server.stop()


def in_turns(
    lines: list[Connection], callers: int, rounds: int
) -> tuple[list[FlightCase], list[FlightRow]]:
    """`callers` in every process; raises `RuntimeError` for a wrong answer or a wrong bill."""
    cases = [FlightCase(share, come, []) for come in (TOGETHER, LATER) for share in (True, False)]
    samples: dict[tuple[str, str], list[FlightSample]] = {}
    round_of(lines, Order(True, _key(), 1, 0.0, LATER))  # opens connections
    for number in range(rounds):
        for case in cases if number % 2 == 0 else reversed(cases):
            made, found = round_of(lines, Order(case.shared, _key(), callers, 0.0, case.arrival))
            case.generations.append(made)
            if not all(sample.right for sample in found):
                raise RuntimeError("an answer has tokens missing or twice")
            if sum(sample.share_usd_micros for sample in found) != _COST_USD_MICROS * made:
                raise RuntimeError("the shares do not add up to the cost")
            for sample in found:
                samples.setdefault((case.arrival, sample.role), []).append(sample)
    return cases, [_row(*name, found) for name, found in sorted(samples.items())]


def _row(arrival: str, role: str, found: list[FlightSample]) -> FlightRow:
    compared = arrival == TOGETHER and role != "alone"
    behind_s = [sample.behind_s if compared else math.nan for sample in found]
    times_s = ([one.first_s for one in found], behind_s, [one.whole_s for one in found])
    shown = [percentile(values, share) * 1e3 for values in times_s for share in (0.5, 0.99)]
    return FlightRow(arrival, role, len(found), *shown)


def _key() -> str:
    return exact_key({"n": uuid.uuid4().hex}, endpoint="e", tenant="bench", policy_version="1")


def table(rows: list[FlightRow]) -> Table:
    """The rows, in milliseconds."""
    whats = ("first byte", "behind", "whole")
    heads = [f"{what} {share}" for what in whats for share in ("p50", "p99")]
    shown = Table("callers come", "and", "callers", *heads, title="milliseconds")
    for row in rows:
        arrival, role, callers, *times = astuple(row)
        told = ["–" if math.isnan(time_ms) else f"{time_ms:,.1f}" for time_ms in times]
        shown.add_row(arrival, role, f"{callers:,}", *told)
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.flight", description=__doc__)
    parser.add_argument("--callers", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    cases, rows = measure(given.callers, given.processes, given.rounds)
    if given.json:
        print(json.dumps({"cases": [asdict(c) for c in cases], "rows": [asdict(r) for r in rows]}))
        return
    console = Console(width=150)
    for case in cases:
        made = ", ".join(f"{count:,}" for count in case.generations)
        how = "one key, single flight" if case.shared else "each for itself"
        console.print(f"{how}, {case.arrival}: generations made in each round: {made}")
    console.print(table(rows))
    console.print(f"load average before: {load_before:.1f}")


if __name__ == "__main__":
    main()
