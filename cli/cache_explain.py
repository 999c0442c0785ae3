"""`hansom cache explain`: what the cache would do with one request now, and why.

Promises: nothing is generated, counted or learned; what decides is the code that decides live,
over the running system's own entries and error budget.
Not covered: load: a live look-up that takes too long is a miss.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from redis.exceptions import RedisError, ResponseError

from cache.admin.key_names import owner_tag
from cache.error_budget.budget import ErrorBudget, Level, State, level
from cache.error_budget.redis_budget import RedisBudget
from cache.exact.answers import CachedAnswer
from cache.exact.eligible import directives, eligible
from cache.exact.redis_store import RedisStore
from cache.language.detect import GATED
from cache.language.mismatch import Mismatch, never
from cache.semantic.consensus import Candidate, ConsensusSettings, choose
from cache.semantic.entries import Nearby, SemanticEntry, entry_key
from cache.semantic.lookup import Lookup
from cache.semantic.pair import PromptReader
from cache.semantic.redis_vectors import RedisVectors
from cache.semantic.verify import Thresholds, Verifier
from cli.cache_asked import CacheOptions, exact_key_of
from cli.cache_redis import owner_of
from core.settings import load as core_settings
from deployments.gateway.dispatch import load_scorer
from deployments.gateway.gateway import answer_version
from deployments.gateway.lookup.semantic import scope_of, words_of
from deployments.router.semantic_index import SemanticIndex
from text.embed import MiniLM

_TIMEOUT_S = 5.0
# The largest draw below 1: explores only where every request would.
_NEVER_EXPLORES = float(np.nextafter(1.0, 0.0))
_NO_OTHER_WORDS = (
    "only a short chat request whose last message is the user's text, without tools and with one "
    "answer, is answered in other words"
)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry near the request; `gate` refuses it, or `probability` is that of its pair."""

    key: str
    text: str
    cosine: float
    gate: str
    probability: float
    answer: str
    exact_key: str
    age_s: float
    tags: tuple[str, ...]
    outcomes_same: int
    outcomes_other: int


@dataclass(frozen=True, slots=True)
class Explained:
    """What would happen: `decision` is exact, semantic or generate; `reason` as in the metrics."""

    decision: str
    reason: str
    words: str
    tenant: str
    owner: str
    exact_key: str
    scope_key: str = ""
    level: str = ""
    wrong_share: float = 0.0
    thresholds: Thresholds | None = None
    confidence: float = 0.0
    together: float | None = None
    serves: str = ""
    near: tuple[Neighbour, ...] = ()

    def as_json(self) -> str:
        """One object."""
        return json.dumps(asdict(self))


async def explain(url: str, settings: core_settings.Settings, asked: CacheOptions) -> Explained:
    """Look the request up as a gateway would; raises `redis.RedisError` or `OSError`."""
    call = asked.call(settings)
    scorer = load_scorer(settings)
    version = answer_version(settings, scorer.version if scorer else settings.router.strategy)
    owner = owner_of(settings, call.tenant, call.team, asked.key)
    key = exact_key_of(call, owner, version)
    told = Explained("generate", "off", "", call.tenant, owner_tag(owner), key)
    rules = settings.cache.rules(call.tenant, call.domain)
    rule = eligible(call.asked, directives({}), rules)
    if not rule.lookup:
        return replace(told, words=f"the cache is not asked: {rule.reason}")
    store = RedisStore(url, max_connections=1)
    try:
        if await _kept(store, key) is not None:
            return replace(
                told, decision="exact", reason="exact", words="the same request was answered before"
            )
        asked_scope = scope_of(call, owner, version) if rules.semantic else None
        if asked_scope is None:
            why = _NO_OTHER_WORDS if rules.semantic else "cache.semantic is off for this request"
            return replace(told, reason="no_scope", words=f"not answered before, and {why}")
        budget = ErrorBudget(rules.wrong_share)
        state = await _state(url, owner_tag(owner), call.domain)
        told = replace(told, scope_key=asked_scope.key, wrong_share=budget.limit)
        look = _Look(
            url, asked_scope.key, asked_scope.text, level(state, budget), budget.limit,
            verify=rules.verify != "off",
        )  # fmt: skip
        return await look.told(told, store)
    finally:
        await store.close()


class _Recorder:
    """A `Nearby` that notes what it found."""

    def __init__(self, nearby: Nearby) -> None:
        self._nearby = nearby
        self.keep, self.forget, self.learn = nearby.keep, nearby.forget, nearby.learn
        self.found: list[tuple[SemanticEntry, float]] = []
        self.failure: RedisError | OSError | None = None

    async def near(
        self, scope_key: str, vector: NDArray[np.float32], count: int
    ) -> list[tuple[SemanticEntry, float]]:
        try:
            self.found = await self._nearby.near(scope_key, vector, count)
        except (RedisError, OSError) as error:
            self.failure = error
            raise
        return self.found


