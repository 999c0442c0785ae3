"""Error budgets in Redis, one hash of integers per owner and class, shared by all gateways.

Promised: an outcome that was counted is never lost, whoever counts or settles at the same time,
and of the gateways that see one change exactly one is told of it. Keys have no time to live: a
budget is no cached answer. Every failure is an exception of the redis client.
Not covered: an outcome whose connection broke before the reply may have been counted or not.
Nothing is tried again, so that none is counted twice: after a restart of Redis a call may fail on
each pooled connection once.
"""

from __future__ import annotations

import hashlib
from typing import cast

from cache.error_budget.budget import (
    Change,
    ErrorBudget,
    Level,
    OutcomeSource,
    State,
    outcome,
    seen,
    settle,
)
from cache.error_budget.state import difference, fields, from_fields
from core.redis_client import connect_pool

KEY_PREFIX = "hansom:budget:"

# epoch, then field and increment in turn -> 1, or 0 where another settling came first.
_SETTLE = """
if (redis.call('HGET', KEYS[1], 'epoch') or '0') ~= ARGV[1] then return 0 end
for at = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]) end
return 1
"""


def budget_key(owner_tag: str, name: str) -> str:
    """`hansom:budget:{<owner>}:<class hash>`; the tag is the owner's hash, without braces.

    A class is named by a tenant's domain word, which may hold anything; "" is the default class.
    """
    hashed = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{KEY_PREFIX}{{{owner_tag}}}:{hashed}"


class RedisBudget:
    """The states of all classes; each call brings the limit, which may differ by class."""

    def __init__(self, url: str, *, max_connections: int = 8, timeout_s: float = 1.0) -> None:
        # No retry: an increment whose reply was lost would be counted twice.
        self._redis = connect_pool(
            url,
            max_connections,
            retries=0,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        self._settle = self._redis.register_script(_SETTLE)

    async def read(self, owner_tag: str, name: str) -> State:
        """The state of a class; that of one unheard of is empty.

        Raises `redis.RedisError`, `OSError`, or `ValueError` for a hash that is no budget.
        """
        return await self._read(budget_key(owner_tag, name))

    async def count(
        self,
        owner_tag: str,
        name: str,
        level: Level,
        wrong: bool | None,
        source: OutcomeSource,
        *,
        budget: ErrorBudget,
        share: float = 1.0,
    ) -> Change | None:
        """Count one outcome at the level at which its hit was served, and settle.

        `wrong` and `share` are those of `cache.error_budget.budget.outcome`. A change is told to
        one caller only. Raises what `read` raises.
        """
        key = budget_key(owner_tag, name)
        added = fields(seen(State(), level, outcome(level, wrong, source, share)))
        if not added:
            return None
        pipe = self._redis.pipeline(transaction=True)
        for field, value in added.items():
            pipe.hincrby(key, field, value)
        pipe.hgetall(key)
        state = from_fields((await pipe.execute())[-1])
        while True:
            settled, change = settle(state, budget, name)
            if settled is state:
                return None
            if await self._add(key, state, settled):
                return change
            state = await self._read(key)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def _read(self, key: str) -> State:
        return from_fields(cast(dict[bytes, bytes], await self._redis.hgetall(key)))

    async def _add(self, key: str, before: State, after: State) -> bool:
        """Add what a settling changes, unless another one was faster; its own epoch is in it."""
        arguments = [item for pair in difference(before, after).items() for item in pair]
        return bool(await self._settle(keys=[key], args=[before.epoch, *arguments]))
