"""The semantic cache as the gateway sees it: who may be looked up, what is served, what is checked.

Promises: a look-up ends within its deadline, and whatever goes wrong is a miss with a named reason
in the metrics. A share of the served hits, chosen at random, is generated anyway beside the
request, compared, and counted against the error budget of its tenant and domain, which makes the
cache stricter or switches it off there, and says so. Nobody waits for a check.
Not covered: finding and judging entries (`deployments.near`).
"""

import asyncio
import hashlib
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import orjson
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from cache.budget import Budget, Level, Source, level, sampling
from cache.exact import CachedAnswer, ExactCache
from cache.key import owner
from cache.scope import Scope, scope
from core import log
from core.call import Call, Endpoint
from deployments import trace
from deployments.attempt import Books
from deployments.near import UNAVAILABLE, Found, Kept
from deployments.served import Budgets, Served
from router.cascade import normalise_final

_logger = logging.getLogger("hansom.cache")
# What a tier says to the same call, asked once more.
Again = Callable[[Call, str], Awaitable[str | None]]
# Longer texts are embedded by head and tail: what differs in the middle would not be seen.
_MAX_CHARS = 1000
# Fields under which an answer is more than its words, or no answer at all.
_NEVER_WITH = ("tools", "functions", "logprobs", "audio", "modalities")
# Vectors of another embedder, or of other numbers, must never meet.
_EMBEDDER = "all-MiniLM-L6-v2-int8"
_MAX_TASKS, _MAX_PROBES = 64, 256
_PATIENCE_S = 10.0
# A caller who says that an answer is this right says that it is right.
_RIGHT = 0.5
LATE = "late"
_FAILURES_TO_OPEN, _OPEN_S = 5, 5.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored answer that serves, and how it was found."""

    answer: CachedAnswer
    found: Found

    @property
    def reason(self) -> str:
        """In words, for the header and the log."""
        return (
            f"a request in other words was answered before ({self.found.reason}, "
            f"{self.found.confidence:.3f} sure)"
        )


def words_of(body: bytes) -> str | None:
    """The words of a whole answer, None of one that is more or less than words."""
    try:
        message = orjson.loads(body)["choices"][0]["message"]
        text = None if message.get("tool_calls") else message["content"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return text if isinstance(text, str) and text.strip() else None


def answer_key(text: str) -> str:
    """Equal for answers that say the same: by their final answer, else by their words."""
    said = normalise_final(text) or " ".join(text.split()).casefold()
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def scope_of(call: Call, owner: str, version: str) -> Scope | None:
    """The scope of a call of this owner under an answer version; None where words are not all."""
    body = call.body
    if call.endpoint is not Endpoint.CHAT or body.get("n") not in (None, 1):
        return None
    if any(body.get(name) for name in _NEVER_WITH):
        return None
    found = scope(
        body,
        endpoint=call.endpoint.value,
        tenant=owner,
        policy_version=f"{_EMBEDDER}:{version}:{call.risk}:{call.value}:{call.domain}",
    )
    return found if found and len(found.text) <= _MAX_CHARS else None


def _told(found: tuple[Hit | None, str]) -> trace.Attributes:
    return {"hansom.cache.kind": "semantic", "hansom.cache.result": found[1]}


class Semantic:
    """One per gateway replica. `again` asks a tier the same once more and gives its words."""

    def __init__(
        self,
        books: Books,
        router: Any,
        exact: ExactCache,
        budgets: Budgets,
        version: str,
        again: Again,
    ) -> None:
        self._books = books
        self._router = router
        self._exact = exact
        self._budgets = budgets
        self._version = version
        self._again = again
        self._failures = 0
        self._asked_again_s = 0.0
        self._probes: OrderedDict[str, Served] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def scope_of(self, call: Call) -> Scope | None:
        """The scope of a call that may be served by other words, or None."""
        settings = self._books.settings.cache
        if not settings.rules(call.tenant, call.domain).semantic:
            return None
        return scope_of(call, self._owner(call), self._version)

    async def look_up(self, call: Call, max_age_s: float | None) -> Hit | None:
        """A stored answer that serves the call, or None; never raises."""
        asked = self.scope_of(call)
        if asked is None:
            return None
        hit, reason = await self._in_time(call, asked, max_age_s)
        self._books.metrics.semantic.labels(reason).inc()
        return hit

    def keep(self, call: Call, exact_key: str, body: bytes, ttl_s: int) -> None:
        """Let a stored answer be found by other words, off the critical path."""
        asked = self.scope_of(call)
        text = words_of(body) if asked else None
        if asked is None or not text:
            return
        kept = Kept(
            scope_key=asked.key,
            text=asked.text,
            answer=answer_key(text),
            exact_key=exact_key,
            tags=call.cache_tags,
            created_s=self._books.clock.wall_s(),
            ttl_s=ttl_s,
            cap=self._books.settings.cache.semantic_entries,
        )
        self._start(self._tell(self._router.keep, kept))
        if (probed := self._probes.pop(call.call_id, None)) is not None:
            self._start(self._compare(call, probed, text))

    async def feedback(self, tenant: str, request_id: str, right: float) -> bool:
        """Take a caller's word on a semantic hit; False when it was none of this tenant's."""
        served = await self._budgets.served(tenant, request_id)
        if served is None:
            return False
        same = right >= _RIGHT
        await self._tell(self._router.learn, served.scope_key, served.entry, served.cosine, same)
        await self._count(served, wrong=not same, source=Source.FEEDBACK)
        return True

    async def settled(self) -> None:
        """Wait for what nobody waits for: entries, checks, counts."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._budgets.close()

    def _owner(self, call: Call) -> str:
        scope_ = self._books.settings.cache.scope
        return owner(scope_, tenant=call.tenant, team=call.team, key=call.key)

    @trace.step("lookup", _told)
    async def _in_time(
        self, call: Call, asked: Scope, max_age_s: float | None
    ) -> tuple[Hit | None, str]:
        """Look up within the deadline; after some failures in a row, not at all for a while."""
        now_s = self._books.clock.monotonic_s()
        if self._failures >= _FAILURES_TO_OPEN and now_s < self._asked_again_s:
            return None, UNAVAILABLE
        self._asked_again_s = now_s + _OPEN_S
        try:
            async with asyncio.timeout(self._books.settings.cache.semantic_timeout_s):
                hit, reason = await self._look_up(call, asked, max_age_s)
        except TimeoutError:
            hit, reason = None, LATE
        self._failures = self._failures + 1 if reason in (LATE, UNAVAILABLE) else 0
        return hit, reason

    async def _look_up(
        self, call: Call, asked: Scope, max_age_s: float | None
    ) -> tuple[Hit | None, str]:
        budget = Budget(self._books.settings.cache.rules(call.tenant, call.domain).wrong_share)
        state = await self._budgets.state(self._owner(call), call.domain)
        now = level(state, budget)
        off = now is Level.OFF
        found = await self._near(call, asked, Level.STRICT if off else now, budget.limit)
        if not found.serves:
            return None, found.reason
        answer = await self._exact.get(found.exact_key, max_age_s)
        text = words_of(answer.body) if answer else None
        if answer is None or text is None:
            self._start(self._forget_if_gone(asked.key, found))
            return None, "answer_gone"
        share = sampling(state, budget)
        served = Served(
            asked.key, found.entry, found.cosine, self._owner(call), call.domain, now.value,
            budget.limit, share, text, answer.tier,
        )  # fmt: skip
        if off:
            self._probe(call, served)
            return None, "switched_off"
        if len(self._tasks) < _MAX_TASKS:
            self._start(self._after(call, served, checked=random.random() < share))
        return Hit(answer, found), found.reason

    async def _near(self, call: Call, asked: Scope, at: Level, delta: float) -> Found:
        try:
            found: Found = await self._router.near.remote(
                asked.key, asked.text, at.value, delta, random.random()
            )
            return found
        except (RayError, RayServeException) as error:
            log.event(
                _logger, "semantic_router_away",
                request_id=call.request_id, error=repr(error)[:200],
            )  # fmt: skip
            return Found(UNAVAILABLE)

    async def _forget_if_gone(self, scope_key: str, found: Found) -> None:
        """An answer that only came late is no reason to lose the way to it."""
        if await self._exact.gone(found.exact_key):
            await self._tell(self._router.forget, scope_key, [found.entry])

    def _probe(self, call: Call, served: Served) -> None:
        """Compare a hit that is not served with what the call is answered instead."""
        self._probes[call.call_id] = served
        if len(self._probes) > _MAX_PROBES:
            self._probes.popitem(last=False)

    async def _after(self, call: Call, served: Served, *, checked: bool) -> None:
        """Remember who was served what; and generate the answer all the same, if it was drawn."""
        await self._budgets.remember(call.tenant, call.request_id, served)
        if checked and (fresh := await self._again(call, served.tier)) is not None:
            await self._compare(call, served, fresh)

    async def _compare(self, call: Call, served: Served, fresh: str) -> None:
        same = await self._tell(
            self._router.compare, served.scope_key, served.entry, served.cosine, served.text, fresh
        )
        result = {True: "same", False: "other"}.get(same, "unclear")
        self._books.metrics.semantic_checks.labels(result).inc()
        wrong = None if same is None else not same
        await self._count(served, wrong=wrong, source=Source.CHECK)
        if same is False:
            log.event(
                _logger, "semantic_hit_wrong", request_id=call.request_id, entry=served.entry,
                cosine=round(served.cosine, 4), level=served.level,
            )  # fmt: skip

    async def _count(self, served: Served, *, wrong: bool | None, source: Source) -> None:
        change = await self._budgets.count(served, wrong=wrong, source=source)
        if change is not None:
            log.event(
                _logger, "semantic_level_changed", domain=change.name, before=change.before.value,
                after=change.after.value, reason=change.reason,
            )  # fmt: skip

    async def _tell(self, method: Any, *given: object) -> Any:
        """Ask the router something that nobody waits for; None when it is away."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await method.remote(*given)
        except (TimeoutError, RayError, RayServeException):
            return None

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
