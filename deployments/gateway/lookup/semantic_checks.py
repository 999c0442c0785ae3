"""Follow up semantic hits: store entries, check hits by sample, update the error budget.

Promises:
- A checked hit is generated again beside the request and compared; the outcome is counted against
  the budget of its owner and domain, and a change of level is logged. Nobody waits for a check.
- What costs something after a call is held in the call's reservation until it is over.
Not covered: which entry serves (`deployments.gateway.lookup.semantic`), and the arithmetic
(`cache.error_budget.budget`).
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from cache.error_budget.budget import ErrorBudget, Level, OutcomeSource, State, level, sampling
from cache.semantic.lookup import StoredAnswer
from core import log
from core.call import Call
from deployments.gateway.attempt import Recorder
from deployments.gateway.lookup.served import ErrorBudgets, Served

_logger = logging.getLogger("hansom.cache")
# What a tier says to the same call, asked once more.
Again = Callable[[Call, str], Awaitable[str | None]]
_MAX_TASKS, _MAX_PROBES = 64, 256
_PATIENCE_S = 10.0
# A caller who says that an answer is this right says that it is right.
_RIGHT = 0.5


@dataclass(frozen=True, slots=True)
class BudgetState:
    """The error budget of a call's class, and what has become of it."""

    state: State
    budget: ErrorBudget

    @property
    def level(self) -> Level:
        """How strictly hits are verified now."""
        return level(self.state, self.budget)

    @property
    def share(self) -> float:
        """The share of hits that is checked."""
        return sampling(self.state, self.budget)


class Checks:
    """One per gateway replica. `again` asks a tier the same once more and gives its words."""

    def __init__(
        self, recorder: Recorder, router: Any, budgets: ErrorBudgets, again: Again
    ) -> None:
        self._recorder = recorder
        self._router = router
        self._budgets = budgets
        self._again = again
        self._probes: OrderedDict[str, Served] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def busy(self) -> bool:
        """Whether so much is under way that another hit is not followed."""
        return len(self._tasks) >= _MAX_TASKS

    async def standing(self, owner: str, domain: str, limit: float) -> BudgetState:
        """What is known of a class of requests that may have this share of wrong hits."""
        return BudgetState(await self._budgets.state(owner, domain), ErrorBudget(limit))

    def answered(self, call: Call, text: str) -> None:
        """Compare the answer of a call with what it would have been served, if there is that."""
        if (probed := self._probes.pop(call.call_id, None)) is not None:
            self.start(self._compare(call, probed, text))

    async def feedback(self, tenant: str, request_id: str, right: float) -> bool:
        """Take a caller's word on a semantic hit; False when it was none of this tenant's."""
        served = await self._budgets.served(tenant, request_id)
        if served is None:
            return False
        same = right >= _RIGHT
        await self.tell(self._router.learn, served.scope_key, served.entry, served.cosine, same)
        if not same:
            await self._forget_own(served)
        await self._count(served, wrong=not same, source=OutcomeSource.FEEDBACK)
        return True

    async def settled(self) -> None:
        """Wait for background work: entries, checks, counts."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._budgets.close()

    def probe(self, call: Call, served: Served) -> None:
        """Compare a hit that is not served with what the call is answered instead."""
        self._probes[call.call_id] = served
        if len(self._probes) > _MAX_PROBES:
            self._probes.popitem(last=False)

    def follow(
        self, call: Call, served: Served, then_keep: StoredAnswer | None, *, checked: bool
    ) -> None:
        """See to a served hit; its reservation is held for a check, which outlives the call."""
        work = self._after(call, served, then_keep, checked=checked)
        if checked:
            self.held(call, work)
        else:
            self.start(work)

    def held(self, call: Call, work: Coroutine[Any, Any, None]) -> None:
        """Start what costs something after the call, out of the call's reservation."""
        accounts = self._recorder.accounts
        accounts.hold(call.call_id)
        self.start(work).add_done_callback(lambda _: accounts.release(call.call_id))

    async def _after(
        self, call: Call, served: Served, then_keep: StoredAnswer | None, *, checked: bool
    ) -> None:
        """Remember who was served what; and generate the answer all the same, if it was drawn."""
        await self._budgets.remember(call.tenant, call.request_id, served)
        same = None
        if checked and (fresh := await self._again(call, served.tier)) is not None:
            same = await self._compare(call, served, fresh)
        if then_keep is not None and same is not False:
            await self.tell(self._router.keep, then_keep)

    async def _compare(self, call: Call, served: Served, fresh: str) -> bool | None:
        """Whether what was served says what `fresh` says; the outcome is counted."""
        same: bool | None = await self.tell(
            self._router.compare, served.scope_key, served.entry, served.cosine, served.text, fresh
        )
        result = "unclear" if same is None else "same" if same else "other"
        self._recorder.metrics.semantic_checks.labels(result).inc()
        wrong = None if same is None else not same
        await self._count(served, wrong=wrong, source=OutcomeSource.CHECK)
        if same is False:
            await self._forget_own(served)
            log.event(
                _logger, "semantic_hit_wrong", request_id=call.request_id, entry=served.entry,
                cosine=round(served.cosine, 4), level=served.level,
            )  # fmt: skip
        return same

    async def _forget_own(self, served: Served) -> None:
        if served.own:
            await self.tell(self._router.forget, served.scope_key, [served.own])

    async def _count(self, served: Served, *, wrong: bool | None, source: OutcomeSource) -> None:
        change = await self._budgets.count(served, wrong=wrong, source=source)
        if change is not None:
            log.event(
                _logger, "semantic_level_changed", domain=change.name, before=change.before.value,
                after=change.after.value, reason=change.reason,
            )  # fmt: skip

    async def tell(self, method: Any, *given: object) -> Any:
        """Ask the router in the background; None when it is away."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await method.remote(*given)
        except (TimeoutError, RayError, RayServeException):
            return None

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin what no caller waits for; `close` cancels it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
