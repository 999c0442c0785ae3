"""The router's deployment without Serve: it scores, remembers, and is taught by feedback."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.settings.router import RouterMemory
from deployments.router.router import Router
from router.score.model import DEFAULT_ARTEFACT
from tests.conftest import RedisServer
from tests.ledger.lines import until

pytestmark = pytest.mark.redis
FAST = RouterMemory(refresh_s=0.05)


def turn(text: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": text}]


async def test_feedback_teaches_every_replica_and_no_call_waits_for_it(
    redis_server: RedisServer,
) -> None:
    first, second = (Router(DEFAULT_ARTEFACT, "error", FAST, redis_server.url) for _ in range(2))
    for one in (first, second):
        await one.check_health()
    shipped = await first.version()
    question = "What is {} apples and 4 apples?"
    before = await first.score(turn(question.format(99)))
    for at in range(60):
        await first.score(turn(question.format(at)), "acme", f"r-{at}")
    await until(lambda: not any("_remember" in repr(task) for task in first._tasks))
    for at in range(60):
        assert await second.feedback("acme", f"r-{at}", 0, 0.0)
    await until_taught(first, f"{shipped}+")
    await until_taught(second, f"{shipped}+")
    after = await first.score(turn(question.format(99)))
    assert after.difficulty > before.difficulty + 0.05
    assert "hansom_router_labels " in await first.metrics_text()
    for one in (first, second):
        await one.close()


async def until_taught(router: Router, version: str) -> None:
    async with asyncio.timeout(10):
        while not (await router.version()).startswith(version):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.02)


async def test_a_memory_that_is_down_costs_labels_and_no_scores(redis_server: RedisServer) -> None:
    router = Router(DEFAULT_ARTEFACT, "error", FAST, redis_server.url)
    await router.check_health()
    await asyncio.to_thread(redis_server.kill)
    score = await router.score(turn("Hello"), "acme", "r-1")
    assert 0 <= score.need <= 1
    with pytest.raises((OSError, Exception)):
        await router.feedback("acme", "r-1", 0, 1.0)
    await asyncio.to_thread(redis_server.start)
    await router.score(turn("Hello"), "acme", "r-2")
    await until(lambda: not any("_remember" in repr(task) for task in router._tasks))
    assert await router.feedback("acme", "r-2", 0, 1.0)
    await router.close()


async def test_a_late_embedding_is_not_waited_for_and_the_version_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = Router(DEFAULT_ARTEFACT, "error", RouterMemory(on=False), "", embed_timeout_s=0.02)
    slow = router._embedder.embed

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(0.1)
        return slow(texts)

    monkeypatch.setattr(router._embedder, "embed", embed)
    score = await router.score(turn("Prove that there are infinitely many primes."))
    assert score.version == f"{await router.version()}-surface"
    assert 0 < score.difficulty < 1
    assert "hansom_router_late_embeddings_total 1.0" in await router.metrics_text()
    await router.close()


async def test_without_a_memory_nothing_is_kept_and_feedback_is_not_taken(tmp_path: Path) -> None:
    router = Router(DEFAULT_ARTEFACT, "error", RouterMemory(on=False), "redis://127.0.0.1:1")
    await router.check_health()
    await router.score(turn("Hello"), "acme", "r-1")
    assert not await router.feedback("acme", "r-1", 0, 1.0)
    await router.close()


async def test_without_weights_it_embeds_and_has_no_score() -> None:
    router = Router(None, "error", RouterMemory(), "redis://127.0.0.1:1")
    await router.check_health()
    assert await router.version() == "none"
    found = await router.embed(["Hello", "word " * 300])
    assert [len(vector) for vector in found.vectors] == [384, 384]
    assert (found.tokens, found.truncated) == ([3, 256], [1])
    with pytest.raises(RuntimeError, match="without weights"):
        await router.score(turn("Hello"))
    await router.close()
