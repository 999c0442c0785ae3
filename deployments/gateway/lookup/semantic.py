"""The semantic cache in the gateway: which requests are looked up, and what is served.

Promises: a look-up ends within its deadline, and whatever goes wrong is a miss with a named reason
in the metrics. With `cache.verify` a model is asked about what the trees refuse
(`deployments.gateway.lookup.verdicts`); a request waits for it only with `cache.verify_wait`.
Not covered: finding and judging entries (`deployments.router.semantic_index`), checks of what was
served and the error budget (`deployments.gateway.lookup.semantic_checks`).
"""

import asyncio
import hashlib
import logging
import random
from dataclasses import dataclass
from typing import Any

import orjson
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from cache.error_budget.budget import Level
from cache.exact.answers import CachedAnswer, ExactCache
from cache.exact.key import owner
from cache.scope import Scope, scope
from cache.semantic.consensus import ServedBy as Reason
from cache.semantic.entries import entry_id
from cache.semantic.lookup import UNAVAILABLE, Lookup, StoredAnswer
from core import log
from core.call import Call, Endpoint
from deployments.gateway.attempt import Recorder
from deployments.gateway.lookup.semantic_checks import Again, BudgetState, Checks
from deployments.gateway.lookup.served import ErrorBudgets, Served
from deployments.gateway.lookup.verdicts import Doubted, Verdicts, agreed, alias
from deployments.gateway.tracing import trace
from text.final_answer import normalise_final

