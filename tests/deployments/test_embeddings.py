"""Embeddings: vectors in either encoding, one ledger line each, and refusals that say why."""

import asyncio
import base64
import struct
from pathlib import Path
from typing import Any

import orjson
import pytest
from ray.exceptions import RayActorError
from starlette.datastructures import Headers

from core.errors import BadRequest, HansomError, Unavailable, UnknownModel
from core.wire import EMBEDDING_MODEL
from deployments.admission import Admission
from deployments.caller import Caller
from deployments.embeddings import Embeddings
from tests.deployments.rig import Rig, read, rig, settings_of
from tests.fakes import FakeRouter

BODY: dict[str, Any] = {"model": EMBEDDING_MODEL, "input": ["a", "bb"]}


async def never() -> dict[str, Any]:
    """A client that stays and has nothing more to say."""
    await asyncio.sleep(60)
    raise AssertionError


async def ask(path: Rig, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    admission = Admission(settings_of())
    route = Embeddings(
        path.books, path.router, 0.1, admission, path.books.metrics, path.clock, 1_000_000
    )
    caller = Caller(never)
    raw, arrived_s = orjson.dumps(body), path.clock.now_s
    try:
        reply = await route.answer(caller, raw, Headers(headers), "r-1", arrived_s)
    finally:
        caller.close()
    return dict(orjson.loads(await read(reply)))


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
async def test_vectors_come_in_the_encoding_that_is_asked_for(
    tmp_path: Path, encoding: str | None
) -> None:
    async with rig(tmp_path) as path:
        answer = await ask(path, BODY | ({"encoding_format": encoding} if encoding else {}))
    vectors = [item["embedding"] for item in answer["data"]]
    if encoding == "base64":
        vectors = [list(struct.unpack("<3f", base64.b64decode(item))) for item in vectors]
    assert vectors == [[0.5, -0.25, 1.0], [0.5, -0.25, 2.0]]
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert answer["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


async def test_one_text_is_a_list_of_one(tmp_path: Path) -> None:
    async with rig(tmp_path) as path:
        assert len((await ask(path, BODY | {"input": "a"}))["data"]) == 1
        assert path.router.asked == [["a"]]


async def test_a_request_is_one_line_that_names_its_caller(tmp_path: Path) -> None:
    async with rig(tmp_path) as path:
        await ask(path, BODY, authorization="Bearer secret")
        (line,) = await path.lines()
    assert (line.kind.value, line.outcome.value, line.usage.input_tokens) == (
        "embedding",
        "success",
        2,
    )
    assert line.tenant.startswith("key-")
    assert (line.request_id, line.endpoint) == ("r-1", "embeddings")


@pytest.mark.parametrize(
    "router", [FakeRouter(failure=RayActorError()), FakeRouter(wait_s=30.0)], ids=["dead", "late"]
)
async def test_an_embedder_that_does_not_answer_is_told_and_written_down(
    tmp_path: Path, router: FakeRouter
) -> None:
    async with rig(tmp_path, router=router) as path:
        with pytest.raises(Unavailable) as caught:
            await ask(path, BODY)
        assert caught.value.retry_after_s == 1
        (line,) = await path.lines()
        assert (line.outcome.value, line.usage.input_tokens) == ("error", 0)


async def test_a_client_that_leaves_is_written_down_as_such(tmp_path: Path) -> None:
    async with rig(tmp_path, router=FakeRouter(wait_s=30.0)) as path:
        task = asyncio.create_task(ask(path, BODY))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (line,) = await path.lines()
        assert line.outcome.value == "cancelled"


@pytest.mark.parametrize(
    ("changes", "kind", "param"),
    [
        ({"model": "small"}, UnknownModel, "model"),
        ({"dimensions": 256}, BadRequest, "dimensions"),
        ({"input": ["a"] * 2049}, BadRequest, "input"),
        ({"input": []}, BadRequest, "input"),
        ({"encoding_format": "int8"}, BadRequest, "encoding_format"),
    ],
)
async def test_what_is_not_offered_is_refused_by_its_field_and_costs_no_line(
    tmp_path: Path, changes: dict[str, Any], kind: type[HansomError], param: str
) -> None:
    async with rig(tmp_path) as path:
        with pytest.raises(kind) as caught:
            await ask(path, BODY | changes)
        assert (caught.value.param or "").partition(".")[0] == param
        assert await path.lines() == []
        assert path.router.asked == []