class _Look:
    """One look-up of a text in a scope, at a level and under a limit of wrong hits."""

    def __init__(
        self, url: str, scope_key: str, text: str, now: Level, limit: float, *, verify: bool
    ) -> None:
        self._scope_key, self._text = scope_key, text
        self._level, self._limit, self._verify = now, limit, verify
        self._at = Level.STRICT if now is Level.OFF else now
        self._vectors = RedisVectors(url, timeout_s=_TIMEOUT_S, max_connections=1)
        self._embedder = MiniLM.installed()
        self._verifier = Verifier.load(PromptReader(self._embedder))

    async def told(self, told: Explained, store: RedisStore) -> Explained:
        """The explanation with what was found, and what comes of it."""
        recorder = _Recorder(self._vectors)
        try:
            found, explored = await self._found(recorder)
        finally:
            await self._vectors.close()
        if recorder.failure is not None:
            if isinstance(recorder.failure, ResponseError):
                return replace(told, reason=found.reason, words=f"Redis says: {recorder.failure}")
            raise recorder.failure
        near = recorder.found
        together = (
            self._verifier.consensus([cosine for _, cosine in near], [e.answer for e, _ in near])
            if len(near) > 1
            else None
        )
        told = replace(
            told,
            reason=found.reason,
            level=self._level.value,
            thresholds=self._verifier.thresholds[self._at.value],
            confidence=found.confidence,
            together=together,
            near=tuple(self._neighbour(entry, cosine) for entry, cosine in near),
        )
        return await self._decided(told, found, explored, store)

    async def _found(self, recorder: _Recorder) -> tuple[Lookup, bool]:
        """The live look-up's result, and whether it sometimes asks the model all the same."""

        def embed(text: str) -> NDArray[np.float32]:
            row: NDArray[np.float32] = self._embedder.embed([text])[0]
            return row

        with ThreadPoolExecutor(1) as thread:
            live = SemanticIndex(recorder, self._verifier, embed, thread)
            given = (self._scope_key, self._text, self._at.value, self._limit)
            found = await live.look_up(*given, _NEVER_EXPLORES, self._verify)
            explored = found.serves and not (await live.look_up(*given, 0.0)).serves
        return found, explored

    async def _decided(
        self, told: Explained, found: Lookup, explored: bool, store: RedisStore
    ) -> Explained:
        if not found.serves:
            return replace(told, words=self._why_not(told, found))
        told = replace(told, serves=entry_key(self._scope_key, found.entry))
        kept = await _kept(store, found.exact_key)
        if kept is None or words_of(kept.body) is None:
            return replace(told, reason="answer_gone", words="the entry's answer is gone")
        if self._level is Level.OFF:
            words = "the error budget has switched the cache off here; the hit would be checked"
            return replace(told, reason="switched_off", words=words)
        words = f"a request in other words was answered before ({found.reason})"
        if explored:
            words += "; some such requests are generated all the same, because it was wrong before"
        return replace(told, decision="semantic", words=words)

    def _why_not(self, told: Explained, found: Lookup) -> str:
        if found.reason == Mismatch.UNSUPPORTED_LANGUAGE and never(self._text) is not None:
            known = ", ".join(sorted(GATED))
            return (
                f"its language is none that the gates read ({known}), so other words never serve it"
            )
        if never(self._text) is not None:
            return f"such a request is never answered by another's answer ({found.reason})"
        if not told.near:
            return "nothing was answered in this scope yet, or nothing that still is there"
        if found.doubt is not None and self._level is not Level.OFF:
            return (
                f"no entry may serve: {found.reason}; cache.verify asks about {found.doubt.text!r}"
            )
        return f"no entry may serve: {found.reason}"

    def _neighbour(self, entry: SemanticEntry, cosine: float) -> Neighbour:
        """Judged alone, by the live decision at a cut-off that refuses nothing."""
        free = ConsensusSettings(Thresholds(0.0, 0.0))
        alone = choose(
            self._text, [Candidate(entry.text, cosine, entry.answer)], self._verifier, free
        )
        same = sum(same for _, same in entry.boundary.outcomes)
        return Neighbour(
            key=entry_key(self._scope_key, entry.id),
            text=entry.text,
            cosine=cosine,
            gate="" if alone.entry is not None else str(alone.reason),
            probability=alone.confidence,
            answer=entry.answer,
            exact_key=entry.exact_key,
            age_s=time.time() - entry.created_s,
            tags=entry.tags,
            outcomes_same=same,
            outcomes_other=len(entry.boundary.outcomes) - same,
        )


async def _state(url: str, owner: str, domain: str) -> State:
    budgets = RedisBudget(url, max_connections=1)
    try:
        return await budgets.read(owner, domain)
    except ValueError:  # live, too, a damaged one counts as one unheard of
        return State()
    finally:
        await budgets.close()


async def _kept(store: RedisStore, key: str) -> CachedAnswer | None:
    (raw,) = await store.get([key])
    try:
        return CachedAnswer.from_bytes(raw) if raw else None
    except ValueError:
        return None
