"""The router's deployment: embed a prompt once, and score it.

The embedding runs in a thread of its own, because a long prompt takes milliseconds in which other
requests' scores would wait.
"""

import asyncio
import logging
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge, Histogram, generate_latest
from redis.exceptions import RedisError

from cache.semantic.lookup import Lookup, StoredAnswer
from cache.semantic.pair import PromptReader
from cache.semantic.redis_vectors import RedisVectors
from cache.semantic.verify import Verifier
from core import log
from core.metrics import new_registry
from core.settings.router import RouterMemory
from deployments.router.label_store import LabelStore
from deployments.router.semantic_index import SemanticIndex
from router.adapt.labels import Lesson, ScoredPrompt, taught
from router.score.conversation import Conversation, read
from router.score.features import of_conversation
from router.score.model import Score, Scorer
from text.embed import Embedded, MiniLM

_REMEMBER_S, _LEARN_S = 2.0, 60.0
_KEPT_EMBEDDINGS = 512
_logger = logging.getLogger("hansom.router")
_BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.5)


class Router:
    """A replica of the router; without `weights` it embeds and has no score to give.

    With a `memory` (in the Redis of `redis_url`) it keeps what it scored, takes feedback, and every
    `refresh_s` seconds learns from the labels of all replicas when there are enough new ones. The
    score in use is swapped between two calls; none is dropped or waits.
    """

    def __init__(
        self,
        weights: Path | None,
        log_level: str,
        memory: RouterMemory | None = None,
        redis_url: str = "",
        embed_timeout_s: float = 0.25,
        semantic: bool = False,
    ) -> None:
        log.set_up(log_level)
        self._shipped = Scorer.load(weights) if weights else None
        self._lesson = Lesson(0, self._shipped) if self._shipped else None
        self._embedder = MiniLM.installed()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed")
        self._memory = (
            LabelStore(redis_url, keep_s=memory.keep_s, max_labels=memory.max_labels)
            if memory is not None and memory.on and weights
            else None
        )
        self._refresh_s = memory.refresh_s if memory else 0.0
        self._embed_timeout_s = embed_timeout_s
        # The score and the semantic cache ask for the same text, one after the other.
        self._embedding = lru_cache(_KEPT_EMBEDDINGS)(self._embedded_anew)
        self._vectors = RedisVectors(redis_url) if semantic else None
        self._near = (
            SemanticIndex(
                self._vectors,
                Verifier.load(PromptReader(self._embedder)),
                self._embedding,
                self._thread,
            )
            if self._vectors
            else None
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._learning = False
        self._used = ""
        self._registry = new_registry()
        self._scored_s = Histogram(
            "hansom_router_score_seconds", "Time of one score, embedding included, seconds.",
            buckets=_BUCKETS_S, registry=self._registry,
        )  # fmt: skip
        self._embedded = Counter(
            "hansom_router_embeddings", "Texts embedded.", registry=self._registry
        )
        self._late = Counter(
            "hansom_router_late_embeddings", "Scores made without an embedding: it was late.",
            registry=self._registry,
        )  # fmt: skip
        self._taught = Gauge(
            "hansom_router_labels", "Labels that the score in use was taught by.",
            registry=self._registry,
        )  # fmt: skip

    async def check_health(self) -> None:
        """Start learning with Serve's first health check."""
        if self._memory is not None and self._lesson is not None and not self._learning:
            self._start(self._learn(self._memory))
            self._learning = True

    async def score(
        self, messages: list[dict[str, object]], tenant: str = "", request_id: str = ""
    ) -> Score:
        """The score of a conversation; kept under a request id for feedback.

        When the embedding is not there in time (others wait before it, or the text is long), its
        surface alone is scored, which the version says.
        """
        if self._shipped is None:
            raise RuntimeError("this router was started without weights")
        asked = read(messages)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._embed_timeout_s):
                score, seen = await loop.run_in_executor(self._thread, self._score, asked)
        except TimeoutError:
            self._late.inc()
            score = self._shipped.score_surface(of_conversation(asked))
            return replace(score, threshold=self._shipped.threshold)
        if self._memory is not None and request_id:
            self._start(self._remember(self._memory, tenant, request_id, seen))
        return score

    async def near(
        self, scope_key: str, text: str, level: str, delta: float, draw: float, doubts: bool = False
    ) -> Lookup:
        """What of a scope may serve a text (`deployments.router.semantic_index`)."""
        assert self._near is not None
        return await self._near.look_up(scope_key, text, level, delta, draw, doubts)

    async def keep(self, kept: StoredAnswer) -> bool:
        """Let an answer be found by other words."""
        assert self._near is not None
        return await self._near.keep(kept)

    async def compare(
        self, scope_key: str, entry: str, cosine: float, served: str, fresh: str
    ) -> bool | None:
        """Whether a served answer says what a fresh one says."""
        assert self._near is not None
        return await self._near.compare(scope_key, entry, cosine, served, fresh)

    async def learn(self, scope_key: str, entry: str, cosine: float, same: bool) -> None:
        """One outcome for an entry."""
        assert self._near is not None
        await self._near.learn(scope_key, entry, cosine, same)

    async def forget(self, scope_key: str, ids: list[str]) -> None:
        """Take entries out of a scope."""
        assert self._near is not None
        await self._near.forget(scope_key, ids)

    async def feedback(self, tenant: str, request_id: str, head: int, right: float) -> bool:
        """Take a label for a scored request; False when there is none of that id.

        Raises `redis.RedisError` or `OSError` when the memory cannot be reached.
        """
        return self._memory is not None and await self._memory.label(
            tenant, request_id, head, right
        )

    async def embed(self, texts: list[str]) -> Embedded:
        """Unit vectors of 384 numbers, one a text, and the tokens that each took."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, texts)

    async def version(self) -> str:
        """The version of the weights in use."""
        return self._lesson.scorer.version if self._lesson else "none"

    async def metrics_text(self) -> str:
        """The router's metrics in Prometheus text format."""
        return generate_latest(self._registry).decode()

    async def close(self) -> None:
        """End what is under way; connections to the memory are closed."""
        for task in list(self._tasks):
            task.cancel()
        if self._memory is not None:
            await self._memory.close()
        if self._vectors is not None:
            await self._vectors.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _remember(
        self, memory: LabelStore, tenant: str, request_id: str, seen: ScoredPrompt
    ) -> None:
        """Costs a label when it fails, never a request."""
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(_REMEMBER_S):
                await memory.remember(tenant, request_id, seen)

    async def _learn(self, memory: LabelStore) -> None:
        """Look for new labels for ever; a failure is told and waited out."""
        while True:
            try:
                async with asyncio.timeout(_LEARN_S):
                    await self._learn_once(memory)
            except Exception as error:  # whatever Redis or numpy raise: the score stays as it is
                log.event(_logger, "router_not_taught", error=repr(error)[:200])
            await asyncio.sleep(self._refresh_s)

    async def _learn_once(self, memory: LabelStore) -> None:
        """Take other weights when they were named, and the labels when enough of them are new."""
        used = await memory.used()
        if used and used != self._used:
            # Set first: weights that cannot be loaded are told once, and not at every look.
            self._used = used
            shipped = await asyncio.to_thread(Scorer.load, Path(used))
            self._shipped, self._lesson = shipped, Lesson(0, shipped)
            log.event(_logger, "router_weights_swapped", folder=used, version=shipped.version)
        assert self._shipped is not None
        assert self._lesson is not None
        given = await memory.given()
        if not self._lesson.wants(given):
            return
        labels = await memory.labels()
        self._lesson = await asyncio.to_thread(taught, self._shipped, labels, given)
        version = self._lesson.scorer.version
        self._taught.set(len(labels) if version != self._shipped.version else 0)
        log.event(_logger, "router_taught", labels=len(labels), version=version)

    def _score(self, asked: Conversation) -> tuple[Score, ScoredPrompt]:
        assert self._lesson is not None
        with self._scored_s.time():
            embedding = self._embedding(asked.asked)
            surface = of_conversation(asked)
            scorer = self._lesson.scorer
            score = replace(scorer.score(embedding, surface), threshold=scorer.threshold)
            return score, ScoredPrompt.of(embedding, surface)

    def _embedded_anew(self, text: str) -> NDArray[np.float32]:
        self._embedded.inc()
        row: NDArray[np.float32] = self._embedder.embed([text])[0]
        return row

    def _embed(self, texts: list[str]) -> Embedded:
        self._embedded.inc(len(texts))
        return self._embedder.embed_counted(texts)
