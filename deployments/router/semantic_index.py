"""Search and store semantic entries in the router's process, with its embedder.

Promises: a look-up ends in an entry that may serve or in a named reason why none does; what Redis
or a text of an odd form does to it is a reason, too. A Redis without vector sets is told once, and
not asked again.
Not covered: deadlines and the error budget, which are the gateway's
(`deployments.gateway.lookup.semantic`).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from redis.exceptions import RedisError, ResponseError

from cache.semantic.boundary import Boundary
from cache.semantic.compare import same_answer
from cache.semantic.consensus import Candidate, ConsensusSettings, EntryChoice, choose
from cache.semantic.entries import Nearby, SemanticEntry, entry_id
from cache.semantic.lookup import UNAVAILABLE, DoubtfulEntry, Lookup, StoredAnswer
from cache.semantic.neighbours import NEIGHBOURS
from cache.semantic.verdict import doubtful
from cache.semantic.verify import Verifier
from core import log

_logger = logging.getLogger("hansom.cache")
Embed = Callable[[str], NDArray[np.float32]]
Result = TypeVar("Result")


class SemanticIndex:
    """One per router replica. `embed` runs in `thread`, and knows the last texts by heart."""

    def __init__(self, nearby: Nearby, verifier: Verifier, embed: Embed, thread: Executor) -> None:
        self._nearby = nearby
        self._verifier = verifier
        self._embed = embed
        self._thread = thread
        self._off = False

    async def look_up(
        self,
        scope_key: str,
        text: str,
        level: str,
        delta: float,
        draw: float,
        doubts: bool = False,
    ) -> Lookup:
        """The entry of this scope that may serve `text` at a frozen level, if there is one.

        With `doubts` a refusal names the entry that a model may be asked about.
        """
        if self._off:
            return Lookup(UNAVAILABLE)
        try:
            vector = await self._in_thread(self._embed, text)
            near = await self._nearby.near(scope_key, vector, NEIGHBOURS)
        except (RedisError, OSError) as error:
            self._failed(error)
            return Lookup(UNAVAILABLE)
        candidates = [
            Candidate(entry.text, cosine, entry.answer, _doubted(entry)) for entry, cosine in near
        ]
        settings = ConsensusSettings(self._verifier.thresholds[level], delta)
        choice = await self._in_thread(self._choose, text, candidates, settings, draw)
        if choice.entry is None:
            at = doubtful(text, candidates, choice) if doubts else None
            doubt = None if at is None else _doubt(*near[at])
            return Lookup(choice.reason.value, choice.confidence, doubt=doubt)
        entry, cosine = near[choice.entry]
        return Lookup(choice.reason.value, choice.confidence, cosine, entry.id, entry.exact_key)

    async def keep(self, kept: StoredAnswer) -> bool:
        """Let an answer be found; whether it is."""
        if self._off:
            return False
        entry = SemanticEntry(
            id=entry_id(kept.text),
            text=kept.text,
            answer=kept.answer,
            exact_key=kept.exact_key,
            tags=kept.tags,
            created_s=kept.created_s,
        )
        try:
            vector = await self._in_thread(self._embed, kept.text)
            await self._nearby.keep(kept.scope_key, vector, entry, kept.ttl_s, kept.cap)
        except (RedisError, OSError) as error:
            self._failed(error)
            return False
        return True

    async def compare(
        self, scope_key: str, entry: str, cosine: float, served: str, fresh: str
    ) -> bool | None:
        """Whether a served answer says what a fresh one says; the entry learns from it."""
        one, other = await self._in_thread(self._both, served, fresh)
        same: bool | None = same_answer(served, fresh, float(one @ other))
        if same is not None:
            await self.learn(scope_key, entry, cosine, same)
        return same

    async def learn(self, scope_key: str, entry: str, cosine: float, same: bool) -> None:
        """One outcome for an entry; it is lost when Redis is away."""
        try:
            await self._nearby.learn(scope_key, entry, cosine, same)
        except (RedisError, OSError) as error:
            self._failed(error)

    async def forget(self, scope_key: str, ids: Sequence[str]) -> None:
        """Take entries out; it is lost when Redis is away."""
        try:
            await self._nearby.forget(scope_key, ids)
        except (RedisError, OSError) as error:
            self._failed(error)

    def _both(self, one: str, other: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._embed(one), self._embed(other)

    def _choose(
        self, text: str, candidates: list[Candidate], settings: ConsensusSettings, draw: float
    ) -> EntryChoice:
        return choose(text, candidates, self._verifier, settings, draw)

    async def _in_thread(self, work: Callable[..., Result], *given: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)

    def _failed(self, error: Exception) -> None:
        said = str(error).lower()
        # Said by a script: "Unknown Redis command called from script".
        if isinstance(error, ResponseError) and "unknown" in said and "command" in said:
            self._off = True
            log.event(_logger, "semantic_cache_off", reason="this Redis has no vector sets")
        else:
            log.event(_logger, "semantic_cache_unavailable", error=repr(error)[:200])


def _doubt(entry: SemanticEntry, cosine: float) -> DoubtfulEntry:
    return DoubtfulEntry(
        entry.text, cosine, entry.id, entry.answer, entry.exact_key, entry.tags, entry.created_s
    )


def _doubted(entry: SemanticEntry) -> Boundary | None:
    """Its own boundary, once it was wrong: until then the verifier, measured on many, knows more.

    By its outcomes alone an entry would have to be asked about six times before it served at all.
    """
    wrong = any(not same for _, same in entry.boundary.outcomes)
    return entry.boundary if wrong else None
