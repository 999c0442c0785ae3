"""What another semantic cache serves: runs in the peers' own environment.

    PEERS_PYTHON bench/semantic_peer_side.py JOB_DIR gptcache
    PEERS_PYTHON bench/semantic_peer_side.py JOB_DIR redisvl REDIS_URL

`bench.semantic_peers` writes the job, starts this and reads `JOB_DIR/PEER.json`.
Promises: the installed package searches and decides, through its documented calls and with its own
defaults but for the ones named in its class; vectors are the job's. A `closeness` is the package's
own score, turned so that more is nearer: it serves from the threshold's closeness on.
Not covered: speed. Imports nothing of ours: this environment has none of it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_MEMORY = Path("/dev/shm")


class Vectors:
    """The job's embedding: known texts only, but for the probe that tells a library the size."""

    def __init__(self, texts: Sequence[str], rows: NDArray[np.float32]) -> None:
        self._rows: dict[str, NDArray[np.float32]] = dict(zip(texts, rows, strict=True))
        self.dimension = int(rows.shape[1])

    def row(self, text: str) -> NDArray[np.float32]:
        """(D,) of length 1. Raises `KeyError`."""
        return self._rows[text]

    def to_embeddings(self, data: str, **_: object) -> NDArray[np.float32]:
        """Embed a text in GPTCache's form."""
        return self.row(data)

    def embed(self, text: str, **_: object) -> list[float]:
        """Embed texts in RedisVL's form, whose first request embeds a text of its own."""
        row = self._rows.get(text)
        return [0.0] * self.dimension if row is None else [float(one) for one in row]


class CachePeer(Protocol):
    """One cache at one threshold at a time."""

    def open(self, threshold: float | None) -> None:
        """A new, empty cache; None is the package's own default."""

    def clear(self) -> None:
        """Forget all entries."""

    def put(self, text: str, answer: str) -> None:
        """Keep an answer."""

    def get(self, text: str) -> str | None:
        """The answer that is served, or None."""

    def closeness(self, text: str) -> float:
        """Its score of the nearest entry."""

    def asked(self, cached: dict[str, Any], query: dict[str, Any]) -> bool:
        """Whether a whole chat request is served another one's answer."""


class GptCache:
    """GPTCache with SQLite and Faiss, as `init_similar_cache` sets it up.

    Not its default: room for all entries (it keeps 1,000), no report of hits, no token counts.
    """

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._seen: list[float] = []

    def open(self, threshold: float | None) -> None:
        """Documented in `CachePeer`."""
        from gptcache import Cache, Config  # type: ignore[import-not-found]
        from gptcache.adapter.api import init_similar_cache  # type: ignore[import-not-found]
        from gptcache.manager import manager_factory  # type: ignore[import-not-found]
        from gptcache.processor.pre import get_prompt, last_content  # type: ignore[import-not-found]

        self._cache = Cache()
        # In memory where the system has such a folder: waiting for a disk is not what is compared.
        self._folder = tempfile.TemporaryDirectory(
            prefix="gptcache-",
            dir=_MEMORY if _MEMORY.is_dir() else None,
            ignore_cleanup_errors=True,
        )
        given = {} if threshold is None else {"similarity_threshold": threshold}
        config = Config(disable_report=True, enable_token_counter=False, **given)
        init_similar_cache(
            cache_obj=self._cache,
            # A chat's words are taken as its OpenAI adapter takes them, a prompt's as its own API.
            pre_func=lambda data, **more: (last_content if "messages" in data else get_prompt)(
                data, **more
            ),
            embedding=self._vectors,
            data_manager=manager_factory(
                "sqlite,faiss",
                data_dir=self._folder.name,
                vector_params={"dimension": self._vectors.dimension},
                eviction_params={"max_size": 10**6},
            ),
            evaluation=self._listening(),
            config=config,
        )

    def _listening(self) -> Any:
        """Its own evaluation, which also tells its last score."""
        from gptcache.similarity_evaluation.distance import (  # type: ignore[import-not-found]
            SearchDistanceEvaluation,
        )

        seen = self._seen

        class Listening(SearchDistanceEvaluation):  # type: ignore[misc]
            def evaluation(self, *given: Any, **more: Any) -> float:
                rank = float(super().evaluation(*given, **more))
                seen[:] = [rank / self.range()[1]]
                return rank

        return Listening()

    def clear(self) -> None:
        """By its own eviction, which cannot delete nothing."""
        manager = self._cache.data_manager
        if kept := manager.s.get_ids(deleted=False):
            manager.eviction_manager.soft_evict(kept)
            manager.eviction_manager.delete()

    def put(self, text: str, answer: str) -> None:
        """Documented in `CachePeer`."""
        from gptcache.adapter.api import put

        put(text, answer, cache_obj=self._cache)

    def get(self, text: str) -> str | None:
        """Documented in `CachePeer`."""
        from gptcache.adapter.api import get

        found = get(text, cache_obj=self._cache)
        return None if found is None else str(found)

    def closeness(self, text: str) -> float:
        """In the unit of its threshold: (1 + cosine) / 2."""
        self._seen.clear()
        self.get(text)
        return self._seen[0]

    def asked(self, cached: dict[str, Any], query: dict[str, Any]) -> bool:
        """Through the function under all of its adapters."""
        from gptcache.adapter.adapter import adapt  # type: ignore[import-not-found]

        def ask(request: dict[str, Any], answer: str) -> str:
            def keep(given: str, update: Any, *_: object, **__: object) -> str:
                update(given)
                return given

            told = adapt(
                lambda **_: answer, lambda found: found, keep, cache_obj=self._cache, **request
            )
            return str(told)

        self.clear()
        ask(cached, "first")
        return ask(query, "second") == "first"


