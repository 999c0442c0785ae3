import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.ledger_line import LedgerLine
from ledger.path.drain import DrainStats, drain_forever, drain_once
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.fakes import FakeReader
from tests.ledger.lines import line, until


class StubbornStore:
    """Fails as often as it is told to, then keeps lines by identity."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.lines: dict[tuple[str, int], LedgerLine] = {}

    def insert(self, lines: Sequence[LedgerLine]) -> int:
        if self.failures:
            self.failures -= 1
            raise OSError("disk is full")
        before = len(self.lines)
        self.lines.update({item.identity: item for item in lines})
        return len(self.lines) - before


async def test_one_turn_moves_lines_and_then_forgets_them() -> None:
    reader, store = FakeReader(), StubbornStore()
    reader.add(line(1), line(2), line(1))
    assert await drain_once(reader, store, count=2) == (2, 2)
    assert await drain_once(reader, store, count=2) == (1, 0)
    assert await drain_once(reader, store, count=2) == (0, 0)
    assert (reader.fresh, reader.pending) == ([], [])


async def test_lines_that_could_not_be_stored_stay_pending_and_are_claimed() -> None:
    reader, store = FakeReader(), StubbornStore(failures=1)
    reader.add(line(1))
    with pytest.raises(OSError, match="disk is full"):
        await drain_once(reader, store)
    assert len(reader.pending) == 1
    assert await drain_once(reader, store, claim_idle_s=0) == (1, 1)
    assert reader.pending == []


async def test_a_drain_cancelled_at_any_point_loses_and_doubles_nothing(tmp_path: Path) -> None:
    store = SqlStore(sqlite_url(tmp_path / "ledger.sqlite3"))
    for turns in range(12):
        reader = FakeReader()
        reader.add(*(line(f"{turns}-{at}") for at in range(20)))
        task = asyncio.create_task(drain_once(reader, store))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.wait({task})
        await drain_once(reader, store, claim_idle_s=0)
        await drain_once(reader, store)
        assert (reader.fresh, reader.pending) == ([], [])
    found = [item.line.identity for item in store.tail(10_000)]
    assert len(found) == len(set(found)) == 240
    store.close()


async def test_the_loop_takes_over_what_was_left_waits_out_failures_and_ends_on_cancel() -> None:
    reader, store, stats = FakeReader(), StubbornStore(failures=2), DrainStats()
    reader.add(line(1))
    await reader.read(1, 0)
    reader.add(line(2), line(1))
    loop = drain_forever(reader, store, stats=stats, interval_s=0.001, retry_s=0.001)
    task = asyncio.create_task(loop)
    await until(lambda: stats.lines >= 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(store.lines) == {("c1", 0), ("c2", 0)}
    assert (stats.inserted, stats.repeated, stats.failures) == (2, 1, 2)
