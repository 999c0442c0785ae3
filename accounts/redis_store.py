"""Accounts in Redis: counters with reservations, and the records of virtual keys.

Promises: a call's limits are checked and reserved together, all or nothing, against what is there
at that moment; a step that is sent twice counts once; what nobody settles expires by itself. Of a
tenant that somebody named nothing has a time to live, so that no Redis that is short of memory
forgets a budget. Every failure is an exception of the redis client; the caller has the deadline.
Not covered: what a window counted after it is over, which is the ledger's to tell.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.exceptions import NoScriptError, ResponseError

from accounts.keys import Key
from accounts.limits import Amount, Limit, LimitRefusal, LimitState
from accounts.redis_scripts import CHANGE_KEY, FIND_KEY, RESERVE, SETTLE
from accounts.windows import span
from core.redis_client import connect_pool
from core.settings.accounts import Measure

_RECORDS, _HASHES = "hansom:{keys}:records", "hansom:{keys}:hashes"
_REMEMBER_MS = 120_000
_NEVER = -1
_TRIES = 3
_LETTERS = {
    Measure.USD: "u", Measure.TOKENS: "t", Measure.CONCURRENCY: "c", Measure.REQUESTS: "r",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReservationRequest:
    """A reservation to be made: of `tenant`, under `id`, with the worst case `amount`.

    It expires `life_s` after it was made. A stranger's counters are forgotten after their windows.
    """

    tenant: str
    id: str
    limits: tuple[Limit, ...]
    amount: Amount
    life_s: float
    stranger: bool = False


@dataclass(frozen=True, slots=True)
class ReservationOutcome:
    """What came of it: how each limit stood before, or the refusal. `now_s` is Redis's clock.

    `standings` is empty for a reservation that was made before.
    """

    now_s: float
    standings: tuple[LimitState, ...] = ()
    refusal: LimitRefusal | None = None


@dataclass(frozen=True, slots=True)
class Settling:
    """One step of an open or settled reservation: what was used, and whether it was the last."""

    tenant: str
    id: str
    step: int
    used: Amount
    last: bool


def account_keys(tenant: str) -> list[str]:
    """The four keys of a tenant, in one slot; its name may hold anything, so it is hashed."""
    tag = hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    kinds = ("spent", "holds", "open", "closed")
    return [f"hansom:account:{{{tag}}}:{kind}" for kind in kinds]


class RedisAccounts:
    """Counters and keys over one Redis; one per process and event loop."""

    def __init__(self, url: str, *, max_connections: int = 32) -> None:
        # One retry at once: every step may be sent twice, and after a restart of Redis each pooled
        # connection fails once.
        self._redis = connect_pool(url, max_connections, retries=1)
        self._reserve = self._redis.register_script(RESERVE)
        self._find = self._redis.register_script(FIND_KEY)
        self._change = self._redis.register_script(CHANGE_KEY)
        self._ahead_s = 0.0
        self._settle_sha = hashlib.sha1(SETTLE.encode()).hexdigest()
        self._reserve_sha = hashlib.sha1(RESERVE.encode()).hexdigest()

    async def reserve(
        self, asked: ReservationRequest, wall_s: float, *, now_s: float | None = None
    ) -> ReservationOutcome:
        """Reserve all of it or nothing.

        `wall_s` is the caller's clock, which is only a first guess at the windows; `now_s` takes
        the place of Redis's clock. Raises `redis.RedisError` or `OSError`.
        """
        guess_s = wall_s + self._ahead_s if now_s is None else now_s
        for _ in range(_TRIES):
            given = _reserve_args(asked, guess_s, now_s, forced=False)
            answer = cast(
                list[Any], await self._reserve(keys=account_keys(asked.tenant), args=given)
            )
            if answer[0] != b"clock":
                return _made(asked, answer)
            guess_s = answer[1] / 1000
            self._ahead_s = guess_s - wall_s  # a clock that is wrong stays so
        raise OSError("the clock of Redis moves faster than windows can be told")

    async def send(
        self,
        steps: Sequence[ReservationRequest | Settling],
        wall_s: float,
        *,
        now_s: float | None = None,
    ) -> list[Exception]:
        """Steps in their order, in one round trip; what Redis itself said against some of them.

        An `ReservationRequest` is made whatever its limits: its call was served while Redis was
        away. Raises `redis.RedisError` or `OSError` when the steps may not have arrived; then send
        them again.
        """
        try:
            return await self._send(steps, wall_s, now_s)
        except NoScriptError:
            await self._redis.script_load(RESERVE)
            await self._redis.script_load(SETTLE)
            return await self._send(steps, wall_s, now_s)

    async def standings(
        self, tenant: str, limits: Sequence[Limit], wall_s: float
    ) -> list[LimitState]:
        """How limits stand now, for people; expired reservations may still be counted."""
        if not limits:
            return []
        names = [f"{side}{one.field}" for one in limits for side in "@=~"]
        told = await cast(Any, self._redis.hmget(account_keys(tenant)[0], names))
        found = []
        for at, limit in enumerate(limits):
            since, spent, held = (int(value or 0) for value in told[3 * at : 3 * at + 3])
            start_s, end_s = _span(limit, wall_s)
            if since < start_s:
                spent = held = 0
            found.append(LimitState(limit, spent, held, end_s or None))
        return found

    async def find_key(self, sha256: str) -> Key | None:
        """The key that a secret's hash leads to; raises `ValueError` for another form of record."""
        raw = await self._find(keys=[_RECORDS, _HASHES], args=[sha256])
        return Key.from_bytes(raw) if raw else None

    async def keys(self) -> list[Key]:
        """All keys, the oldest first; records of another form are left out."""
        found = []
        for raw in (await cast(Any, self._redis.hgetall(_RECORDS))).values():
            try:
                found.append(Key.from_bytes(raw))
            except ValueError:
                continue
        return sorted(found, key=lambda key: (key.created_s, key.id))

    async def change_key(self, before: Key | None, after: Key) -> bool:
        """Replace `before` by `after`; False when another process changed it first."""
        old = {one.sha256 for one in before.secrets} if before else set[str]()
        new = {one.sha256 for one in after.secrets}
        was = before.to_bytes() if before else b""
        args: list[str | bytes] = [after.id, was, after.to_bytes()]
        for one in sorted(old | new):
            args += [one, "1" if one in new else "0"]
        return bool(await self._change(keys=[_RECORDS, _HASHES], args=args))

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def _send(
        self, steps: Sequence[ReservationRequest | Settling], wall_s: float, now_s: float | None
    ) -> list[Exception]:
        pipe = self._redis.pipeline(transaction=False)
        for step in steps:
            keys = account_keys(step.tenant)
            if isinstance(step, ReservationRequest):
                args = _reserve_args(step, wall_s + self._ahead_s, now_s, forced=True)
                pipe.evalsha(self._reserve_sha, len(keys), *keys, *args)
            else:
                pipe.evalsha(self._settle_sha, len(keys), *keys, *_settle_args(step, now_s))
        told = await pipe.execute(raise_on_error=False)
        wrong = [one for one in told if isinstance(one, Exception)]
        for one in wrong:
            if type(one) is not ResponseError:  # no script, no memory, still loading: send again
                raise one
        return wrong


