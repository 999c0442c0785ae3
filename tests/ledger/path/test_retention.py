import asyncio

import pytest

from ledger.path.retention import DAY_S, expire_forever, expire_once
from ledger.path.sql_store import SqlStore
from tests.ledger.lines import line, until


def ages(store: SqlStore) -> list[float]:
    return [item.line.created_s / DAY_S for item in store.tail(99)]


async def test_every_older_line_goes_and_no_other(store: SqlStore) -> None:
    store.insert([line(at, created_s=at * DAY_S) for at in (5, 1, 4, 2, 3, 6)])
    assert await expire_once(store, 4 * DAY_S, count=2, pause_s=0) == 3
    assert ages(store) == [5, 4, 6]
    assert await expire_once(store, 4 * DAY_S, count=2, pause_s=0) == 0


class Weary:
    """Deletes three, fails once, and then deletes two in each of two turns."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._answers: list[int | Exception] = [3, OSError("disk is full"), 2, 0, 2, 0]

    def delete_older(self, than_s: float, count: int) -> int:
        self.asked.append(than_s)
        answer = self._answers.pop(0) if self._answers else 0
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_the_loop_moves_on_with_time_waits_failures_out_and_ends_on_cancel() -> None:
    store, days = Weary(), iter(range(100, 1000))
    loop = expire_forever(store, 90, interval_s=0.001, now=lambda: next(days) * DAY_S)
    task = asyncio.create_task(loop)
    await until(lambda: len(store.asked) >= 6)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [asked / DAY_S for asked in store.asked[:6]] == [10, 10, 11, 11, 12, 12]


async def test_lines_come_in_while_others_go(store: SqlStore) -> None:
    store.insert([line(at, created_s=1.0) for at in range(3000)])
    going = asyncio.create_task(expire_once(store, 2.0, count=100, pause_s=0.001))
    for at in range(20):
        new = [line(f"new{at}-{each}") for each in range(10)]
        assert await asyncio.to_thread(store.insert, new) == 10
    assert await going >= 2999
    left = [item.line.call_id for item in store.tail(9999)]
    assert len([name for name in left if name.startswith("cnew")]) == 200
