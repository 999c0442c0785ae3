"""Cache error budgets and served hits of Redis in a gateway.

Promises: nothing raises; without Redis a domain is as one unheard of, an outcome is lost and says
so in the log. A state is read again after `_STATE_S`, or at once when this gateway changed it.
"""

import logging
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
from redis.exceptions import RedisError

from cache.admin.key_names import owner_tag
from cache.error_budget.budget import Change, ErrorBudget, Level, OutcomeSource, State
from cache.error_budget.redis_budget import RedisBudget
from core import log
from core.ports import Clock
from core.redis_client import connect
from deployments.gateway.lookup.served import Served

_logger = logging.getLogger("hansom.cache")
_STATE_S = 5.0
_REMEMBER_S = 86_400
_SOCKET_S = 1.0
_MAX_STATES = 4096
Result = TypeVar("Result")
_DECODER = msgspec.msgpack.Decoder(Served)


class RedisBudgets:
    """`deployments.gateway.lookup.served.ErrorBudgets` over one Redis."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._clock = clock
        self._book = RedisBudget(url)
        self._states: dict[tuple[str, str], tuple[float, State]] = {}
        self._redis = connect(url, retries=1, socket_timeout=_SOCKET_S)

    async def state(self, owner: str, domain: str) -> State:
        """See `Budgets`."""
        now_s = self._clock.monotonic_s()
        read_s, state = self._states.get((owner, domain), (-_STATE_S, State()))
        if now_s - read_s < _STATE_S:
            return state
        if len(self._states) >= _MAX_STATES:
            self._states.clear()
        # Kept before it is read: others need not ask the same meanwhile.
        self._states[owner, domain] = (now_s, state)
        found = await self._tried(self._book.read(owner_tag(owner), domain))
        if found is not None:
            self._states[owner, domain] = (now_s, found)
        return found or state

    async def count(
        self, served: Served, *, wrong: bool | None, source: OutcomeSource
    ) -> Change | None:
        """See `Budgets`."""
        change = await self._tried(
            self._book.count(
                owner_tag(served.owner),
                served.domain,
                Level(served.level),
                wrong,
                source,
                budget=ErrorBudget(served.limit),
                share=served.share,
            )
        )
        self._states.pop((served.owner, served.domain), None)
        return change

    async def remember(self, tenant: str, request_id: str, served: Served) -> None:
        """See `Budgets`."""
        raw = msgspec.msgpack.encode(msgspec.structs.replace(served, text=""))
        await self._tried(self._redis.set(_key(tenant, request_id), raw, ex=_REMEMBER_S))

    async def served(self, tenant: str, request_id: str) -> Served | None:
        """See `Budgets`."""
        raw = await self._tried(self._redis.get(_key(tenant, request_id)))
        try:
            return _DECODER.decode(raw) if isinstance(raw, bytes) else None
        except msgspec.DecodeError:
            return None

    async def close(self) -> None:
        """See `Budgets`."""
        await self._book.close()
        await self._redis.aclose()

    async def _tried(self, operation: Awaitable[Result]) -> Result | None:
        try:
            return await operation
        except (RedisError, OSError, ValueError) as error:
            log.event(_logger, "semantic_budget_unavailable", error=repr(error)[:200])
            return None


def _key(tenant: str, request_id: str) -> str:
    return f"hansom:served:{{{owner_tag(tenant)}}}:{request_id}"
