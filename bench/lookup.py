"""Entries near a prompt: how long a search takes as a scope grows, what it misses and costs.

    python -m bench.lookup DATA_DIR --million

Promises: a Redis of the run's own, with the append-only file of `hansom serve` and without its
limit of memory and its snapshots; vectors are those of real sentences, and beyond them of copies
moved aside; prompts searched for are not among the entries. Latencies are those of one client that
searches one prompt after another, through `cache.semantic.redis_vectors`. Recall is beside an exact
search over float32 vectors, for prompts that have an entry at a cosine of .8 or more. Bytes are all
that Redis took, entries included. Not covered: many clients at once, and what is decided of the
entries found (`bench.semantic`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import redis
import uvloop
from rich.console import Console
from rich.table import Table

from bench.load import percentile
from bench.lookup_vectors import Material, material, nearest
from cache.exact.key import exact_key
from cache.scope import scope_key
from cache.semantic.entries import SemanticEntry, entry_id, near_key
from cache.semantic.neighbours import NEIGHBOURS
from cache.semantic.redis_vectors import RedisVectors
from deployments.machine.redis_server import RedisServer
from text.embed import MiniLM

SIZES = (1_000, 10_000, 100_000)
MILLION = 1_000_000
TIMED = 1_000
NEAR_COSINE = 0.8
_TTL_S = 86_400
_RATED = 2_000  # inserts timed before a size is reached
_TIE = 1e-6
OUT = Path(__file__).parent / "out" / "lookup.json"
SCOPE = scope_key({"n": 1}, endpoint="chat", tenant="bench", policy_version="1")


@dataclass(frozen=True, slots=True)
class LookupRow:
    """One size of a scope. `whole` is the search with the prompt's embedding before it.

    CPU times are Redis's, for the last inserts and for searches: they hardly depend on who else
    uses the machine. `recall_among` is of all the entries that a search gives.
    """

    entries: int
    near_p50_ms: float
    near_p99_ms: float
    whole_p50_ms: float
    whole_p99_ms: float
    near_cpu_ms: float
    inserts_per_s: float
    insert_cpu_ms: float
    bytes_per_entry: float
    recall_at_1: float
    recall_among: float
    with_neighbour: int
    load_before: float
    load_after: float


def entry(text: str) -> SemanticEntry:
    """An entry as the cache makes one, without tags."""
    id = entry_id(text)
    key = exact_key({"text": text}, endpoint="chat", tenant="bench", policy_version="1")
    return SemanticEntry(id, text, id, key, (), 1_763_650_000.0)


async def grow(
    vectors: RedisVectors, given: Material, start: int, size: int, cpu_s: Callable[[], float]
) -> tuple[float, float]:
    """Fill the scope up to `size`; of the last inserts, how many a second and Redis's CPU ms."""
    rated = max(start, size - _RATED)
    began_s = before_s = 0.0
    for at in range(start, size):
        if at == rated:
            began_s, before_s = time.perf_counter(), cpu_s()
        await vectors.keep(SCOPE, given.rows[at], entry(given.texts[at]), _TTL_S, 2 * MILLION)
    spent_s = time.perf_counter() - began_s
    return (size - rated) / spent_s, (cpu_s() - before_s) / (size - rated) * 1e3