class RedisVl:
    """RedisVL's `SemanticCache` on a Redis with RediSearch, all as it comes."""

    def __init__(self, vectors: Vectors, url: str) -> None:
        self._vectors = vectors
        self._url = url
        self._count = 0

    def open(self, threshold: float | None) -> None:
        """Documented in `CachePeer`."""
        from redisvl.extensions.cache.llm import SemanticCache  # type: ignore[import-not-found]
        from redisvl.utils.vectorize import CustomVectorizer  # type: ignore[import-not-found]

        self._count += 1
        given = {} if threshold is None else {"distance_threshold": threshold}
        self._cache = SemanticCache(
            name=f"bench{self._count}",
            vectorizer=CustomVectorizer(embed=self._vectors.embed),
            redis_url=self._url,
            **given,
        )

    def clear(self) -> None:
        """Documented in `CachePeer`."""
        self._cache.clear()

    def put(self, text: str, answer: str) -> None:
        """Documented in `CachePeer`."""
        self._cache.store(text, answer)

    def get(self, text: str) -> str | None:
        """Documented in `CachePeer`."""
        found = self._cache.check(text)
        return str(found[0]["response"]) if found else None

    def closeness(self, text: str) -> float:
        """Less its distance, which is 1 - cosine."""
        return -float(self._cache.check(text, distance_threshold=2.0)[0]["vector_distance"])

    def asked(self, cached: dict[str, Any], query: dict[str, Any]) -> bool:
        """It takes a prompt, not a request: the words of the last message."""
        self.clear()
        self.put(cached["messages"][-1]["content"], "first")
        return self.get(query["messages"][-1]["content"]) is not None


def pairs(peer: CachePeer, rows: Sequence[tuple[str, str]]) -> dict[str, list[Any]]:
    """For each cached prompt and query, alone in the cache: whether served, and how close."""
    served, near = [], []
    for cached, query in rows:
        peer.clear()
        peer.put(cached, "answer")
        served.append(peer.get(query) is not None)
        near.append(peer.closeness(query))
    return {"served": served, "closeness": near}


def stream(peer: CachePeer, texts: Sequence[str]) -> list[int]:
    """For each request the place of the one whose answer is served, or -1: then it is kept."""
    found = []
    for place, text in enumerate(texts):
        answer = peer.get(text)
        if answer is None:
            peer.put(text, str(place))
        found.append(-1 if answer is None else int(answer))
    return found


def run(peer: CachePeer, job: dict[str, Any], thresholds: Sequence[float]) -> dict[str, Any]:
    """The whole job; `null` stands for the default threshold."""
    peer.open(None)
    told: dict[str, Any] = {
        "pairs": {name: pairs(peer, job["pairs"][name]) for name in job["pairs"]}
    }
    told["context"] = [peer.asked(cached, query) for cached, query in job["context"]]
    told["streams"] = {}
    for name, texts in job["streams"].items():
        told["streams"][name] = []
        for threshold in (None, *thresholds):
            peer.open(threshold)
            told["streams"][name].append([threshold, stream(peer, texts)])
    return told


def main() -> None:
    """Do the job of a folder with one peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("peer", choices=["gptcache", "redisvl"])
    parser.add_argument("redis_url", nargs="?", default="")
    given = parser.parse_args()
    job = json.loads((given.folder / "job.json").read_text(encoding="utf-8"))
    vectors = Vectors(job["texts"], np.load(given.folder / "rows.npy"))
    peer: CachePeer = (
        GptCache(vectors) if given.peer == "gptcache" else RedisVl(vectors, given.redis_url)
    )
    told = run(peer, job, job["thresholds"][given.peer])
    (given.folder / f"{given.peer}.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
