"""Ask the dearest tier whether a stored answer serves a prompt that the trees refused.

Promises:
- A question is one prefill, one token and one ledger line of kind `classifier`. A failure, a late
  or a strange answer is a no.
- At most `MOST` questions at once, none to a tier without a running replica, and after failures in
  a row none for a while.
- A question that no caller waits for goes in the batch lane, behind all interactive requests.
Not covered: which pairs may be asked about (`cache.semantic.verdict`), and what a yes leads to
(`deployments.gateway.lookup.semantic`).
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from cache.error_budget.budget import Level
from cache.scope import Scope
from cache.semantic.lookup import DoubtfulEntry, StoredAnswer
from cache.semantic.verdict import serves
from core.call import Call, Lane
from core.settings.load import Tier
from deployments.gateway.attempt import Recorder
from deployments.gateway.backends.tier import TierReplicas

# P(yes) by a tier for (cached, query), within seconds; None without an answer.
Ask = Callable[[Call, Tier, str, str, float], Awaitable[float | None]]
MOST = 2
_PATIENCE_S = 30.0
_FAILURES_TO_OPEN, _OPEN_S = 3, 10.0
_MAX_NOTED = 256


@dataclass(frozen=True, slots=True)
class Doubted:
    """A request's prompt, the entry that does not serve it, and the error budget's level."""

    scope: Scope
    doubt: DoubtfulEntry
    level: Level


class Verdicts:
    """One per gateway replica; `replicas` are those of the dearest tier."""

    def __init__(self, recorder: Recorder, replicas: TierReplicas, ask: Ask) -> None:
        self._recorder = recorder
        self._replicas = replicas
        self._ask = ask
        self._noted: OrderedDict[str, Doubted] = OrderedDict()
        self._open = 0
        self._failures = 0
        self._again_s = 0.0

    @property
    def waits(self) -> bool:
        """Whether a request waits for its verdict."""
        return self._recorder.settings.cache.verify_wait

    def note(self, call: Call, doubted: Doubted) -> None:
        """Keep the pair until it is asked about; the oldest of too many is dropped."""
        self._noted[call.call_id] = doubted
        if len(self._noted) > _MAX_NOTED:
            self._noted.popitem(last=False)

    def take(self, call: Call) -> Doubted | None:
        """The pair noted for a call, once."""
        return self._noted.pop(call.call_id, None)

    async def yes(self, call: Call, doubted: Doubted) -> float | None:
        """P(yes) where it is enough at the level; None for a no, and where nothing was asked."""
        if not self._may_ask():
            self._count("skipped")
            return None
        if not self.waits:
            call = replace(call, lane=Lane.BATCH)
        timeout_s = self._recorder.settings.cache.verify_timeout_s if self.waits else _PATIENCE_S
        tier = self._recorder.settings.tiers[-1]
        self._open += 1
        try:
            said = await self._ask(call, tier, doubted.doubt.text, doubted.scope.text, timeout_s)
        finally:
            self._open -= 1
        self._note_failure(failed=said is None)
        enough = serves(said, doubted.level, self._recorder.settings.cache.verify_least)
        self._count("none" if said is None else "yes" if enough else "no")
        return said if enough else None

    def _may_ask(self) -> bool:
        if self._open >= MOST or not self._replicas.left(frozenset()) or self._replicas.asleep:
            return False
        now_s = self._recorder.clock.monotonic_s()
        if self._failures >= _FAILURES_TO_OPEN and now_s < self._again_s:
            return False
        self._again_s = now_s + _OPEN_S
        return True

    def _note_failure(self, *, failed: bool) -> None:
        self._failures = self._failures + 1 if failed else 0

    def _count(self, result: str) -> None:
        self._recorder.metrics.semantic_verdicts.labels(result).inc()


def agreed(kept: StoredAnswer, doubt: DoubtfulEntry) -> StoredAnswer:
    """A new answer's entry under the older entry's answer key, so that the two agree."""
    return replace(kept, answer=doubt.answer)


def alias(
    doubted: Doubted, tags: tuple[str, ...], now_s: float, ttl_s: int, cap: int
) -> StoredAnswer:
    """An entry for the prompt that leads to the older entry's answer, and ends no later than it.

    It has the tags of both. `now_s` is wall time; `ttl_s` how long the older answer was kept.
    """
    doubt = doubted.doubt
    left_s = int(doubt.created_s + ttl_s - now_s)
    return StoredAnswer(
        scope_key=doubted.scope.key,
        text=doubted.scope.text,
        answer=doubt.answer,
        exact_key=doubt.exact_key,
        tags=tuple(dict.fromkeys((*doubt.tags, *tags))),
        created_s=doubt.created_s,
        ttl_s=max(1, min(ttl_s, left_s)),
        cap=cap,
    )
