"""Accounts in a real Redis: whatever four gateways do at once, limits hold and sums are exact.

The oracle adds every count up anew from all that was asked (`tests.fakes.FakeAccounts`).
"""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import RedisError

from accounts.keys import hashed, new_key, revoked, rotated
from accounts.limits import Amount, Limit, limits_of
from accounts.redis_store import (
    RedisAccounts,
    ReservationOutcome,
    ReservationRequest,
    Settling,
    account_keys,
)
from core.settings.accounts import Measure, Rules, Window
from tests.conftest import RedisServer
from tests.fakes import FakeAccounts

pytestmark = pytest.mark.redis
# A Monday noon, in the middle of a month.
START_S = 1_795_435_200.0
GATEWAYS = 4
LIFE_S = 90.0
LIMITS = (
    Limit("tenant", "acme", Measure.USD, Window.DAY, hard=1000, soft=500),
    Limit("tenant", "acme", Measure.TOKENS, Window.MINUTE, hard=300),
    Limit("team", "red", Measure.USD, Window.MINUTE, hard=400),
    Limit("key", "k1", Measure.CONCURRENCY, None, hard=2),
    Limit("key", "k1", Measure.REQUESTS, Window.MINUTE, hard=4),
    Limit("key", "k2", Measure.TOKENS, Window.WEEK, soft=100),
)


@pytest.fixture
async def gateways(redis_url: str) -> AsyncIterator[list[RedisAccounts]]:
    async with AsyncExitStack() as stack:
        made = [RedisAccounts(redis_url) for _ in range(GATEWAYS)]
        for one in made:
            stack.push_async_callback(one.close)
        yield made


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


@dataclass
class Both:
    """Four gateways on a real Redis, the oracle, and one clock."""

    gateways: list[RedisAccounts]
    oracle: FakeAccounts
    tenant: str
    now_s: float = START_S
    open: dict[str, ReservationRequest] = field(default_factory=dict)
    steps: list[Settling] = field(default_factory=list)
    refused: int = 0

    async def reserve(self, at: int, limits: tuple[Limit, ...], amount: Amount) -> None:
        asked = ReservationRequest(self.tenant, uuid.uuid4().hex, limits, amount, LIFE_S)
        made = await self.gateways[at].reserve(asked, self.now_s + 7, now_s=self.now_s)
        assert made == await self.oracle.reserve(asked, self.now_s, now_s=self.now_s)
        if made.refusal is None:
            self.open[asked.id] = asked
            again = await self.gateways[at - 1].reserve(asked, self.now_s, now_s=self.now_s)
            assert again == ReservationOutcome(self.now_s), (
                "a reply that was lost is asked for again"
            )
            for one in made.standings:
                assert not one.over(amount.of(one.limit.measure), one.limit.hard)
        else:
            self.refused += 1
            assert made.refusal.standing.over(made.refusal.asked, made.refusal.standing.limit.hard)

    async def settle(self, at: int, which: int, share: float) -> None:
        """The `which`-th open one, for at most what it reserved, told twice."""
        if not self.open:
            return
        asked = self.open.pop([*self.open][which % len(self.open)])
        used = Amount(int(asked.amount.usd_micros * share), int(asked.amount.tokens * share))
        await self.send(at, Settling(self.tenant, asked.id, 1, used, True))

    async def late(self, at: int, which: int, usd_micros: int) -> None:
        """A line, or a credit, of a call that was settled."""
        if self.steps:
            before = self.steps[which % len(self.steps)]
            step = max(one.step for one in self.steps if one.id == before.id) + 1
            amount = Amount(usd_micros, 3)
            await self.send(at, Settling(self.tenant, before.id, step, amount, False))

    async def send(self, at: int, step: Settling) -> None:
        self.steps.append(step)
        for gateway in (self.gateways[at], self.gateways[at - 1]):
            assert await gateway.send([step], self.now_s, now_s=self.now_s) == []
        await self.oracle.send([step], self.now_s, now_s=self.now_s)

    async def check(self) -> None:
        """Every counter is the sum of what was asked."""
        nothing = ReservationRequest(
            self.tenant, uuid.uuid4().hex, LIMITS, Amount(10**9, 10**9), LIFE_S
        )
        await self.gateways[0].reserve(nothing, self.now_s, now_s=self.now_s)  # lets the old expire
        self.oracle._operate(self.now_s)
        told = await self.gateways[1].standings(self.tenant, LIMITS, self.now_s)
        for one in told:
            assert one == self.oracle.standing(self.tenant, one.limit, self.now_s)
            assert one.held >= 0


