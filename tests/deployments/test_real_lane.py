"""vLLM itself has batch calls wait behind interactive ones, and its report tells them apart."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from core.call import Lane
from core.progress import SilentProgress
from core.settings import Settings
from deployments import environment
from deployments.lane import marks, queued
from deployments.vllm_engine import Vllm
from deployments.weights import prepare
from tests.deployments.serving import ROOT

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

PATH = "/v1/chat/completions"
WORDS = "Count from one to one hundred in words, and then back again to one."


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Vllm]:
    """The small model in this process, one sequence at once."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "config" / "laptop.yaml").read_text())
    small = config["tiers"][0]
    small["engine"]["args"] |= {"max_num_seqs": 1, "max_model_len": 512}
    tier = Settings.model_validate({"tiers": [small]}).tiers[0]
    for name, value in small["engine"]["env"].items():
        monkeypatch.setitem(os.environ, name, value)
    folder: Path = prepare(tier, environment.home(), SilentProgress())
    one = Vllm(tier, folder)
    await one.start()
    try:
        yield one
    finally:
        one.stop()


async def ask(one: Vllm, id_: str, lane: Lane, ended: list[str], tokens: int = 40) -> int:
    """The status of one call, as the gateway sends it; `ended` gets its id."""
    asked = {"messages": [{"role": "user", "content": WORDS}], "model": "small", "temperature": 0,
             "max_tokens": tokens, "min_tokens": tokens}  # fmt: skip
    told = {"x-request-id": id_, "content-type": "application/json", **marks(lane)}
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": PATH,
        "raw_path": PATH.encode(), "query_string": b"", "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "app": None,
    }  # fmt: skip
    parts = [{"type": "http.request", "body": orjson.dumps(queued(asked, lane))}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if parts:
            return parts.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await one.meter(scope, receive, send)
    ended.append(id_)
    return int(sent[0]["status"])


async def test_waiting_batch_calls_never_go_before_waiting_interactive_ones(engine: Vllm) -> None:
    ended: list[str] = []
    await ask(engine, "warm", Lane.INTERACTIVE, [], 2)
    calls = [asyncio.create_task(ask(engine, f"b{n}", Lane.BATCH, ended)) for n in range(4)]
    async with asyncio.timeout(60):
        while not (told := engine.report()).running or told.waiting < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (told.batch_running + told.batch_waiting, told.batch_arrived) == (4, 4)
    assert told.batch_waiting == 3
    assert told.ttft_s is None
    calls += [asyncio.create_task(ask(engine, f"i{n}", Lane.INTERACTIVE, ended)) for n in range(2)]
    assert await asyncio.gather(*calls) == [200] * 6
    assert ended == ["b0", "i0", "i1", "b1", "b2", "b3"]
    after = engine.report()
    assert 0 < after.batch_input_tokens <= after.input_tokens
    assert (after.batch_running, after.batch_waiting, after.waiting_tokens) == (0, 0, 0)