def _reserve_args(
    asked: ReservationRequest, guess_s: float, now_s: float | None, *, forced: bool
) -> list[str | int]:
    spans = [_span(limit, guess_s) for limit in asked.limits]
    # A day beyond the last window: late steps still find what they belong to.
    forget_s = max((end_s for _, end_s in spans), default=0) + 86_400
    forget_s = max(forget_s, int(guess_s + asked.life_s) + 86_400) if asked.stranger else 0
    args: list[str | int] = [
        _ms(now_s), asked.id, round(asked.life_s * 1000), int(forced), forget_s,
    ]  # fmt: skip
    for limit, (start_s, end_s) in zip(asked.limits, spans, strict=True):
        hard = _NEVER if limit.hard is None else limit.hard
        amount = asked.amount.of(limit.measure)
        args += [limit.field, start_s, end_s, hard, amount, _LETTERS[limit.measure]]
    return args


def _settle_args(step: Settling, now_s: float | None) -> list[str | int]:
    return [
        _ms(now_s), step.id, step.step, int(step.last), _REMEMBER_MS,
        step.used.usd_micros, step.used.tokens,
    ]  # fmt: skip


def _made(asked: ReservationRequest, answer: list[Any]) -> ReservationOutcome:
    now_s = answer[1] / 1000
    if answer[0] == b"refused":
        limit = asked.limits[answer[2]]
        standing = _standing(limit, answer[3], answer[4], now_s)
        return ReservationOutcome(
            now_s, refusal=LimitRefusal(standing, asked.amount.of(limit.measure))
        )
    numbers = answer[2:]
    return ReservationOutcome(
        now_s,
        tuple(
            _standing(limit, numbers[2 * at], numbers[2 * at + 1], now_s)
            for at, limit in enumerate(asked.limits[: len(numbers) // 2])
        ),
    )


def _standing(limit: Limit, spent: int, held: int, now_s: float) -> LimitState:
    return LimitState(limit, spent, held, _span(limit, now_s)[1] or None)


def _span(limit: Limit, now_s: float) -> tuple[int, int]:
    """Start and end of the window; 0 and 0 for places, which have none."""
    return span(limit.window, now_s) if limit.window else (0, 0)


def _ms(now_s: float | None) -> int:
    return 0 if now_s is None else round(now_s * 1000)
