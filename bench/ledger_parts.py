"""The processes of `bench.ledger`: who makes lines, who drains them, and the peer.

Promises: each runs in a process of its own, as a gateway, the ledger's deployment and a gateway of
the peer's kind would, and takes the code that those run. Not covered: starting them.
"""

import asyncio
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from sqlalchemy import insert

from core.call import Usage
from core.ids import new_id
from core.ledger_line import Kind, LedgerLine
from ledger.path.drain import drain_forever
from ledger.path.redis_stream import RedisStream, StreamReader
from ledger.path.schema import LINES
from ledger.path.spool import Spool
from ledger.path.sql_store import SqlStore
from ledger.path.writer import StreamWriter

STREAM = "bench:ledger"
_TICK_S = 0.001
_MOST_AT_ONCE = 64  # a gateway settles requests one by one; more would hold the loop up by itself


@dataclass(frozen=True, slots=True)
class Driven:
    """What a driver saw: `lost` lines are not in the stream at its end.

    `record_us` are p50 and p99 of one call, `lag_ms` of how late the event loop wakes a task.
    """

    lines: int
    lost: int
    seconds: float
    record_us: tuple[float, float]
    lag_ms: tuple[float, float]
    cpu_us: float


def a_line() -> LedgerLine:
    """A line as a routed chat request leaves it: about 870 bytes as JSON."""
    return LedgerLine(
        call_id=new_id(),
        request_id=new_id(),
        attempt=0,
        kind=Kind.ANSWER,
        tenant="key-0123456789abcdef",
        endpoint="chat/completions",
        requested="auto",
        tier="small",
        model="Qwen2.5-0.5B-Instruct",
        key="k-123456",
        team="search",
        tags=("nightly", "summaries"),
        route_code="score_below_threshold",
        route_reason="score 0.31 is below the threshold of 0.52",
        difficulty=0.31,
        router_version="v2/a",
        model_version="abcdef012345/w8a8",
        prompt_version="7",
        price_version="2026-11",
        usage=Usage(312, 128, 187),
        cost_usd_micros=123,
        saved_usd_micros=800,
        stream=True,
        queue_s=0.0021,
        ttft_s=0.131,
        tpot_s=0.0123,
        total_s=2.31,
        cache="miss",
        created_s=time.time(),
    )


def drive(redis_url: str, folder: Path, rate: float, seconds: float, *, writing: bool) -> Driven:
    """Make `rate` lines/s for `seconds`, and record them when `writing`."""
    return asyncio.run(_drive(redis_url, folder, rate, seconds, writing=writing))


async def _drive(
    redis_url: str, folder: Path, rate: float, seconds: float, *, writing: bool
) -> Driven:
    logging.getLogger("hansom.ledger").setLevel(logging.CRITICAL)  # lost lines are counted below
    writer = StreamWriter(RedisStream(redis_url, STREAM), Spool(folder / new_id()))
    writer.start()
    took_ns: list[int] = []
    lags_s: list[float] = []
    watching = asyncio.create_task(_watch(lags_s))
    clock, busy = time.perf_counter, time.process_time()
    start_s, made = clock(), 0
    while (passed_s := clock() - start_s) < seconds:
        for _ in range(min(_MOST_AT_ONCE, int(passed_s * rate) - made)):
            line, made = a_line(), made + 1
            if writing:
                before_ns = time.perf_counter_ns()
                writer.record(line)
                took_ns.append(time.perf_counter_ns() - before_ns)
        await asyncio.sleep(_TICK_S if made >= int(passed_s * rate) else 0)
    took_s, busy = clock() - start_s, time.process_time() - busy
    watching.cancel()
    await writer.close(60)
    stats = writer.stats
    return Driven(
        lines=made,
        lost=stats.dropped + stats.spooled - stats.resent,
        seconds=took_s,
        record_us=(at(50, took_ns) / 1e3, at(99, took_ns) / 1e3),
        lag_ms=(at(50, lags_s) * 1e3, at(99, lags_s) * 1e3),
        cpu_us=busy / max(1, made) * 1e6,
    )


async def _watch(lags_s: list[float]) -> None:
    """How much later than asked the loop wakes a task that sleeps for a tick."""
    while True:
        before_s = time.perf_counter()
        await asyncio.sleep(_TICK_S)
        lags_s.append(time.perf_counter() - before_s - _TICK_S)


def at(percent: int, values: list[int] | list[float]) -> float:
    """The percentile by nearest rank; 0 of nothing."""
    ranked = sorted(values)
    return ranked[(len(ranked) * percent + 99) // 100 - 1] if ranked else 0.0


def drain(redis_url: str, database_url: str) -> None:
    """What the ledger's deployment runs, until it is ended."""
    reader = StreamReader(redis_url, STREAM, consumer="drain-0")
    asyncio.run(drain_forever(reader, SqlStore(database_url)))


def one_by_one(database_url: str, seconds: float) -> float:
    """The peer: each line in an INSERT and a commit of its own; returns lines/s."""
    names = [column.name for column in LINES.columns if column.name != "seq"]
    store = SqlStore(database_url)
    with store.connect() as connection:
        start_s, made = time.perf_counter(), 0
        while (took_s := time.perf_counter() - start_s) < seconds:
            line = a_line()
            both = {**asdict(line.usage), "tags": ",".join(line.tags)}
            cells = {name: both[name] if name in both else getattr(line, name) for name in names}
            connection.execute(insert(LINES), cells)
            connection.commit()
            made += 1
    store.close()
    return made / took_s


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
