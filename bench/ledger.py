"""How many lines the ledger takes, from a gateway's `record` to the commit, and what that costs.

    python -m bench.ledger               SQLite
    python -m bench.ledger --postgres    and PostgreSQL, which must be installed

Promises: the writer, a real Redis with its append-only file, the drain and the database are those
that `hansom serve` starts, with the same settings, each in a process of its own. At the end
every line is counted in the database. Beside it in the same run: one INSERT and one commit for
each line, through the same SQLAlchemy, into the same table, before and after.
Not covered: several gateways, a network between the parts, and PostgreSQL that is tuned.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from sqlalchemy import func, select

from bench.claims import Claim, claims_table
from bench.ledger_parts import STREAM, Driven, a_line, cpu_s, drain, drive, one_by_one
from bench.overhead import OUT
from bench.postgres import own_postgres
from deployments.machine.redis_server import RedisServer
from ledger.path.redis_stream import RedisStream
from ledger.path.schema import LINES
from ledger.path.sql_store import SqlStore, sqlite_url

_AIM_LINES_PER_S = 5000.0
_MORE_LINES_PER_S = 20_000.0
_SPAWN = multiprocessing.get_context("spawn")
_DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class LedgerSize:
    """How long each part lasts, in seconds, and how many lines wait before a drain starts."""

    sustained_s: float = 20.0
    short_s: float = 10.0
    waiting_lines: int = 150_000


_QUICK = LedgerSize(2.0, 1.0, 5000)


@dataclass(frozen=True, slots=True)
class Rig:
    """Redis and one database, with nothing in either."""

    redis_url: str
    database_url: str
    folder: Path
    store: SqlStore
    pool: ProcessPoolExecutor

    def committed(self) -> int:
        """Lines in the database."""
        with self.store.connect() as connection:
            return connection.scalar(select(func.max(LINES.c.seq))) or 0

    def drive(self, rate: float, seconds: float, *, writing: bool) -> Driven:
        """One driver in a process of its own."""
        run = partial(drive, self.redis_url, self.folder, rate, seconds, writing=writing)
        return self.pool.submit(run).result()

    def wait(self, lines: int) -> float:
        """Seconds until as many are committed. Raises `TimeoutError`."""
        start_s = time.perf_counter()
        while self.committed() < lines:
            if time.perf_counter() - start_s > _DEADLINE_S:
                raise TimeoutError(f"{self.committed()} of {lines} lines were committed")
            time.sleep(0.01)
        return time.perf_counter() - start_s

    def count(self) -> int:
        """Lines that are really there, each counted."""
        with self.store.connect() as connection:
            return connection.scalar(select(func.count()).select_from(LINES)) or 0


@contextmanager
def draining(rig: Rig) -> Iterator[int]:
    """The drain runs inside the block; yields its process id."""
    process = _SPAWN.Process(target=drain, args=(rig.redis_url, rig.database_url))
    process.start()
    try:
        assert process.pid is not None
        yield process.pid
    finally:
        process.terminate()
        process.join()


def measure(rig: Rig, kind: str, size: LedgerSize) -> list[Claim]:
    """What a gateway sees and what arrives, at the aim and above it."""
    with draining(rig) as drain_pid:
        first = rig.drive(
            _AIM_LINES_PER_S, 0.5, writing=True
        )  # opens connections, imports, makes the group
        before = rig.drive(_AIM_LINES_PER_S, size.short_s, writing=False)
        drain_s, held = cpu_s(drain_pid), rig.committed()
        steady = rig.drive(_AIM_LINES_PER_S, size.sustained_s, writing=True)
        behind_s = rig.wait(held + steady.lines - steady.lost)
        drain_us = (cpu_s(drain_pid) - drain_s) / steady.lines * 1e6
        after = rig.drive(_AIM_LINES_PER_S, size.short_s, writing=False)
        held = rig.committed()
        start_s = time.perf_counter()
        more = rig.drive(_MORE_LINES_PER_S, size.short_s, writing=True)
        rig.wait(held + more.lines - more.lost)
        whole_s = time.perf_counter() - start_s
    made = sum(one.lines - one.lost for one in (first, steady, more))
    return [
        *_steady(kind, steady, before, after, behind_s, drain_us),
        Claim(f"{kind}: lines/s, {_MORE_LINES_PER_S:,.0f} offered, to the last commit",
              (more.lines - more.lost) / whole_s, "lines/s"),
        Claim(f"{kind}: lines/s made by that driver", more.lines / more.seconds, "lines/s"),
        Claim(f"{kind}: lines lost on the way", steady.lost, "lines", "<=", 0.0),
        Claim(f"{kind}: the same, {_MORE_LINES_PER_S:,.0f} offered", more.lost, "lines"),
        Claim(f"{kind}: others that are not in the database", max(0, made - rig.count()),
              "lines", "<=", 0.0),
    ]  # fmt: skip


def _steady(
    kind: str, steady: Driven, before: Driven, after: Driven, behind_s: float, drain_us: float
) -> list[Claim]:
    made = steady.lines / steady.seconds
    quiet = f"{kind}: event loop lag p99, the same lines made and not recorded"
    return [
        Claim(f"{kind}: lines/s, {steady.seconds:.0f} s long", made, "lines/s", ">=",
              0.99 * _AIM_LINES_PER_S),
        Claim(f"{kind}: last commit after the last line", behind_s, "s", "<=", 1.0),
        Claim(f"{kind}: processor time of the drain for a line", drain_us, "us"),
        Claim(f"{kind}: processor time of the gateway for a line",
              steady.cpu_us - (before.cpu_us + after.cpu_us) / 2, "us"),
        Claim(f"{kind}: record() p50", steady.record_us[0], "us"),
        Claim(f"{kind}: record() p99", steady.record_us[1], "us"),
        Claim(f"{kind}: event loop lag p99, writing", steady.lag_ms[1], "ms"),
        Claim(f"{quiet}, before", before.lag_ms[1], "ms"),
        Claim(f"{quiet}, after", after.lag_ms[1], "ms"),
    ]  # fmt: skip


def _alone(rig: Rig, lines: int) -> float:
    """Lines/s of a drain that finds `lines` waiting, from its first commit on."""
    asyncio.run(_fill(rig.redis_url, lines))
    held = rig.committed()
    with draining(rig):
        rig.wait(held + 1)
        first, start_s = rig.committed(), time.perf_counter()
        rig.wait(held + lines)
        return (held + lines - first) / (time.perf_counter() - start_s)


async def _fill(redis_url: str, lines: int) -> None:
    stream = RedisStream(redis_url, STREAM)
    for _ in range(0, lines, 100):
        await stream.append([a_line().to_bytes() for _ in range(100)])
    await stream.close()


def compared(rig: Rig, kind: str, size: LedgerSize) -> list[Claim]:
    """Our drain alone, and the peer before and after it into the same table."""
    peer = partial(one_by_one, rig.database_url, size.short_s / 2)
    before = rig.pool.submit(peer).result()
    ours = _alone(rig, size.waiting_lines)
    after = rig.pool.submit(peer).result()
    return [
        Claim(f"{kind}: lines/s, drain alone on {size.waiting_lines:,} waiting", ours, "lines/s"),
        Claim(f"{kind}: lines/s, one INSERT and commit for each, before", before, "lines/s"),
        Claim(f"{kind}: the same, after", after, "lines/s"),
        Claim(f"{kind}: our drain alone over the faster of both", ours / max(before, after),
              "times"),
    ]  # fmt: skip


def run(kind: str, folder: Path, database_url: str, size: LedgerSize) -> list[Claim]:
    """Start what is needed in `folder`, measure one kind of database, end everything."""
    server = RedisServer(folder / f"redis-{kind}", folder / f"{kind}.sock")
    with ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=_SPAWN))
        store = SqlStore(database_url)
        stack.callback(store.close)
        rig = Rig(server.url, database_url, folder / f"spool-{kind}", store, pool)
        return measure(rig, kind, size) + compared(rig, kind, size)


def measure_all(size: LedgerSize, *, postgres: bool) -> list[Claim]:
    """Every kind of database that was asked for, one after another."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hansom-bench-")))
        claims = run("SQLite", folder, str(sqlite_url(folder / "ledger.sqlite3")), size)
        if postgres:
            claims += run("PostgreSQL", folder, stack.enter_context(own_postgres()), size)
    return claims


def main() -> None:
    """Parse the command line, measure, print, and write JSON to `bench/out/`."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL, too")
    parser.add_argument("--quick", action="store_true", help="tiny: does it run at all")
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    claims = measure_all(_QUICK if given.quick else LedgerSize(), postgres=given.postgres)
    told = [asdict(one) | {"value": round(one.value, 3), "met": one.met} for one in claims]
    whole = {"cpus": os.cpu_count(), "load_average": load_before, "claims": told}
    OUT.mkdir(exist_ok=True)
    (OUT / "ledger.json").write_text(json.dumps(whole, indent=1) + "\n")
    console = Console(width=150)
    console.print(claims_table(claims))
    console.print(f"load average before: {load_before:.1f}; written to bench/out/ledger.json")


if __name__ == "__main__":
    main()