async def timed(
    ask: Callable[[int], Awaitable[object]], cpu_s: Callable[[], float]
) -> tuple[list[float], float]:
    """Milliseconds of each prompt, after a tenth as many that warm up; Redis's CPU ms for one."""
    for at in range(TIMED // 10):
        await ask(at)
    times_ms, before_s = [], cpu_s()
    for at in range(TIMED):
        began_s = time.perf_counter()
        await ask(at)
        times_ms.append((time.perf_counter() - began_s) * 1e3)
    return times_ms, (cpu_s() - before_s) / TIMED * 1e3


async def recall(vectors: RedisVectors, given: Material, size: int) -> tuple[float, float, int]:
    """How often the nearest entry was found first, how often at all, and of how many prompts.

    Counted are prompts with an entry at `NEAR_COSINE` or more.
    """
    best = nearest(given.rows[:size], given.prompt_rows)
    places = {entry_id(text): at for at, text in enumerate(given.texts[:size])}
    asked = np.flatnonzero(best >= NEAR_COSINE)
    first = among = 0
    for at in asked:
        found = await vectors.near(SCOPE, given.prompt_rows[at], NEIGHBOURS)
        rows = given.rows[[places[one.id] for one, _ in found]]
        right = rows @ given.prompt_rows[at] >= best[at] - _TIE
        first += int(right[0])
        among += int(right.any())
    return first / max(len(asked), 1), among / max(len(asked), 1), len(asked)


async def measure(
    url: str,
    given: Material,
    embedder: MiniLM,
    sizes: Sequence[int],
    told: Callable[[LookupRow], None],
) -> list[LookupRow]:
    """One row for every size of one growing scope."""
    vectors = RedisVectors(url, timeout_s=5.0)
    rows: list[LookupRow] = []
    start = 0

    async def alone(at: int) -> None:
        await vectors.near(SCOPE, given.prompt_rows[at], NEIGHBOURS)

    async def whole(at: int) -> None:
        [vector] = embedder.embed([given.prompts[at]])
        await vectors.near(SCOPE, vector, NEIGHBOURS)

    with redis.Redis.from_url(url) as client:
        cpu_s = partial(_cpu_s, client)
        await vectors.keep(SCOPE, given.rows[0], entry("first"), _TTL_S, 1)  # scripts, buffers
        await vectors.forget(SCOPE, [entry_id("first")])
        await alone(0)
        empty_bytes = _memory(client)
        for size in sizes:
            before = os.getloadavg()[0]
            rate, insert_cpu_ms = await grow(vectors, given, start, size, cpu_s)
            start = size
            if client.vset().vcard(near_key(SCOPE)) != size:
                raise RuntimeError("entries were lost")
            taken = (_memory(client) - empty_bytes) / size

            near_ms, near_cpu_ms = await timed(alone, cpu_s)
            whole_ms, _ = await timed(whole, cpu_s)
            after = os.getloadavg()[0]
            first, among, asked = await recall(vectors, given, size)
            row = LookupRow(
                entries=size,
                near_p50_ms=percentile(near_ms, 0.5),
                near_p99_ms=percentile(near_ms, 0.99),
                whole_p50_ms=percentile(whole_ms, 0.5),
                whole_p99_ms=percentile(whole_ms, 0.99),
                near_cpu_ms=near_cpu_ms,
                inserts_per_s=rate,
                insert_cpu_ms=insert_cpu_ms,
                bytes_per_entry=taken,
                recall_at_1=first,
                recall_among=among,
                with_neighbour=asked,
                load_before=before,
                load_after=after,
            )
            told(row)
            rows.append(row)
    await vectors.close()
    return rows


def _memory(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def _cpu_s(client: redis.Redis) -> float:
    info = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def table(rows: Sequence[LookupRow]) -> Table:
    """The rows for a terminal."""
    heads = (
        "entries", "near p50 / p99", "with embedding", "Redis CPU", "inserts/s", "Redis CPU",
        "bytes an entry", "recall@1", "among all", "prompts", "load",
    )  # fmt: skip
    shown = Table(*heads, title=f"{NEIGHBOURS} entries a search; times in ms")
    for row in rows:
        shown.add_row(
            f"{row.entries:,}",
            f"{row.near_p50_ms:.2f} / {row.near_p99_ms:.2f}",
            f"{row.whole_p50_ms:.2f} / {row.whole_p99_ms:.2f}",
            f"{row.near_cpu_ms:.2f}",
            f"{row.inserts_per_s:,.0f}",
            f"{row.insert_cpu_ms:.2f}",
            f"{row.bytes_per_entry:,.0f}",
            f"{row.recall_at_1:.4f}",
            f"{row.recall_among:.4f}",
            f"{row.with_neighbour:,}",
            f"{row.load_before:.1f} - {row.load_after:.1f}",
        )
    return shown


def main() -> None:
    """Measure, print, and write `bench/out/lookup.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.lookup", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with the *.jsonl.gz files")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--million", action="store_true", help="a million, too: 1.5 GB in Redis")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    sizes = sorted({*given.sizes, *([MILLION] if given.million else [])})
    embedder = MiniLM.installed()
    stored = material(given.data, sizes[-1], embedder)
    characters = float(np.mean([len(text) for text in stored.texts]))
    console = Console(width=150)
    with tempfile.TemporaryDirectory(prefix="hansom-bench-") as folder:
        server = RedisServer(Path(folder), Path(folder) / "redis.sock")
        server.start()
        try:
            with redis.Redis.from_url(server.url) as client:
                client.config_set("maxmemory", 0)
                client.config_set("save", "")
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                rows = runner.run(measure(server.url, stored, embedder, sizes, console.print))
        finally:
            server.stop()
    console.print(table(rows))
    by_size = {row.entries: row.near_p50_ms for row in rows}
    growth = by_size[sizes[-1]] / by_size.get(10_000, by_size[sizes[0]])
    console.print(
        f"p50 grew {growth:.1f}-fold to {sizes[-1]:,}; texts of {characters:.0f} characters"
    )
    facts = {"rows": [asdict(row) for row in rows], "growth": growth, "characters": characters}
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
