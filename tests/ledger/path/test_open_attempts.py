"""The list holds what is open, whatever the list itself does; what ends fast never gets there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from core.ledger_line import LedgerLine
from ledger.path.open_attempts import NO_LIST, OpenAttemptWriter, Provisional
from tests.fakes import FakeOpenList
from tests.ledger.lines import line, until

FAST: dict[str, Any] = {"linger_s": 0.001, "hold_s": 0.0, "alive_every_s": 0.002}


def of(id: str) -> Provisional:
    return lambda: line(id)


@asynccontextmanager
async def book(listed: FakeOpenList, **changes: Any) -> AsyncIterator[OpenAttemptWriter]:
    one = OpenAttemptWriter(listed, **(FAST | changes))
    one.start()
    try:
        yield one
    finally:
        await one.close()


async def marked(listed: FakeOpenList, times: int = 2) -> None:
    """Until that many more marks were made: one may have been under way."""
    end = listed.marks + times
    await until(lambda: listed.marks >= end)


async def test_what_lasts_is_listed_with_its_provisional_line() -> None:
    listed = FakeOpenList()
    async with book(listed) as one:
        one.begin("a", of("a"))
        await until(lambda: "a" in listed.listed)
        assert LedgerLine.from_bytes(listed.listed["a"]) == line("a")


async def test_what_ends_within_the_linger_is_never_listed_nor_made() -> None:
    def never() -> LedgerLine:
        raise AssertionError("not to be made")

    listed = FakeOpenList()
    async with book(listed, linger_s=0.05) as one:
        one.begin("a", never)
        await asyncio.sleep(0.01)
        one.end("a")
        await marked(listed)
    assert listed.ever == set()


async def test_what_has_ended_stays_until_its_line_is_old_enough() -> None:
    listed = FakeOpenList()
    async with book(listed, hold_s=0.1) as one:
        one.begin("a", of("a"))
        await until(lambda: "a" in listed.listed)
        loop = asyncio.get_running_loop()
        ended_s = loop.time()
        one.end("a")
        await marked(listed)
        assert "a" in listed.listed
        await until(lambda: "a" not in listed.listed)
        assert loop.time() - ended_s >= 0.1


async def test_a_sign_of_life_comes_without_anything_to_list() -> None:
    listed = FakeOpenList()
    async with book(listed):
        await marked(listed, 3)
        assert listed.alive


async def test_a_list_that_was_away_is_caught_up_with() -> None:
    listed = FakeOpenList()
    listed.failure = ConnectionError("gone")
    async with book(listed) as one:
        one.begin("a", of("a"))
        await marked(listed)
        one.begin("b", of("b"))
        await marked(listed)
        one.end("b")
        listed.failure = None
        await until(lambda: listed.listed)
        assert set(listed.listed) == {"a"}
        assert "b" not in listed.ever


async def test_a_list_that_was_away_and_forgot_is_written_anew() -> None:
    listed = FakeOpenList()
    async with book(listed, hold_s=60.0) as one:
        for id in ("a", "b"):
            one.begin(id, of(id))
        await until(lambda: len(listed.listed) == 2)
        one.end("b")
        listed.failure = ConnectionError("gone")
        await marked(listed)
        listed.listed.clear()
        listed.failure = None
        await until(lambda: listed.listed)
        assert set(listed.listed) == {"a", "b"}, "b's line may still be on its way"


async def test_what_was_listed_by_a_mark_that_failed_is_not_listed_for_ever() -> None:
    listed = FakeOpenList()
    listed.failure, listed.lost_reply = TimeoutError(), True
    async with book(listed) as one:
        one.begin("a", of("a"))
        await until(lambda: "a" in listed.listed)
        await marked(listed)
        one.end("a")
        listed.failure = None
        await until(lambda: not listed.listed)


@pytest.mark.parametrize("failure", [None, TimeoutError()])
async def test_what_ends_while_its_mark_is_on_its_way_is_taken_off(
    failure: Exception | None,
) -> None:
    listed = FakeOpenList()
    listed.wait_s, listed.failure, listed.lost_reply = 0.02, failure, True
    async with book(listed) as one:
        one.begin("a", of("a"))
        await until(lambda: "a" in listed.listed)
        one.end("a")
        await asyncio.sleep(0.03)
        listed.failure = None
        await until(lambda: not listed.listed)


async def test_a_stuck_list_is_given_up_and_tried_again() -> None:
    listed = FakeOpenList()
    listed.wait_s = 60.0
    async with book(listed, timeout_s=0.01) as one:
        one.begin("a", of("a"))
        await marked(listed)
        listed.wait_s = 0.0
        one.begin("b", of("b"))
        await until(lambda: set(listed.listed) == {"a", "b"})
        for id in ("a", "b"):
            one.end(id)
        await until(lambda: not listed.listed)


async def test_a_line_that_cannot_be_written_stops_nothing() -> None:
    listed = FakeOpenList()
    async with book(listed) as one:
        one.begin("bad", lambda: line("bad", requested="\ud800"))
        one.begin("a", of("a"))
        await until(lambda: "a" in listed.listed)
        one.end("bad")
        await marked(listed)
        assert set(listed.listed) == {"a"}


async def test_what_fails_for_long_leaves_only_what_is_open_in_memory() -> None:
    listed = FakeOpenList()
    listed.failure = ConnectionError("gone")
    async with book(listed) as one:
        for number in range(20):
            one.begin(str(number), of(str(number)))
            await marked(listed)
            one.end(str(number))
        await marked(listed)
        held = [one._opening, one._known, one._closing]
        assert [len(each) for each in held] == [0, 0, 0]


@pytest.mark.parametrize("failure", [None, ConnectionError("gone")])
async def test_closing_leaves_nothing_and_never_fails(failure: Exception | None) -> None:
    listed = FakeOpenList()
    async with book(listed) as one:
        one.begin("a", of("a"))
        await until(lambda: "a" in listed.listed)
        listed.failure = failure
    assert listed.closed
    assert bool(listed.listed) is (failure is not None), "then the sweep finds a line that is known"
    marks = listed.marks
    await asyncio.sleep(0.01)
    assert listed.marks == marks


async def test_one_that_was_never_started_is_closed_too() -> None:
    listed = FakeOpenList()
    await OpenAttemptWriter(listed).close()
    assert listed.closed


def test_without_a_list_nothing_is_made() -> None:
    NO_LIST.begin("a", of("a"))
    NO_LIST.end("a")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 5)),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("pass"), st.integers(1, 8)),
        st.tuples(st.sampled_from(["works", "refuses", "loses the reply", "forgets"]), st.just(0)),
    ),
    max_size=25,
)


class Model:
    """A book, its list, and what is really open."""

    def __init__(self) -> None:
        self.listed = FakeOpenList()
        self.book = OpenAttemptWriter(self.listed, linger_s=0.0, hold_s=0.0, alive_every_s=0.0005)
        self.open: set[str] = set()
        self._serial = 0

    async def take(self, step: str, number: int) -> None:
        if step == "begin":
            self._serial += 1
            id = f"{number}-{self._serial}"
            self.open.add(id)
            self.book.begin(id, of(id))
        elif step == "end":
            for id in [one for one in self.open if one.startswith(f"{number}-")]:
                self.open.discard(id)
                self.book.end(id)
        elif step == "pass":
            for _ in range(number):
                await asyncio.sleep(0)
        elif step == "forgets":  # as a server that starts again: its clients see an error first
            self.listed.failure, self.listed.lost_reply = ConnectionError("gone"), False
            await marked(self.listed)
            self.listed.listed.clear()
            self.listed.failure = None
        else:
            self.listed.failure = None if step == "works" else TimeoutError()
            self.listed.lost_reply = step == "loses the reply"


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_once_it_works_the_list_holds_what_is_open_and_nothing_else(
    steps: list[tuple[str, int]],
) -> None:
    async def play() -> None:
        model = Model()
        model.book.start()
        for step in [*steps, ("works", 0)]:
            await model.take(*step)
        await until(lambda: set(model.listed.listed) == model.open)
        await marked(model.listed, 3)
        assert set(model.listed.listed) == model.open
        await model.book.close()
        assert model.listed.listed == {}

    asyncio.run(play())
