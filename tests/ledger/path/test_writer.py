import asyncio
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from core.ledger_line import LedgerLine
from ledger.path.spool import Spool
from ledger.path.writer import StreamWriter
from tests.fakes import FakeStream
from tests.ledger.lines import line, until


class StuckStream(FakeStream):
    """Takes lines and never says so."""

    async def append(self, payloads: Sequence[bytes]) -> None:
        self.payloads += payloads
        await asyncio.Event().wait()


class DeafStream(FakeStream):
    """Takes nothing and never says so."""

    async def append(self, payloads: Sequence[bytes]) -> None:
        await asyncio.Event().wait()


def writer_of(stream: FakeStream, folder: Path, **settings: Any) -> StreamWriter:
    fast = {"linger_s": 0.001, "retry_s": 0.01, "timeout_s": 0.05}
    return StreamWriter(stream, Spool(folder), **(fast | settings))


def read(payloads: Sequence[bytes]) -> list[LedgerLine]:
    return [LedgerLine.from_bytes(payload) for payload in payloads]


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_lines_reach_the_stream_and_closing_leaves_none_behind(tmp_path: Path) -> None:
    stream = FakeStream()
    writer = writer_of(stream, tmp_path)
    writer.record(line("before the start"))
    writer.start()
    for at in range(2000):
        writer.record(line(at))
    await until(lambda: writer.stats.sent == 2001)
    writer.record(line("last"))
    await writer.close()
    assert read(stream.payloads)[-1] == line("last")
    assert len(stream.payloads) == len(set(stream.payloads)) == 2002
    assert files(tmp_path) == []


async def test_while_the_stream_is_down_lines_wait_on_disk_and_then_follow(tmp_path: Path) -> None:
    stream = FakeStream(failure=ConnectionError("gone"))
    writer = writer_of(stream, tmp_path)
    writer.start()
    for at in range(1000):
        writer.record(line(at))
        if at % 100 == 0:
            await asyncio.sleep(0.002)
    await until(lambda: writer.stats.spooled == 1000)
    assert stream.payloads == []
    stream.failure = None
    await until(lambda: writer.stats.resent == 1000)
    writer.record(line("new"))
    await writer.close()
    assert {found.request_id for found in read(stream.payloads)} == {
        *(f"r{at}" for at in range(1000)),
        "rnew",
    }
    assert files(tmp_path) == []


async def test_what_one_process_spooled_the_next_one_sends(tmp_path: Path) -> None:
    down = writer_of(FakeStream(failure=OSError("gone")), tmp_path)
    down.start()
    down.record(line(1))
    await down.close()
    stream = FakeStream()
    writer = writer_of(stream, tmp_path)
    writer.start()
    await until(lambda: stream.payloads)
    await writer.close()
    assert read(stream.payloads) == [line(1)]


async def test_a_stuck_stream_costs_a_repeat_and_never_a_line(tmp_path: Path) -> None:
    stuck = StuckStream()
    writer = writer_of(stuck, tmp_path)
    writer.start()
    writer.record(line(1))
    await until(lambda: writer.stats.spooled == 1)
    await writer.close()
    assert read(stuck.payloads)[0] == line(1)
    assert read(Spool(tmp_path).read(9)) == [line(1)]


async def test_a_writer_cancelled_at_any_point_leaves_its_lines_on_disk(tmp_path: Path) -> None:
    for steps, kind in product(range(8), (FakeStream, StuckStream, DeafStream)):
        folder = tmp_path / f"{kind.__name__}{steps}"
        stream = kind()
        writer = writer_of(stream, folder, linger_s=0, timeout_s=60)
        writer.start()
        writer.record(line(1))
        for _ in range(steps):
            await asyncio.sleep(0)
        await writer.close(deadline_s=0)
        kept = read(stream.payloads) + read(Spool(folder).read(9))
        assert set(kept) == {line(1)}, folder


async def test_a_line_recorded_after_the_end_is_spooled(tmp_path: Path) -> None:
    writer = writer_of(FakeStream(), tmp_path)
    writer.start()
    await writer.close()
    writer.record(line("late"))
    writer._spool.close()
    assert read(Spool(tmp_path).read(9)) == [line("late")]


async def test_record_never_raises_and_counts_what_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spool"
    folder.write_text("in the way")
    down = FakeStream(failure=OSError("gone"))
    writer = writer_of(down, folder, max_queued_lines=2)
    writer.start()
    writer.record(line("\ud800"))
    for at in range(3):
        writer.record(line(at))
        await asyncio.sleep(0.02)
    assert writer.stats.dropped == 2
    down.failure = None
    await until(lambda: writer.stats.sent == 2)
    await writer.close()
    assert "ledger_lines_dropped" in caplog.text
