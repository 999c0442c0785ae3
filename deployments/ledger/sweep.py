"""Close the attempts that a dead gateway left open.

Promises: each of them gets one line, `gateway_lost`, with the engine's own count of its tokens
where a replica still has it; a sweep that is repeated, or comes after the gateway's own line,
changes nothing, because a line's identity is unique. What it cost is counted against the limits of
whoever asked.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NoReturn

import msgspec

from accounts.limits import Amount
from accounts.redis_store import Settling
from accounts.reserve import amount_of
from core.call import Usage
from core.ledger_line import SIDE_KINDS, LedgerLine, saved_usd_micros
from core.log import event
from core.money import Price
from core.settings.load import Settings
from deployments.names import ENGINE_DEPLOYMENT, handle_of, tier_app
from ledger.path.redis_open_attempts import RedisLeft

_EVERY_S = 5.0
_ASK_S = 10.0
_AT_ONCE = 32
_STEP = 1000  # beyond every step that a gateway takes for one call

log = logging.getLogger("hansom.ledger")
Ask = Callable[[str, str], Awaitable[Usage | None]]
Count = Callable[[Sequence[Settling], float], Awaitable[object]]


class Sweep:
    """`ask` tells what a tier's engines counted for a request, None when none of them knows it."""

    def __init__(
        self, settings: Settings, left: RedisLeft, ask: Ask, count: Count | None = None
    ) -> None:
        self._settings = settings
        self._left = left
        self._ask = ask
        self._count = count
        self._asking = asyncio.Semaphore(_AT_ONCE)

    async def once(self) -> int:
        """Close what dead gateways left; how many lines that were. Raises what Redis raises."""
        closed = 0
        for gateway in await self._left.dead():
            found = await self._left.left(gateway)
            lines = await asyncio.gather(*(self._line(line) for line in found.values()))
            if not await self._left.settle(gateway, dict(zip(found, lines, strict=True))):
                continue  # it was only silent
            await self._left.forget(gateway)
            if self._count is not None:
                await self._count(settlings(lines), time.time())
            closed += len(lines)
            event(log, "ledger_swept", gateway=gateway, lines=len(lines))
        return closed

    async def forever(self, every_s: float = _EVERY_S) -> NoReturn:
        """Until cancelled; failures of Redis are waited out."""
        while True:
            try:
                await self.once()
            except Exception as error:  # whatever Redis or Ray raise: the next turn tries again
                event(log, "ledger_sweep_failed", reason=repr(error))
            await asyncio.sleep(every_s)

    async def _line(self, open_: LedgerLine) -> LedgerLine:
        told: Usage | None = None
        with suppress(Exception):  # whatever Ray raises: the tier may be gone
            async with self._asking, asyncio.timeout(_ASK_S):
                told = await self._ask(open_.tier, open_.engine_request_id)
        usage = told or Usage()
        cost = saved = 0
        with suppress(LookupError):  # the settings may know the tier no more
            cost = self._price(open_.tier, open_.created_s).cost_usd_micros(usage)
            largest = self._price(self._settings.tiers[-1].name, open_.created_s)
            saved = saved_usd_micros(usage, cost, largest, served=False)
        undelivered = 0 if open_.kind in SIDE_KINDS else usage.output_tokens
        return msgspec.structs.replace(
            open_, usage=usage, undelivered_tokens=undelivered, cost_usd_micros=cost,
            saved_usd_micros=saved, estimated_tokens=told is None,
        )  # fmt: skip

    def _price(self, tier: str, wall_s: float) -> Price:
        return self._settings.price(self._settings.tier(tier), wall_s)


def settlings(lines: Sequence[LedgerLine]) -> list[Settling]:
    """The last step of each call's reservation; calls without limits have none, which is no harm.

    A reservation that its gateway had settled already takes it as one more step.
    """
    used: dict[tuple[str, str], Amount] = {}
    for line in lines:
        call = (line.tenant, line.call_id)
        used[call] = used.get(call, Amount()) + amount_of(line)
    return [Settling(tenant, id, _STEP, spent, True) for (tenant, id), spent in used.items()]


async def ask_replicas(tier: str, engine_request_id: str) -> Usage | None:
    """What a tier's running replicas counted for a request; None when none of them knows it."""
    handle = handle_of(ENGINE_DEPLOYMENT, tier_app(tier))
    answers = await handle.broadcast("usage", engine_request_id).results_async(
        timeout_s=_ASK_S, return_exceptions=True
    )
    return next((one for one in answers if isinstance(one, Usage)), None)
