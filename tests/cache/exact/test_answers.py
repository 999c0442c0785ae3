import asyncio
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.exact.answers import CachedAnswer, ExactCache, jittered
from core.call import Usage
from core.deadline import within
from tests.fakes import FakeClock, FakeStore

ANSWER = CachedAnswer(b'{"id":"x"}\n\n{}', "small", "qwen", Usage(7, 2, 5), 123, 1.7e9)


class SlowStore(FakeStore):
    """Never answers."""

    async def get(self, key: str) -> bytes | None:
        self.operations += 1
        await asyncio.Event().wait()
        return None


def cache_of(store: FakeStore, clock: FakeClock, timeout_s: float = 1.0) -> ExactCache:
    return ExactCache(store, clock, timeout_s=timeout_s, lookup_timeout_s=timeout_s)


async def test_what_was_put_is_got_until_it_expires() -> None:
    clock = FakeClock()
    cache = cache_of(FakeStore(clock), clock)
    assert await cache.get("k") is None
    assert await cache.put("k", ANSWER, 60)
    assert await cache.get("k") == ANSWER
    assert await cache.get("other") is None
    clock.advance(60)
    assert await cache.get("k") is None
    assert (cache.stats.hits, cache.stats.misses, cache.stats.puts) == (1, 3, 1)


@given(st.binary(max_size=200), st.text(max_size=9), st.integers(0, 2**40))
def test_an_answer_survives_its_bytes(body: bytes, name: str, cost: int) -> None:
    answer = CachedAnswer(body, name, name, Usage(1, 2, 3), cost, 0.5)
    assert CachedAnswer.from_bytes(answer.to_bytes()) == answer


@given(st.binary(max_size=200))
def test_foreign_bytes_are_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        CachedAnswer.from_bytes(raw)


async def test_an_unreadable_value_is_a_miss() -> None:
    clock = FakeClock()
    store = FakeStore(clock)
    cache = cache_of(store, clock)
    whole = ANSWER.to_bytes()
    for raw in (b"", b"[]\n", b"7\nx", whole[:-1], whole.replace(b'"v":2', b'"v":1')):
        await store.set("k", raw, 60)
        assert await cache.get("k") is None
    assert cache.stats.unreadable == 5


async def test_a_failing_store_is_a_miss_and_is_soon_left_alone() -> None:
    clock = FakeClock()
    store = FakeStore(clock)
    cache = cache_of(store, clock)
    await cache.put("k", ANSWER, 60)
    store.failure = ConnectionError("gone")
    for _ in range(10):
        assert await cache.get("k") is None
    assert not await cache.put("k", ANSWER, 60)
    assert store.operations == 1 + 3
    assert (cache.stats.errors, cache.stats.skipped) == (3, 8)


async def test_after_a_while_one_probe_decides_whether_the_store_is_used_again() -> None:
    clock = FakeClock()
    store = FakeStore(clock)
    cache = cache_of(store, clock)
    await cache.put("k", ANSWER, 60)
    store.failure = ConnectionError("gone")
    for _ in range(3):
        await cache.get("k")
    clock.advance(5)
    assert [await cache.get("k") for _ in range(3)] == [None] * 3
    assert store.operations == 1 + 3 + 1
    store.failure = None
    clock.advance(5)
    assert [await cache.get("k") for _ in range(3)] == [ANSWER] * 3


async def test_a_slow_store_costs_its_timeout_and_no_more() -> None:
    cache = cache_of(SlowStore(), FakeClock(), timeout_s=0.01)
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for _ in range(100):
        assert await cache.get("k") is None
    assert cache.stats.timeouts == 12
    assert loop.time() - start_s < 2


async def test_a_caller_that_is_cancelled_stays_cancelled() -> None:
    task = asyncio.create_task(cache_of(SlowStore(), FakeClock(), timeout_s=9).get("k"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_lookups_of_one_moment_share_one_question_and_keep_their_own_answers() -> None:
    clock = FakeClock()
    store = FakeStore(clock)
    cache = cache_of(store, clock)
    other = replace(ANSWER, body=b"other")
    await cache.put("a", ANSWER, 60)
    await cache.put("b", other, 60)
    before = store.operations
    found = await asyncio.gather(*(cache.get(key) for key in ("a", "x", "b", "a")))
    assert found == [ANSWER, None, other, ANSWER]
    assert store.operations - before == 1
    assert (cache.stats.hits, cache.stats.misses) == (3, 1)


async def test_a_caller_that_leaves_takes_nobody_elses_answer_with_it() -> None:
    clock = FakeClock()
    store = FakeStore(clock)
    cache = cache_of(store, clock)
    await cache.put("a", ANSWER, 60)
    tasks = [asyncio.create_task(cache.get("a")) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert (found[0], found[2]) == (ANSWER, ANSWER)
    assert isinstance(found[1], asyncio.CancelledError)


def test_a_long_answer_is_kept_compressed() -> None:
    answer = replace(ANSWER, body=b"The capital of France is Paris. " * 50)
    assert len(answer.to_bytes()) < len(answer.body) / 4
    assert CachedAnswer.from_bytes(answer.to_bytes()) == answer


def test_a_broken_compressed_body_is_a_value_error() -> None:
    raw = replace(ANSWER, body=b"x" * 500).to_bytes()
    head, _, body = raw.partition(b"\n")
    with pytest.raises(ValueError):
        CachedAnswer.from_bytes(head + b"\n" + b"\x00" * len(body))


async def test_only_a_store_that_answers_can_say_that_something_is_gone() -> None:
    clock = FakeClock()
    store = FakeStore(clock)
    cache = cache_of(store, clock)
    await cache.put("k", ANSWER, 60)
    assert not await cache.gone("k")
    assert await cache.gone("other")
    store.failure = ConnectionError("away")
    assert not await cache.gone("other")


async def test_an_answer_older_than_wanted_is_a_miss() -> None:
    clock = FakeClock()
    cache = cache_of(FakeStore(clock), clock)
    await cache.put("k", replace(ANSWER, created_s=clock.wall_s()), 60)
    clock.advance(10)
    assert await cache.get("k", max_age_s=9) is None
    assert await cache.get("k", max_age_s=10) is not None
    assert await cache.get("k") is not None


@given(st.integers(1, 10**6), st.floats(0, 0.99), st.floats(0, 1, exclude_max=True))
def test_a_jittered_time_to_live_stays_near_what_was_asked(
    ttl_s: int, share: float, draw: float
) -> None:
    found = jittered(ttl_s, share, draw)
    assert found >= 1
    assert abs(found - ttl_s) <= share * ttl_s + 0.5
    assert jittered(ttl_s, share, 0) <= ttl_s <= jittered(ttl_s, share, 1 - 1e-9)


async def test_a_store_that_is_late_is_given_up_at_its_deadline() -> None:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    with pytest.raises(TimeoutError):
        await within(asyncio.sleep(60), 0.02)
    assert 0.015 < loop.time() - started_s < 5


async def test_a_loop_that_is_late_itself_does_not_lose_an_answer_that_has_come() -> None:
    """The answer came in time; the loop was busy for ten deadlines before it could look."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    async def read() -> str:
        return await answer

    async def block() -> None:
        time.sleep(0.1)  # noqa: ASYNC251  the point of the test
        loop.call_later(0.001, answer.set_result, "here")

    found, _ = await asyncio.gather(within(read(), 0.01), block())
    assert found == "here"