_logger = logging.getLogger("hansom.cache")
# Longer texts are embedded by head and tail: what differs in the middle would not be seen.
_MAX_CHARS = 1000
# Fields under which an answer is more than its words, or no answer at all.
_NEVER_WITH = ("audio", "modalities")
# Vectors of another embedder, or of other numbers, must never meet.
_EMBEDDER = "all-MiniLM-L6-v2-int8"
LATE = "late"
_FAILURES_TO_OPEN, _OPEN_S = 5, 5.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored answer that serves, and how it was found."""

    answer: CachedAnswer
    found: Lookup

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
    body, asked = call.body, call.asked
    several = call.endpoint is not Endpoint.CHAT or asked.choices > 1
    if several or asked.tools or asked.logprobs or any(body.get(one) for one in _NEVER_WITH):
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
    """One per gateway replica. `again` asks a tier the same once more and gives its words.

    Without `verdicts` what the trees refuse is a miss.
    """

    def __init__(
        self,
        recorder: Recorder,
        router: Any,
        exact: ExactCache,
        budgets: ErrorBudgets,
        version: str,
        again: Again,
        verdicts: Verdicts | None = None,
    ) -> None:
        self._recorder = recorder
        self._router = router
        self._exact = exact
        self._version = version
        self._checks = Checks(recorder, router, budgets, again)
        self._verdicts = verdicts
        self._failures = 0
        self._asked_again_s = 0.0
        self.feedback = self._checks.feedback
        self.settled, self.close = self._checks.settled, self._checks.close

    def scope_of(self, call: Call) -> Scope | None:
        """The scope of a call that may be served by other words, or None."""
        settings = self._recorder.settings.cache
        if not settings.rules(call.tenant, call.domain).semantic:
            return None
        return scope_of(call, self._owner(call), self._version)

    async def look_up(self, call: Call, max_age_s: float | None) -> Hit | None:
        """A stored answer that serves the call, or None; never raises."""
        asked = self.scope_of(call)
        if asked is None:
            return None
        hit, reason = await self._in_time(call, asked, max_age_s)
        if hit is None and self._verdicts is not None and self._verdicts.waits:
            hit, reason = await self._judged(call, self._verdicts, max_age_s, reason)
        self._recorder.metrics.semantic.labels(reason).inc()
        return hit

    def keep(self, call: Call, exact_key: str, body: bytes, ttl_s: int) -> None:
        """Let a stored answer be found by other words, off the critical path."""
        asked = self.scope_of(call)
        text = words_of(body) if asked else None
        if asked is None or not text:
            return
        kept = StoredAnswer(
            scope_key=asked.key,
            text=asked.text,
            answer=answer_key(text),
            exact_key=exact_key,
            tags=call.cache_tags,
            created_s=self._recorder.clock.wall_s(),
            ttl_s=ttl_s,
            cap=self._recorder.settings.cache.semantic_entries,
        )
        doubted = self._verdicts.take(call) if self._verdicts else None
        if doubted is None:
            self._checks.start(self._checks.tell(self._router.keep, kept))
        else:
            self._checks.held(call, self._agree(call, kept, doubted))
        self._checks.answered(call, text)

    def _owner(self, call: Call) -> str:
        scope_ = self._recorder.settings.cache.scope
        return owner(scope_, tenant=call.tenant, team=call.team, key=call.key)

    @trace.step("lookup", _told)
    async def _in_time(
        self, call: Call, asked: Scope, max_age_s: float | None
    ) -> tuple[Hit | None, str]:
        """Look up within the deadline; after some failures in a row, not at all for a while."""
        now_s = self._recorder.clock.monotonic_s()
        if self._failures >= _FAILURES_TO_OPEN and now_s < self._asked_again_s:
            return None, UNAVAILABLE
        self._asked_again_s = now_s + _OPEN_S
        try:
            async with asyncio.timeout(self._recorder.settings.cache.semantic_timeout_s):
                hit, reason = await self._look_up(call, asked, max_age_s)
        except TimeoutError:
            hit, reason = None, LATE
        self._failures = self._failures + 1 if reason in (LATE, UNAVAILABLE) else 0
        return hit, reason

    async def _look_up(
        self, call: Call, asked: Scope, max_age_s: float | None
    ) -> tuple[Hit | None, str]:
        standing = await self._standing(call)
        now = standing.level
        at = Level.STRICT if now is Level.OFF else now
        found = await self._near(call, asked, at, standing.budget.limit)
        if found.serves:
            return await self._serve(call, asked, found, standing, max_age_s)
        if found.doubt and self._verdicts and now is not Level.OFF:
            self._verdicts.note(call, Doubted(asked, found.doubt, now))
        return None, found.reason

    async def _judged(
        self, call: Call, verdicts: Verdicts, max_age_s: float | None, reason: str
    ) -> tuple[Hit | None, str]:
        """Serve the entry that the trees refused if the model says yes; the call waits for it."""
        doubted = verdicts.take(call)
        if doubted is None or await self._exact.gone(doubted.doubt.exact_key):
            return None, reason
        sure = await verdicts.yes(call, doubted)
        if sure is None:
            return None, reason
        doubt = doubted.doubt
        found = Lookup(Reason.JUDGED.value, sure, doubt.cosine, doubt.entry, doubt.exact_key)
        rules = self._recorder.settings.cache.rules(call.tenant, call.domain)
        now_s, cap = self._recorder.clock.wall_s(), self._recorder.settings.cache.semantic_entries
        kept = alias(doubted, call.cache_tags, now_s, rules.ttl_s, cap)
        standing = await self._standing(call)
        return await self._serve(call, doubted.scope, found, standing, max_age_s, kept)

    async def _agree(self, call: Call, kept: StoredAnswer, doubted: Doubted) -> None:
        """Keep an entry; if the model says yes, let it agree with the one that did not serve."""
        assert self._verdicts is not None
        await self._checks.tell(self._router.keep, kept)
        if await self._verdicts.yes(call, doubted) is None:
            return
        if not await self._exact.gone(kept.exact_key):  # or a purge would be undone
            await self._checks.tell(self._router.keep, agreed(kept, doubted.doubt))

    async def _standing(self, call: Call) -> BudgetState:
        limit = self._recorder.settings.cache.rules(call.tenant, call.domain).wrong_share
        return await self._checks.standing(self._owner(call), call.domain, limit)

    async def _serve(
        self,
        call: Call,
        asked: Scope,
        found: Lookup,
        standing: BudgetState,
        max_age_s: float | None,
        then_keep: StoredAnswer | None = None,
    ) -> tuple[Hit | None, str]:
        """The answer of an entry; where the budget is spent, only a comparison with a fresh one.

        `then_keep` is an entry for the same answer, to be kept unless a check finds it wrong.
        """
        answer = await self._exact.get(found.exact_key, max_age_s)
        text = words_of(answer.body) if answer else None
        if answer is None or text is None:
            self._checks.start(self._forget_if_gone(asked.key, found))
            return None, "answer_gone"
        same_words = found.reason == Reason.SAME_TEXT or found.entry == entry_id(asked.text)
        own = entry_id(then_keep.text) if then_keep else found.entry if same_words else ""
        served = Served(
            asked.key, found.entry, found.cosine, self._owner(call), call.domain,
            standing.level.value, standing.budget.limit, standing.share, text, answer.tier,
            own,
        )  # fmt: skip
        if standing.level is Level.OFF:
            self._checks.probe(call, served)
            return None, "switched_off"
        if not self._checks.busy:
            self._checks.follow(call, served, then_keep, checked=random.random() < standing.share)
        return Hit(answer, found), found.reason

    async def _near(self, call: Call, asked: Scope, at: Level, delta: float) -> Lookup:
        rules = self._recorder.settings.cache.rules(call.tenant, call.domain)
        try:
            found: Lookup = await self._router.near.remote(
                asked.key, asked.text, at.value, delta, random.random(),
                rules.verify != "off",
            )  # fmt: skip
            return found
        except (RayError, RayServeException) as error:
            log.event(
                _logger, "semantic_router_away",
                request_id=call.request_id, error=repr(error)[:200],
            )  # fmt: skip
            return Lookup(UNAVAILABLE)

    async def _forget_if_gone(self, scope_key: str, found: Lookup) -> None:
        """An answer that only came late is no reason to lose the way to it."""
        if await self._exact.gone(found.exact_key):
            await self._checks.tell(self._router.forget, scope_key, [found.entry])
