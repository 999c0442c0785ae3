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
from deployments.client import Client
from deployments.gateway.admission import Admission
from deployments.gateway.embeddings import Embeddings
from deployments.gateway.reply import Reply
from tests.deployments.rig import Rig, read, rig, settings_of
from tests.fakes import FakeRouter
from wire.requests import EMBEDDING_MODEL

BODY: dict[str, Any] = {"model": EMBEDDING_MODEL, "input": ["a", "bb"]}


async def never() -> dict[str, Any]:
    """A client that stays and has nothing more to say."""
    await asyncio.sleep(60)
    raise AssertionError


async def ask(path: Rig, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    return dict(orjson.loads(await read(await reply_to(path, body, **headers))))


async def reply_to(path: Rig, body: dict[str, Any], **headers: str) -> Reply:
    admission = Admission(settings_of())
    route = Embeddings(
        path.recorder, path.router, 0.1, admission, path.recorder.metrics, path.clock, 1_000_000
    )
    caller = Client(never)
    raw, arrived_s = orjson.dumps(body), path.clock.now_s
    try:
        return await route.answer(caller, raw, Headers(headers), "r-1", arrived_s)
    finally:
        caller.close()


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
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


async def test_texts_that_were_cut_are_named_and_usage_counts_what_was_embedded(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as path:
        reply = await reply_to(path, BODY | {"input": ["a", "a long one", "four", "another"]})
        body = orjson.loads(await read(reply))
        (line,) = await path.lines()
    assert body["hansom"] == {"request_id": "r-1", "tokens": [1, 4, 4, 4], "truncated": [1, 3]}
    assert reply.headers["x-hansom-truncated"] == "2"
    assert body["usage"]["prompt_tokens"] == line.usage.input_tokens == 13


async def test_without_a_text_that_was_cut_there_is_no_header(tmp_path: Path) -> None:
    async with rig(tmp_path) as path:
        reply = await reply_to(path, BODY)
        assert "x-hansom-truncated" not in reply.headers
        assert orjson.loads(await read(reply))["hansom"]["truncated"] == []


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ([9906, 1917], ["Hello world"]),
        ([[9906], [1917, 0]], ["Hello", " world!"]),
        ([[57668, 53901]], ["\u4f60\u597d"]),
    ],
)
async def test_token_ids_are_read_as_the_text_that_they_were_made_of(
    tmp_path: Path, given: Any, texts: list[str]
) -> None:
    async with rig(tmp_path) as path:
        assert len((await ask(path, BODY | {"input": given}))["data"]) == len(texts)
        assert path.router.asked == [texts]


@pytest.mark.parametrize("name", ["encoding_format", "dimensions", "user"])
async def test_a_null_field_is_one_that_was_left_out(tmp_path: Path, name: str) -> None:
    async with rig(tmp_path) as path:
        assert await ask(path, BODY | {name: None}) == await ask(path, BODY)


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
        3,
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
        ({"input": ""}, BadRequest, "input"),
        ({"input": ["a", ""]}, BadRequest, "input"),
        ({"input": [[9906], []]}, BadRequest, "input"),
        ({"input": [9906, -1]}, BadRequest, "input"),
        ({"input": [9906, 1.5]}, BadRequest, "input"),
        ({"input": [9906, True]}, BadRequest, "input"),
        ({"input": [9906, "a"]}, BadRequest, "input"),
        ({"input": [100257]}, BadRequest, "input"),
        ({"input": None}, BadRequest, "input"),
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
