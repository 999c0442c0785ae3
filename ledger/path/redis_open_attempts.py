"""Store open attempts in Redis: a hash for each gateway, and the gateways' leases.

Promises: what a gateway listed stays until it, or a sweep after its death, takes it off; a gateway
counts as dead when its last sign of life is older than its lease, by the clock of Redis. Nothing of
it has an expiry, so a Redis that is full of cached answers evicts nothing of it.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, cast

from redis.asyncio import Redis

from core.ledger_line import LedgerLine
from core.redis_client import connect
from ledger.path.redis_stream import FIELD

# A gateway's sign of life is the moment in ms until which it is believed to live.
_NOW_MS = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# open, gateways | gateway, lease in ms, afresh, closed ids, then id, line, id, line, ...
_MARK = f"""
{_NOW_MS}
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', now_ms + ARGV[2]))
if ARGV[3] == '1' then redis.call('DEL', KEYS[1]) end
local closed = tonumber(ARGV[4])
for at = 5, 4 + closed do redis.call('HDEL', KEYS[1], ARGV[at]) end
for at = 5 + closed, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
"""

# gateways | The names of those that are dead.
_DEAD = f"""
{_NOW_MS}
local found, dead = redis.call('HGETALL', KEYS[1]), {{}}
for at = 1, #found, 2 do
  if tonumber(found[at + 1]) < now_ms then dead[#dead + 1] = found[at] end
end
return dead
"""

# One that was only silent, and is back, closes its attempts itself.
_IF_DEAD = f"""
{_NOW_MS}
local sign = redis.call('HGET', KEYS[1], ARGV[1])
if sign and tonumber(sign) >= now_ms then return 0 end
"""

# gateways, open, stream | gateway, field, id, line, id, line, ... Into the stream and off the list.
_SETTLE = f"""
{_IF_DEAD}
for at = 3, #ARGV, 2 do
  redis.call('XADD', KEYS[3], '*', ARGV[2], ARGV[at + 1])
  redis.call('HDEL', KEYS[2], ARGV[at])
end
return 1
"""

# gateways, open | gateway
_FORGET = f"""
{_IF_DEAD}
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[1], ARGV[1])
"""


class _Keys:
    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.gateways = f"{stream}:gateways"

    def open(self, gateway: str) -> str:
        return f"{self.stream}:open:{gateway}"


class RedisOpenList:
    """`ledger.path.open_attempts.OpenList` of one gateway; the caller has the deadline."""

    def __init__(self, url: str, stream: str, gateway: str, lease_s: float) -> None:
        self._redis = _client(url)
        self._keys = _Keys(stream)
        self._gateway = gateway
        self._lease_ms = round(lease_s * 1000)
        self._mark = self._redis.register_script(_MARK)

    async def mark(
        self, opened: Mapping[str, bytes], closed: Sequence[str], *, afresh: bool = False
    ) -> None:
        """One round trip; raises `redis.RedisError` or `OSError`."""
        keys, gateway = self._keys, self._gateway
        pairs = [part for pair in opened.items() for part in pair]
        await cast(
            Awaitable[Any],
            self._mark(
                keys=[keys.open(gateway), keys.gateways],
                args=[gateway, self._lease_ms, int(afresh), len(closed), *closed, *pairs],
            ),
        )

    async def leave(self) -> None:
        """Forget this gateway."""
        keys, gateway = self._keys, self._gateway
        pipe = self._redis.pipeline(transaction=True)
        pipe.delete(keys.open(gateway))
        pipe.hdel(keys.gateways, gateway)
        await pipe.execute()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


class RedisLeft:
    """What dead gateways left open. Methods raise `redis.RedisError` or `OSError`."""

    def __init__(self, url: str, stream: str) -> None:
        self._redis = _client(url)
        self._keys = _Keys(stream)
        self._dead = self._redis.register_script(_DEAD)
        self._settle = self._redis.register_script(_SETTLE)
        self._forget = self._redis.register_script(_FORGET)

    async def dead(self) -> list[str]:
        """Gateways whose last sign of life is too long ago."""
        names = await cast(Awaitable[list[bytes]], self._dead(keys=[self._keys.gateways]))
        return sorted(name.decode() for name in names)

    async def left(self, gateway: str) -> dict[str, LedgerLine]:
        """The provisional lines of its open attempts, by id; unreadable ones are left out."""
        found = await cast(
            Awaitable[dict[bytes, bytes]], self._redis.hgetall(self._keys.open(gateway))
        )
        lines = {}
        for id, raw in found.items():
            try:
                lines[id.decode()] = LedgerLine.from_bytes(raw)
            except ValueError:
                continue
        return lines

    async def settle(self, gateway: str, lines: Mapping[str, LedgerLine]) -> bool:
        """Put the lines into the stream and take them off the list, in one step.

        False, and nothing happens, when the gateway turned out to live.
        """
        pairs = [part for id, line in lines.items() for part in (id, line.to_bytes())]
        keys = [self._keys.gateways, self._keys.open(gateway), self._keys.stream]
        done = await cast(Awaitable[int], self._settle(keys=keys, args=[gateway, FIELD, *pairs]))
        return bool(done)

    async def forget(self, gateway: str) -> None:
        """Strike a dead gateway off, with what of its list could not be read."""
        keys = [self._keys.gateways, self._keys.open(gateway)]
        await cast(Awaitable[Any], self._forget(keys=keys, args=[gateway]))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _client(url: str) -> Redis:
    """No retry by the client: both callers come back by themselves."""
    return connect(url)
