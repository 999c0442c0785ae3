"""What the simulated engine counts, and what its meter tells of each request, are the same."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.call import Usage
from core.settings.load import SimulatedEngine
from deployments.tier.simulated.engine import Counters, Simulated

CHAT = "/v1/chat/completions"


def engine(**settings: Any) -> Simulated:
    return Simulated(SimulatedEngine(kind="simulated", **settings), "sim")


def counted(one: Simulated) -> tuple[int, int]:
    found = {
        family.name: family.samples[0].value
        for family in text_string_to_metric_families(one.metrics_text())
    }
    prompt, made = (found[f"hansom_simulated_{name}_tokens"] for name in ("prompt", "generation"))
    return int(prompt), int(made)


class Client:
    """One request to the ASGI application itself, which may hang up."""

    def __init__(self, one: Simulated, id: str, **body: Any) -> None:
        self.blocks = 0
        self._left = asyncio.Event()
        self._raw: bytes | None = orjson.dumps({"model": "sim", "messages": []} | body)
        headers = [(b"x-request-id", id.encode())]
        scope = {"type": "http", "path": CHAT, "headers": headers}
        self.task = asyncio.create_task(one(scope, self._receive, self._send))

    async def leave(self) -> None:
        self._left.set()
        await self.task

    async def _receive(self) -> dict[str, Any]:
        if self._raw is not None:
            raw, self._raw = self._raw, None
            return {"type": "http.request", "body": raw}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.blocks += message["type"] == "http.response.body"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_counted_whole(stream: bool) -> None:
    one = engine(output_tokens=7)
    await Client(one, "a", stream=stream).task
    took = await one.meter.usage("a")
    assert took is not None and took.output_tokens == 7
    assert counted(one) == (took.input_tokens, 7)


@pytest.mark.parametrize("stream", [False, True])
async def test_of_one_that_is_left_what_was_made_by_then_is_counted(stream: bool) -> None:
    one = engine(ttft_s=0.02, tpot_s=0.01, output_tokens=1000)
    client = Client(one, "a", stream=stream)
    await asyncio.sleep(0.15)
    await client.leave()
    took = await one.meter.usage("a")
    assert took is not None and 1 < took.output_tokens < 1000
    assert counted(one) == (took.input_tokens, took.output_tokens)
    if stream:
        assert took.output_tokens >= client.blocks > 0
    await asyncio.sleep(0.05)
    assert counted(one) == (took.input_tokens, took.output_tokens), "nobody goes on"


@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_is_left_before_its_first_token_took_nothing(stream: bool) -> None:
    one = engine(ttft_s=30.0)
    client = Client(one, "a", stream=stream)
    await asyncio.sleep(0.02)
    await client.leave()
    assert await one.meter.usage("a") == Usage()
    assert counted(one) == (0, 0)


async def test_one_that_waits_for_a_place_took_nothing() -> None:
    one = engine(tpot_s=0.01, max_concurrent=1, output_tokens=1000)
    first, second = Client(one, "a"), Client(one, "b")
    await asyncio.sleep(0.05)
    await second.leave()
    assert await one.meter.usage("b") == Usage()
    await first.leave()
    took = await one.meter.usage("a")
    assert took is not None and counted(one) == (took.input_tokens, took.output_tokens)


async def test_a_refused_request_took_nothing() -> None:
    one = engine(context_tokens=64)
    await Client(one, "a", max_tokens=100).task
    assert await one.meter.usage("a") == Usage()
    assert counted(one) == (0, 0)


def test_counts_stand_in_a_file_as_soon_as_they_are_made(tmp_path: Path) -> None:
    folder = tmp_path / "counts"
    first, second, alone = Counters(folder), Counters(folder), Counters(None)
    for one in (first, first, second, alone):
        one.add(3, 5)
    assert (first.prompt, first.generation) == (6, 10)
    assert (alone.prompt, alone.generation) == (3, 5)
    files = [np.fromfile(file, dtype=np.int64).tolist() for file in folder.glob("*.counts")]
    assert sorted(files) == [[3, 5], [6, 10]], "without a flush: the process may be killed"
