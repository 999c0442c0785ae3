"""A line that waits for the engine's count is written once, told or not."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.call import Usage
from core.errors import Unavailable
from deployments.gateway.backends.connection import ReplicaGone
from deployments.gateway.usage_query import Ask, UsageQuery
from tests.ledger.lines import until

TOLD = Usage(1, 2, 3)


async def tells() -> Usage | None:
    await asyncio.sleep(0)
    return TOLD


async def silent() -> Usage | None:
    await asyncio.sleep(60)
    return TOLD


def raises(error: Exception) -> Ask:
    async def ask() -> Usage | None:
        raise error

    return ask


@pytest.fixture
async def unhandled() -> AsyncIterator[list[object]]:
    """What the loop hears of tasks whose error nobody took."""
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    yield heard


async def test_a_line_is_written_with_what_was_told() -> None:
    late, written = UsageQuery(), list[Usage | None]()
    late.settle(tells, written.append)
    assert (late.waiting, written) == (1, []), "off the request's path"
    await until(lambda: not late.waiting)
    assert written == [TOLD]
    await late.close()
    assert written == [TOLD]


async def test_a_silent_replica_is_waited_for_no_longer_than_that() -> None:
    late, written = UsageQuery(ask_s=0.01), list[Usage | None]()
    late.settle(silent, written.append)
    await until(lambda: not late.waiting)
    assert written == [None]


@pytest.mark.parametrize(
    "error",
    [ReplicaGone("gone"), TimeoutError(), ValueError("HTTP 500"),
     Unavailable("none", code="no_replica"), RuntimeError("unthought of")],
    ids=repr,
)  # fmt: skip
async def test_no_error_escapes_and_the_line_is_written(
    error: Exception, unhandled: list[object]
) -> None:
    late, written = UsageQuery(), list[Usage | None]()
    late.settle(raises(error), written.append)
    await until(lambda: not late.waiting)
    assert written == [None]
    await asyncio.sleep(0)
    assert unhandled == []


async def test_closing_writes_what_still_waits() -> None:
    late, written = UsageQuery(), list[Usage | None]()
    late.settle(silent, written.append)
    late.settle(tells, written.append)
    await late.close(grace_s=0.02)
    assert written == [TOLD, None]
    assert late.waiting == 0
    await late.close()


async def test_closing_at_once_loses_no_line() -> None:
    late, written = UsageQuery(), list[Usage | None]()
    late.settle(silent, written.append)
    await late.close(grace_s=0.0)
    assert written == [None]
