"""Purging a real Redis: what goes, what stays, and what a gateway does meanwhile."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import RedisError

from cache.admin.key_names import owner_tag
from cache.admin.purge import Selection
from cache.admin.redis_purge import Purged, RedisPurge
from cache.exact.redis_store import tag_key
from tests.cache.admin.stored import Shelf, shelf
from tests.conftest import RedisServer

pytestmark = pytest.mark.redis
GONE, KEPT = (False, False, False), (True, True, True)


@pytest.fixture
async def stored(redis_url: str) -> AsyncIterator[Shelf]:
    async with shelf(redis_url) as made:
        yield made


async def purge(url: str, selection: Selection) -> Purged:
    purge = RedisPurge(url, selection)
    try:
        return await purge.run()
    finally:
        await purge.close()


async def test_a_tag_takes_its_answers_with_entries_and_vectors(stored: Shelf):
    one = await stored.put("a", tags=["faq", "x"])
    other = await stored.put("b", tags=["faq2"])
    assert await purge(stored.url, Selection(tag="faq", owner=stored.owner)) == Purged(1, 1)
    assert (await stored.left(one), await stored.left(other)) == (GONE, KEPT)
    assert not await stored.redis.exists(tag_key(one.answer, "faq"))
    assert await stored.redis.exists(tag_key(one.answer, "x"))


async def test_a_tag_without_a_tenant_is_everybodys(stored: Shelf):
    tag, theirs = uuid.uuid4().hex, uuid.uuid4().hex
    ours = [await stored.put("a", tags=[tag]), await stored.put("a", tags=[tag], tenant=theirs)]
    assert await purge(stored.url, Selection(tag=tag)) == Purged(2, 2)
    assert [await stored.left(one) for one in ours] == [GONE, GONE]


async def test_a_tag_that_only_the_entry_knows_takes_the_answer_too(stored: Shelf):
    one = await stored.put("a", tags=["faq"], indexed=False)
    assert await purge(stored.url, Selection(tag="faq", owner=stored.owner)) == Purged(1, 1)
    assert await stored.left(one) == GONE


async def test_an_entry_that_only_the_tags_set_knows_goes(stored: Shelf):
    one = await stored.put("a")
    await stored.redis.sadd(tag_key(one.answer, "faq"), one.entry)
    assert await purge(stored.url, Selection(tag="faq", owner=stored.owner)) == Purged(1, 1)
    assert await stored.left(one) == GONE


@pytest.mark.parametrize("by", ["answer", "entry"])
async def test_one_key_takes_the_answer_and_its_entry(stored: Shelf, by: str):
    one, other = await stored.put("a"), await stored.put("b")
    key = one.answer if by == "answer" else one.entry
    assert await purge(stored.url, Selection(keys=frozenset([key]))) == Purged(1, 1)
    assert (await stored.left(one), await stored.left(other)) == (GONE, KEPT)


async def test_another_tenants_key_does_not_go(stored: Shelf):
    one = await stored.put("a")
    selection = Selection(owner=owner_tag("another"), keys=frozenset([one.entry]))
    assert await purge(stored.url, selection) == Purged(0, 0)
    assert await stored.left(one) == KEPT


async def test_what_is_older_goes(stored: Shelf):
    old, new = await stored.put("a", made_s=10.0), await stored.put("b", made_s=20.0)
    assert await purge(stored.url, Selection(stored.owner, before_s=15.0)) == Purged(1, 1)
    assert (await stored.left(old), await stored.left(new)) == (GONE, KEPT)


async def test_choices_hold_together(stored: Shelf):
    old = await stored.put("a", tags=["faq"], made_s=10.0)
    new = await stored.put("b", tags=["faq"], made_s=20.0)
    bare = await stored.put("c", made_s=10.0)
    assert await purge(stored.url, Selection(stored.owner, "faq", None, 15.0)) == Purged(1, 1)
    assert [await stored.left(one) for one in (old, new, bare)] == [GONE, KEPT, KEPT]
    members = await stored.redis.smembers(tag_key(old.answer, "faq"))
    assert members == {new.answer.encode()}


async def test_a_tenant_leaves_nothing_but_others_stay(stored: Shelf):
    """More than one batch, a vector whose entry is gone, and bytes that are no entry."""
    mine = [await stored.put(str(at), tags=["faq"]) for at in range(620)]
    theirs = await stored.put("0", tenant=uuid.uuid4().hex)
    await stored.redis.delete(mine[0].entry)
    await stored.redis.set(mine[1].entry, b"\x09unreadable")
    assert await purge(stored.url, Selection(stored.owner)) == Purged(620, 619)
    assert [key async for key in stored.redis.scan_iter(f"hansom:*{stored.owner}*")] == []
    assert await stored.left(theirs) == KEPT


async def test_all_is_all(redis_server: RedisServer):
    async with shelf(redis_server.url) as stored:
        for at in range(3):
            await stored.put("a", tags=["t"], tenant=f"tenant {at}")
        await stored.redis.set("hansom:ledger:x", "1")
        assert await purge(stored.url, Selection()) == Purged(3, 3)
        assert await stored.redis.keys("*") == [b"hansom:ledger:x"]
        assert await purge(stored.url, Selection()) == Purged(0, 0)


async def test_gateways_that_write_meanwhile_lose_a_hit_and_no_more(stored: Shelf):
    """Answer, entry and vector of one request stay consistent: no entry without its vector."""

    async def write() -> None:
        for turn in range(5):
            for at in range(40):
                await stored.put(f"{at}", tags=["faq"], made_s=float(turn))

    writer = asyncio.create_task(write())
    while not writer.done():
        await purge(stored.url, Selection(stored.owner, tag="faq"))
        await asyncio.sleep(0)
    await writer
    for at in range(40):
        one = await stored.put(f"{at}", tags=["faq"])
        assert await stored.left(one) == KEPT
    assert await purge(stored.url, Selection(stored.owner, tag="faq")) == Purged(40, 40)
    assert [key async for key in stored.redis.scan_iter(f"hansom:*{stored.owner}*")] == []


async def test_a_dead_redis_is_the_clients_error(redis_server: RedisServer):
    redis_server.kill()
    with pytest.raises((RedisError, OSError)):
        await purge(redis_server.url, Selection())
