"""The memory of keys: short, bounded, and no way in while nobody can say."""

import asyncio
from dataclasses import replace

import pytest
from redis.exceptions import ConnectionError

from accounts import keyring
from accounts.keyring import Keyring
from accounts.keys import Key, hashed, new_key
from core.breaker import Breaker
from core.errors import Unavailable
from tests.fakes import FakeAccounts, FakeClock

KEY, SECRET = new_key("acme", 0.0)
SHA = hashed(SECRET)


class Ring:
    """A keyring, its clock and where it reads."""

    def __init__(self, outage_s: float = 100.0) -> None:
        self.clock, self.store = FakeClock(), FakeAccounts()
        self.store.records[SHA] = KEY
        self.ring = Keyring(self.store, Breaker(self.clock, 1.0), self.clock, outage_s)

    async def find(self, sha: str = SHA) -> Key | None:
        found = await self.ring.find(sha)
        await asyncio.sleep(0.01)  # what is read beside the request
        return found


async def test_a_key_in_memory_is_not_asked_for() -> None:
    ring = Ring()
    for _ in range(20):
        assert await ring.find() == KEY
    assert ring.store.operations == 1


async def test_a_key_in_use_is_read_again_beside_its_requests() -> None:
    ring = Ring()
    for _ in range(40):
        assert await ring.find() == KEY
        ring.clock.advance(0.5)
    assert 8 <= ring.store.operations <= 11  # 20 s, every 2 s


async def test_a_revocation_takes_effect_within_five_seconds_however_busy_the_key() -> None:
    ring = Ring()
    await ring.find()
    gone = replace(KEY, revoked_s=ring.clock.wall_s())
    ring.store.records[SHA] = gone
    passed_s = 0.0
    while await ring.find() == KEY:
        ring.clock.advance(0.25)
        passed_s += 0.25
    assert passed_s <= keyring.LAST_S
    idle = Ring()
    await idle.find()
    del idle.store.records[SHA]
    idle.clock.advance(keyring.LAST_S)
    assert await idle.find() is None


async def test_an_unknown_secret_is_remembered_too_and_for_as_long() -> None:
    ring = Ring()
    for _ in range(9):
        assert await ring.find("made up") is None
    assert ring.store.operations == 1
    ring.store.records["made up"] = KEY
    ring.clock.advance(keyring.LAST_S)
    assert await ring.find("made up") == KEY


async def test_while_redis_is_away_known_keys_go_on_and_nobody_else_gets_in() -> None:
    ring = Ring(outage_s=100.0)
    assert await ring.find() == KEY
    ring.store.failure = ConnectionError("gone")
    ring.clock.advance(99.0)
    assert await ring.find() == KEY
    for sha in ("made up", "made up"):
        with pytest.raises(Unavailable) as caught:
            await ring.find(sha)
        assert (caught.value.code, caught.value.retry_after_s) == ("accounts_unavailable", 2)
    ring.clock.advance(1.0)
    with pytest.raises(Unavailable):
        await ring.find()
    ring.store.failure = None
    ring.clock.advance(2.0)
    assert await ring.find() == KEY


async def test_made_up_secrets_push_no_key_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_MAX_UNKNOWN", 10)
    monkeypatch.setattr(keyring, "_MAX_KEYS", 3)
    ring = Ring()
    await ring.find()
    for at in range(30):
        assert await ring.ring.find(f"made up {at}") is None
    assert len(ring.ring._unknown) == 10
    asked = ring.store.operations
    assert await ring.find() == KEY
    assert ring.store.operations == asked
    for at in range(5):
        ring.store.records[f"real {at}"] = KEY
        await ring.find(f"real {at}")
    assert len(ring.ring._known) == 3


async def test_closing_ends_what_is_read_beside_the_requests() -> None:
    ring = Ring()
    await ring.find()
    ring.clock.advance(keyring.FRESH_S)
    waiting = asyncio.Event()

    async def never(sha256: str) -> Key | None:
        waiting.set()
        await asyncio.sleep(60)
        return None

    ring.store.find_key = never  # type: ignore[method-assign]
    assert await ring.ring.find(SHA) == KEY
    await waiting.wait()
    await ring.ring.close()
    await asyncio.sleep(0)
    assert not ring.ring._reading
