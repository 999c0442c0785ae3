"""Accounts at the gateway: identify the payer, reserve the worst case, settle what was used.

Promises: a request without limits, whose key is in memory, asks Redis nothing; one with
limits asks once before it is served, and is settled behind it. A reservation is held until the
request is over and every attempt that it began is written down, so that what is still unknown stays
reserved; so it is for the check of a semantic hit, which outlives its request, and made once more
for each try after one that failed on its way. While Redis is away calls are served and counted
later, or refused (`accounts.on_redis_failure`).
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from accounts import limits
from accounts.credential import credential, unreadable
from accounts.keyring import Keyring, Records
from accounts.keys import hashed, is_virtual, well_formed
from accounts.limits import Amount, Limit, LimitRefusal, LimitState, Payer
from accounts.payer import of_secret, with_key
from accounts.port import NO_RESERVATION, AccountedRequest, Reservation
from accounts.redis_store import ReservationOutcome, ReservationRequest, Settling
from accounts.refused_line import refused_line
from accounts.settler import Settler, Steps
from core import log
from core.breaker import Away, Breaker
from core.errors import InvalidKey, LimitReached, Unavailable
from core.ledger_line import NOT_MADE, LedgerLine
from core.metrics import Metrics
from core.ports import Clock, LineRecorder
from core.settings.accounts import Measure
from core.settings.load import Settings

# A reservation outlives the longest request by this much.
_GRACE_S = 30.0
# Places that were just given back may still be on their way from another gateway.
_PAUSES_S = (0.0, 0.01, 0.04)
_MAX_OPEN, _MAX_LATE, _MAX_REMEMBERED = 50_000, 8192, 4096
_logger = logging.getLogger("hansom.accounts")


class AccountsStore(Records, Steps, Protocol):
    """Where counters and keys are; `accounts.redis_store.RedisAccounts`."""

    async def reserve(self, asked: ReservationRequest, wall_s: float) -> ReservationOutcome:
        """See there."""

    async def close(self) -> None:
        """Close all connections."""


NOTHING = Amount()


@dataclass(slots=True)
class _Account:
    """One request with a reservation: `open` attempts have not been written down yet.

    `more` are the ids of what was reserved for further tries.
    """

    asked: ReservationRequest
    used: Amount = NOTHING
    open: int = 0
    over: bool = False
    more: list[str] = field(default_factory=list)


class Accounts:
    """One per gateway replica."""

    def __init__(
        self,
        settings: Settings,
        store: AccountsStore,
        clock: Clock,
        metrics: Metrics,
        ledger: LineRecorder,
    ) -> None:
        self._settings = settings.accounts
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._ledger = ledger
        self._breaker = Breaker(clock, settings.accounts.timeout_s)
        self._keyring = Keyring(store, self._breaker, clock, settings.accounts.keys_outage_s)
        self._settler = Settler(store, clock)
        self._open: OrderedDict[str, _Account] = OrderedDict()
        self._late: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._limits: dict[object, tuple[Payer, tuple[Limit, ...]]] = {}

    @property
    def pending(self) -> int:
        """Steps that Redis has not been told yet."""
        return self._settler.pending

    def start(self) -> None:
        """Begin to settle, in the running event loop."""
        self._settler.start()

    async def identify(self, headers: Mapping[str, str]) -> Payer:
        """See `AccountsPort`."""
        try:
            token = credential(headers)
        except InvalidKey as error:
            raise self._counted(error) from None
        required = self._settings.keys == "required"
        if required and not token:
            raise self._counted(unreadable("is missing"))
        if not required and not is_virtual(token):
            return of_secret(token, headers)
        if not well_formed(token):
            raise self._invalid("is not known")
        sha256 = hashed(token)
        key = await self._keyring.find(sha256)
        if key is None:
            raise self._invalid("is not known")
        if why := key.refusal(sha256, self._clock.wall_s()):
            raise self._invalid(why)
        return with_key(key, headers)

    async def reserve(self, visit: AccountedRequest, worst: Callable[[], Amount]) -> Reservation:
        """See `AccountsPort`."""
        payer = visit.payer
        found = self._limits_of(payer)
        if not found:
            return NO_RESERVATION
        asked = ReservationRequest(
            payer.tenant,
            visit.call_id,
            found,
            worst(),
            visit.life_s + _GRACE_S,
            limits.is_without_key(self._settings, payer),
        )
        try:
            made = await self._made(asked)
        except Away as error:
            made = self._unchecked(asked, error)
        except BaseException:  # what may have been reserved must be given back
            self._settler.add(Settling(asked.tenant, asked.id, 1, Amount(), True))
            raise
        if made.refusal is not None:
            raise self._refused(visit, made.refusal, made.now_s)
        self._remember(asked)
        over = limits.soft_exceeded(made.standings, asked.amount)
        if over:
            self._warn(visit, over)
        return Reservation(
            lambda: self._over(visit.call_id),
            limits.budget_left(made.standings),
            limits.soft_words(over) if over else "",
            binding=any(one.hard is not None for one in _countable(found)),
        )

    async def reserve_again(self, call_id: str) -> bool:
        """See `AccountsPort`."""
        account = self._open.get(call_id)
        if account is None or not (found := _countable(account.asked.limits)):
            return True
        asked = replace(account.asked, id=f"{call_id}:{len(account.more) + 1}", limits=tuple(found))
        account.more.append(asked.id)
        try:
            return (await self._made(asked)).refusal is None
        except Away:
            self._settler.add(asked)
            return self._settings.on_redis_failure == "serve"

    def hold(self, call_id: str) -> None:
        """See `AccountsPort`."""
        self.begun(call_id)

    def release(self, call_id: str) -> None:
        """See `AccountsPort`."""
        if (account := self._open.get(call_id)) is not None:
            account.open -= account.open > 0
            self._settle_if_over(call_id, account)

    def begun(self, call_id: str) -> None:
        """See `AccountsPort`."""
        if (account := self._open.get(call_id)) is not None:
            account.open += 1

    def spent(self, line: LedgerLine) -> None:
        """See `AccountsPort`."""
        account = self._open.get(line.call_id)
        if account is None:
            self._spent_late(line)
            return
        account.open -= account.open > 0
        account.used += amount_of(line)
        self._settle_if_over(line.call_id, account)

    async def close(self) -> None:
        """Settle all that is known, and close the connections."""
        for call_id, account in list(self._open.items()):
            account.over, account.open = True, 0
            self._settle_if_over(call_id, account)
        await self._keyring.close()
        await self._settler.close()
        await self._store.close()

    def _invalid(self, why: str) -> InvalidKey:
        return self._counted(InvalidKey(f"The API key {why}.", code="invalid_api_key"))

    def _counted(self, error: InvalidKey) -> InvalidKey:
        self._metrics.refusals.labels("key").inc()
        return error

    def _limits_of(self, payer: Payer) -> tuple[Limit, ...]:
        """The limits of a payer, remembered for as long as its key's record is the same."""
        name = (payer.tenant, payer.team, payer.tags, payer.key)
        known = self._limits.get(name)
        if known is not None and known[0].record is payer.record:
            return known[1]
        found = limits.applicable(self._settings, payer)
        if len(self._limits) >= _MAX_REMEMBERED:
            self._limits.clear()
        self._limits[name] = (payer, found)
        return found

    async def _made(self, asked: ReservationRequest) -> ReservationOutcome:
        """Reserve; what only open reservations stand against is tried again for a moment."""
        for pause_s in _PAUSES_S:
            if pause_s:
                await self._settler.flushed(pause_s)
                await asyncio.sleep(pause_s)
            made = await self._breaker.ask(lambda: self._store.reserve(asked, self._clock.wall_s()))
            if made.refusal is None or not made.refusal.only_reserved:
                break
        return made

    def _unchecked(self, asked: ReservationRequest, error: Away) -> ReservationOutcome:
        """Serve, and count when Redis is back; raises `Unavailable` where that is forbidden."""
        if self._settings.on_redis_failure == "refuse":
            self._settler.add(Settling(asked.tenant, asked.id, 1, Amount(), True))
            raise Unavailable(
                "The limits of this API key cannot be checked at the moment. Try again shortly.",
                code="accounts_unavailable",
                retry_after_s=2,
            ) from error
        self._metrics.unchecked.inc()
        self._settler.add(asked)
        return ReservationOutcome(self._clock.wall_s())

    def _remember(self, asked: ReservationRequest) -> None:
        self._open[asked.id] = _Account(asked)
        if len(self._open) > _MAX_OPEN:  # a leak would be ours; Redis lets go of it by itself
            self._open.popitem(last=False)

    def _over(self, call_id: str) -> None:
        if (account := self._open.get(call_id)) is not None:
            account.over = True
            self._settle_if_over(call_id, account)

    def _settle_if_over(self, call_id: str, account: _Account) -> None:
        if not account.over or account.open:
            return
        del self._open[call_id]
        self._settler.add(Settling(account.asked.tenant, call_id, 1, account.used, True))
        for id in account.more:
            self._settler.add(Settling(account.asked.tenant, id, 1, NOTHING, True))
        self._late[call_id] = (account.asked.tenant, 1)
        if len(self._late) > _MAX_LATE:
            self._late.popitem(last=False)

    def _spent_late(self, line: LedgerLine) -> None:
        """A line of a call that is settled already, if it had limits."""
        tenant, step = self._late.get(line.call_id, ("", 0))
        if step:
            self._late[line.call_id] = (tenant, step + 1)
            used = amount_of(line)
            self._settler.add(Settling(tenant, line.call_id, step + 1, used, False))

    def _refused(
        self, visit: AccountedRequest, refusal: LimitRefusal, now_s: float
    ) -> LimitReached:
        measure = refusal.standing.limit.measure
        self._metrics.refusals.labels(measure.value).inc()
        line = refused_line(visit, refusal, self._clock)
        self._metrics.attempts.labels(line.tier, line.kind.value, line.outcome.value).inc()
        self._ledger.record(line)
        return LimitReached(
            refusal.words,
            code="budget_exceeded" if refusal.is_budget else "rate_limited",
            retry_after_s=refusal.retry_after_s(now_s),
        )

    def _warn(self, visit: AccountedRequest, over: list[LimitState]) -> None:
        for one in over:
            self._metrics.soft_limits.labels(one.limit.measure.value).inc()
        log.event(
            _logger, "budget_soft_exceeded", request_id=visit.request_id,
            tenant=visit.payer.tenant, limits=[one.limit.field for one in over],
        )  # fmt: skip


def _countable(found: tuple[Limit, ...]) -> list[Limit]:
    """The limits that grow with what a request takes, not with its number."""
    return [one for one in found if one.measure in (Measure.TOKENS, Measure.USD)]


def amount_of(line: LedgerLine) -> Amount:
    """What a line counts: all of its cost, and the tokens that an engine made for it."""
    tokens = 0 if line.kind in NOT_MADE else line.usage.total_tokens
    return Amount(line.cost_usd_micros, tokens)
