"""The router's deployment: one embedding per prompt, then the learned score.

The embedding runs in a thread of its own, because a long prompt takes milliseconds in which other
requests' scores would wait.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_client import Counter, Histogram, generate_latest

from core import log
from core.metrics import new_registry
from router.conversation import read
from router.embed import MiniLM
from router.features import of_conversation
from router.score import Score, Scorer

ROUTER_APP = "router"
ROUTER_DEPLOYMENT = "Router"
_BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.5)


class Router:
    """A replica of the router; without `weights` it embeds and has no score to give."""

    def __init__(self, weights: Path | None, log_level: str) -> None:
        log.set_up(log_level)
        self._scorer = Scorer.load(weights) if weights else None
        self._embedder = MiniLM.installed()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed")
        self._registry = new_registry()
        self._scored_s = Histogram(
            "hansom_router_score_seconds", "Time of one score, embedding included, seconds.",
            buckets=_BUCKETS_S, registry=self._registry,
        )  # fmt: skip
        self._embedded = Counter(
            "hansom_router_embeddings", "Texts embedded.", registry=self._registry
        )

    async def score(self, messages: list[dict[str, object]]) -> Score:
        """The score of a conversation."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._score, messages)

    async def embed(self, texts: list[str]) -> tuple[list[list[float]], int]:
        """Unit vectors of 384 numbers, one a text, and the tokens they took."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, texts)

    async def version(self) -> str:
        """The version of the weights in use."""
        return self._scorer.version if self._scorer else "none"

    async def metrics_text(self) -> str:
        """The router's metrics in Prometheus text format."""
        return generate_latest(self._registry).decode()

    def _score(self, messages: list[dict[str, object]]) -> Score:
        if self._scorer is None:
            raise RuntimeError("this router was started without weights")
        with self._scored_s.time():
            asked = read(messages)
            embedding = self._embedder.embed([asked.asked])[0]
            self._embedded.inc()
            return self._scorer.score(embedding, of_conversation(asked))

    def _embed(self, texts: list[str]) -> tuple[list[list[float]], int]:
        self._embedded.inc(len(texts))
        vectors = self._embedder.embed(texts)
        return vectors.tolist(), sum(self._embedder.count_tokens(text) for text in texts)
