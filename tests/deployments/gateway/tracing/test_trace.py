"""What the path says to its trace: nothing while it is off, and steps end with their work."""

import asyncio

import pytest

from deployments.gateway.tracing import trace
from deployments.gateway.tracing.trace import Attributes, RequestTrace, Step


class Noted(RequestTrace, Step):
    """A trace that is its own only step, and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def step(self, name: str) -> Step:
        self.told.append(name)
        return self

    def __exit__(self, *error: object) -> None:
        self.told.append(error[0])

    def note(self, attributes: Attributes) -> None:
        self.told.append(attributes)


@trace.step("double", lambda found: {"hansom.doubled": found})
async def double(given: int) -> int:
    if given < 0:
        raise ValueError(given)
    await asyncio.sleep(0)
    return 2 * given


async def test_a_step_is_recorded_with_what_its_result_tells() -> None:
    noted = Noted()
    with trace.active(noted):
        assert await double(2) == 4
        with pytest.raises(ValueError):
            await double(-1)
    assert noted.told == ["double", {"hansom.doubled": 4}, None, "double", ValueError]


async def test_while_it_is_off_the_work_is_not_wrapped() -> None:
    work = double(1)
    assert work.__qualname__ == "double"  # type: ignore[attr-defined]
    assert await work == 2
    assert trace.OFF.step("a") is trace.OFF.step("b") is trace.NO_STEP


async def test_tasks_inherit_the_trace_and_the_caller_gets_its_own_back() -> None:
    outer, inner = Noted(), Noted()

    async def seen() -> RequestTrace:
        return trace.current()

    with trace.active(outer):
        task = asyncio.create_task(seen())
        with trace.active(inner):
            assert await asyncio.create_task(seen()) is inner
        assert await task is outer
        assert trace.current() is outer
    assert trace.current() is trace.OFF