GATEWAY = st.integers(0, GATEWAYS - 1)
SOME = st.sets(st.sampled_from(LIMITS), min_size=1).map(tuple)
LARGE = st.builds(Amount, st.integers(0, 300), st.integers(0, 120))
SMALL = st.builds(Amount, st.integers(0, 60), st.integers(0, 30))
STEPS = st.one_of(
    st.tuples(st.just("reserve"), GATEWAY, SOME, LARGE),
    st.tuples(st.just("reserve"), GATEWAY, SOME, SMALL),
    st.tuples(st.just("settle"), GATEWAY, st.integers(0, 50), st.floats(0, 1)),
    st.tuples(st.just("late"), GATEWAY, st.integers(0, 50), st.integers(-50, 50)),
    st.tuples(st.just("pass"), st.sampled_from([0.5, 5.0, 31.0, 60.0, 100.0, 86_400.0])),
)  # fmt: skip


@settings(
    max_examples=120, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(st.lists(STEPS, max_size=60))
def test_any_interleaving_of_four_gateways_comes_to_the_exact_sums(
    redis_url: str, steps: list[tuple[Any, ...]]
) -> None:
    """Refused iff it does not fit, and never a count that is not the sum of its parts."""

    async def play() -> None:
        gateways = [RedisAccounts(redis_url) for _ in range(GATEWAYS)]
        try:
            both = Both(gateways, FakeAccounts(), uuid.uuid4().hex)
            for name, *given_ in steps:
                if name == "pass":
                    both.now_s += given_[0]
                else:
                    await getattr(both, name)(*given_)
            await both.check()
        finally:
            for one in gateways:
                await one.close()

    asyncio.run(play())


async def test_at_once_nothing_is_overshot_and_nothing_that_fits_is_refused(
    gateways: list[RedisAccounts], tenant: str
) -> None:
    """200 calls on 4 gateways at once: as many as fit are let in, and not one more."""
    limit = Limit("tenant", "acme", Measure.USD, Window.DAY, hard=10_000)
    chance = random.Random(7)
    open_: list[ReservationRequest] = []
    spent = 0

    async def call(number: int) -> bool:
        nonlocal spent
        asked = ReservationRequest(tenant, f"c{number}", (limit,), Amount(300, 10), 60.0)
        made = await gateways[number % GATEWAYS].reserve(asked, START_S)
        if made.refusal is not None:
            standing = made.refusal.standing
            assert standing.spent + standing.held + 300 > 10_000
            return False
        open_.append(asked)
        # Counts as of the moment inside Redis: all that are in, this one too, have room.
        assert made.standings[0].spent + made.standings[0].held + 300 <= 10_000
        await asyncio.sleep(chance.random() / 50)
        used = chance.randint(0, 300)
        spent += used
        step = Settling(tenant, asked.id, 1, Amount(used, 10), True)
        await gateways[chance.randrange(GATEWAYS)].send([step], START_S)
        return True

    first = await asyncio.gather(*(call(number) for number in range(200)))
    assert sum(first) >= 10_000 // 300
    for number in range(200, 400):  # one after the other: each that fits is let in
        fits = spent + 300 <= 10_000
        assert await call(number) is fits
    told = await gateways[0].standings(tenant, [limit], (await _redis_now(gateways[0])))
    assert (told[0].spent, told[0].held) == (spent, 0)
    assert spent <= 10_000


async def _redis_now(gateway: RedisAccounts) -> float:
    seconds, _ = await gateway._redis.time()
    return float(seconds)


def asked_of(
    tenant: str, amount: int, *limits: Limit, id: str = "a", **more: Any
) -> ReservationRequest:
    return ReservationRequest(tenant, id, limits or LIMITS[:1], Amount(amount, 1), LIFE_S, **more)


async def test_a_clock_that_is_wrong_counts_in_the_windows_of_redis(
    gateways: list[RedisAccounts], tenant: str
) -> None:
    limit = Limit("tenant", "acme", Measure.USD, Window.DAY, hard=100)
    now_s = await _redis_now(gateways[0])
    for at, wrong_s in enumerate((-9e5, 0.0, 9e5)):
        made = await gateways[at].reserve(asked_of(tenant, 30, limit, id=f"r{at}"), now_s + wrong_s)
        assert made.refusal is None
        assert made.standings[0].held == 30 * at
        assert abs(made.now_s - now_s) < 60


async def test_a_clock_that_is_wrong_costs_one_more_question_once(
    redis_server: RedisServer, tenant: str
) -> None:
    store = RedisAccounts(redis_server.url)
    limit = Limit("tenant", "acme", Measure.USD, Window.DAY, hard=100)
    wrong_s = await _redis_now(store) - 9e5
    for at in range(10):
        await store.reserve(asked_of(tenant, 1, limit, id=f"r{at}"), wrong_s)
    told = await store._redis.info("commandstats")
    assert told["cmdstat_evalsha"]["calls"] - told["cmdstat_evalsha"]["failed_calls"] == 11
    await store.close()


async def test_all_limits_or_none_are_reserved(gateways: list[RedisAccounts], tenant: str) -> None:
    roomy, tight = LIMITS[0], Limit("team", "red", Measure.USD, Window.DAY, hard=10)
    made = await gateways[0].reserve(asked_of(tenant, 50, roomy, tight), START_S, now_s=START_S)
    assert made.refusal is not None
    assert made.refusal.standing.limit == tight
    for one in await gateways[1].standings(tenant, [roomy, tight], START_S):
        assert (one.spent, one.held) == (0, 0)


async def test_a_reservation_of_a_dead_gateway_expires_by_itself(
    gateways: list[RedisAccounts], tenant: str
) -> None:
    assert (
        await gateways[0].reserve(asked_of(tenant, 900), START_S, now_s=START_S)
    ).refusal is None
    other = asked_of(tenant, 900, id="b")
    early = await gateways[1].reserve(other, START_S, now_s=START_S + LIFE_S - 0.1)
    assert early.refusal is not None
    assert early.refusal.only_reserved
    made = await gateways[1].reserve(other, START_S, now_s=START_S + LIFE_S)
    assert (made.refusal, made.standings[0].held) == (None, 0)


async def test_what_comes_to_light_after_it_expired_is_counted_all_the_same(
    gateways: list[RedisAccounts], tenant: str
) -> None:
    await gateways[0].reserve(asked_of(tenant, 900), START_S, now_s=START_S)
    later_s = START_S + LIFE_S + 1
    step = Settling(tenant, "a", 1, Amount(700, 1), True)
    await gateways[1].send([step, step], START_S, now_s=later_s)
    (told,) = await gateways[2].standings(tenant, LIMITS[:1], later_s)
    assert (told.spent, told.held) == (700, 0)


async def test_a_call_counts_in_the_window_that_it_was_admitted_in(
    gateways: list[RedisAccounts], tenant: str
) -> None:
    minute = Limit("key", "k", Measure.TOKENS, Window.MINUTE, hard=100)
    asked = ReservationRequest(tenant, "a", (minute,), Amount(0, 80), LIFE_S)
    await gateways[0].reserve(asked, START_S, now_s=START_S + 59)
    after_s = START_S + 61
    fresh = ReservationRequest(tenant, "b", (minute,), Amount(0, 100), LIFE_S)
    assert (await gateways[1].reserve(fresh, START_S, now_s=after_s)).refusal is None
    step = Settling(tenant, "a", 1, Amount(0, 80), True)
    await gateways[0].send([step], START_S, now_s=after_s)
    (told,) = await gateways[0].standings(tenant, [minute], after_s)
    assert (told.spent, told.held) == (0, 100)


async def test_what_was_served_while_redis_was_away_is_counted_whatever_the_limits(
    gateways: list[RedisAccounts], tenant: str
) -> None:
    served = [asked_of(tenant, 900, id=f"s{at}") for at in range(3)]
    steps = [Settling(tenant, one.id, 1, Amount(800, 1), True) for one in served]
    await gateways[0].send([*served, *steps], START_S, now_s=START_S)
    (told,) = await gateways[1].standings(tenant, LIMITS[:1], START_S)
    assert (told.spent, told.held) == (2400, 0)
    refused = await gateways[1].reserve(asked_of(tenant, 1, id="n"), START_S, now_s=START_S)
    assert refused.refusal is not None


async def test_a_tenants_counters_are_in_one_slot_and_only_a_strangers_have_an_end(
    gateways: list[RedisAccounts], tenant: str, redis_url: str
) -> None:
    hostile = f"{tenant}}}:x{{y"
    now_s = await _redis_now(gateways[0])
    for name, one in ((tenant, False), (hostile, True)):
        await gateways[0].reserve(asked_of(name, 1, stranger=one), now_s)
        await gateways[0].send([Settling(name, "a", 1, Amount(1, 1), True)], now_s)
    async with Redis.from_url(redis_url) as client:
        assert {await client.ttl(key) for key in account_keys(tenant)[:2]} == {-1}
        for key in account_keys(hostile):
            assert await client.exists(key) == 0 or 0 < await client.ttl(key) < 3 * 86_400
        assert await client.exists(account_keys(hostile)[3])
    assert len({key.split("{")[1].split("}")[0] for key in account_keys(hostile)}) == 1
    assert not set(account_keys(hostile)) & set(account_keys(tenant))


async def test_settled_reservations_are_forgotten_in_time(
    gateways: list[RedisAccounts], tenant: str, redis_url: str
) -> None:
    for at in range(30):
        await gateways[0].reserve(asked_of(tenant, 1, id=f"r{at}"), START_S, now_s=START_S)
        step = Settling(tenant, f"r{at}", 1, Amount(1, 1), True)
        await gateways[0].send([step], START_S, now_s=START_S)
    async with Redis.from_url(redis_url) as client:
        assert await client.hlen(account_keys(tenant)[1]) == 30
        later_s = START_S + 121
        await gateways[0].reserve(asked_of(tenant, 1, id="z"), START_S, now_s=later_s)
        assert await client.hlen(account_keys(tenant)[1]) == 1


async def test_scripts_that_redis_has_forgotten_are_sent_again(
    redis_server: RedisServer, tenant: str
) -> None:
    store = RedisAccounts(redis_server.url)
    asked = asked_of(tenant, 10)
    await store.reserve(asked, START_S, now_s=START_S)
    redis_server.kill()
    with pytest.raises((RedisError, OSError)):
        await store.reserve(asked_of(tenant, 10, id="b"), START_S, now_s=START_S)
    redis_server.start()
    await store.send([Settling(tenant, "a", 1, Amount(7, 1), True)], START_S, now_s=START_S)
    (told,) = await store.standings(tenant, LIMITS[:1], START_S)
    assert (told.spent, told.held) == (7, 0)
    await store.close()


async def test_keys_are_kept_found_and_changed_by_one_at_a_time(redis_url: str) -> None:
    store, other = RedisAccounts(redis_url), RedisAccounts(redis_url)
    key, secret = new_key(uuid.uuid4().hex, START_S, rules=Rules(concurrency=2))
    assert limits_of(key.rules, "key", key.id)
    assert await store.change_key(None, key)
    assert not await other.change_key(None, key), "it is there already"
    assert await other.find_key(hashed(secret)) == key
    assert await other.find_key(hashed("hk-made-up")) is None
    after, new = rotated(key, START_S)
    assert await store.change_key(key, after)
    assert not await other.change_key(key, revoked(key, START_S)), "somebody else was faster"
    assert await store.find_key(hashed(secret)) is None
    assert await store.find_key(hashed(new)) == after
    gone = revoked(after, START_S)
    assert await store.change_key(after, gone)
    assert await other.find_key(hashed(new)) == gone
    assert gone in await other.keys()
    async with Redis.from_url(redis_url) as client:
        for name in ("records", "hashes"):
            assert await client.ttl(f"hansom:{{keys}}:{name}") == -1
    await store.close()
    await other.close()
