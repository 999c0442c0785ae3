"""Asking Redis: failures are one exception, and an outage costs a few of them."""

import asyncio

import pytest
from redis.exceptions import ConnectionError

from core.breaker import Away, Breaker
from tests.fakes import FakeClock


async def test_a_failure_of_any_kind_is_away_and_an_answer_is_the_answer() -> None:
    breaker = Breaker(FakeClock(), 0.01)

    async def late() -> int:
        await asyncio.sleep(5)
        return 1

    async def fails(error: Exception) -> int:
        raise error

    async def answers() -> int:
        return 7

    for error in (ConnectionError("gone"), OSError("no route")):
        with pytest.raises(Away):
            await breaker.ask(lambda error=error: fails(error))  # type: ignore[misc]
    assert await breaker.ask(answers) == 7
    with pytest.raises(Away):
        await breaker.ask(late)
    with pytest.raises(ValueError, match="of another form"):
        await breaker.ask(lambda: fails(ValueError("of another form")))


async def test_while_it_is_away_it_is_asked_once_in_a_while_only() -> None:
    clock, asked = FakeClock(), 0
    breaker = Breaker(clock, 1.0)
    failure: Exception | None = ConnectionError("gone")

    async def question() -> int:
        nonlocal asked
        asked += 1
        if failure is not None:
            raise failure
        return asked

    for _ in range(50):
        with pytest.raises(Away):
            await breaker.ask(question)
    assert asked == 3
    clock.advance(2.0)
    for _ in range(50):
        with pytest.raises(Away):
            await breaker.ask(question)
    assert asked == 4
    clock.advance(2.0)
    failure = None
    assert await breaker.ask(question) == 5
    assert await breaker.ask(question) == 6
