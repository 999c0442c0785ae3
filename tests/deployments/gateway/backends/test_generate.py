"""One attempt on one replica: what ends it, what the client sees then, and what is written down."""

import asyncio
from pathlib import Path

import pytest

from core.call import Usage
from core.errors import BadRequest, DeadlineExceeded
from tests.deployments.engines import (
    Engine,
    answers,
    chunks,
    event,
    plays,
    stalls,
)
from tests.deployments.rig import call, events_of, rig
from tests.ledger.lines import until

NONSENSE = b'data: {"choices":[],"usage":{"prompt_tokens":}}\n\n'
ERROR_EVENT = event({"error": {"message": "out of memory", "type": "server_error"}})
OK_SMALL = ("small", "answer", "success", None)


BROKEN: list[tuple[str, str, str, str, str]] = [
    ("end", "stream_broken", "error", "stream_broken", "20"),
    ("die", "stream_broken", "error", "stream_broken", "20"),
    ("stall", "deadline_exceeded", "timeout", "deadline_exceeded", "0.4"),
]


@pytest.mark.parametrize(("then", "code", "outcome", "error", "deadline_s"), BROKEN)
async def test_a_stream_that_breaks_after_its_first_token_ends_with_an_error_event(
    tmp_path: Path, then: str, code: str, outcome: str, error: str, deadline_s: str
) -> None:
    started = chunks([" a", " b"])[:3]
    engines = [Engine(plays(started, then=then))]
    other = Engine(answers())
    async with rig(tmp_path, engines, [other]) as path:
        asked = call(stream=True, temperature=0, deadline_s=float(deadline_s))
        _, body = await path.ask(asked)
        *before, last = events_of(body)
        assert [item["choices"][0]["delta"].get("content") for item in before] == ["", " a", " b"]
        assert last["error"]["code"] == code
        assert last["error"]["type"] == "server_error"
        (line,) = await path.lines()
        assert (line.outcome.value, line.error_code) == (outcome, error)
        assert line.usage == Usage(4, 3, 2), "what was made is paid for"
        # no answer was kept
        await path.ask(asked)
        assert len(engines[0].asked) == 2
    assert other.asked == [], "a client that has seen a token is never given another answer"


@pytest.mark.parametrize("code", [400, 404, 422])
async def test_what_an_engine_refuses_after_a_streams_status_is_the_clients_and_tried_once(
    tmp_path: Path, code: int
) -> None:
    told = {"message": "no such token", "type": "BadRequestError", "param": "x", "code": code}
    refusing = [Engine(plays([event({"error": told}), b"data: [DONE]\n\n"])) for _ in range(2)]
    other = Engine(answers())
    async with rig(tmp_path, refusing, [other]) as path:
        with pytest.raises(BadRequest, match="no such token") as refused:
            await path.ask(call(stream=True))
        assert (refused.value.status, refused.value.param) == (400, "x")
        assert await path.told() == [("small", "answer", "refused", "bad_request")]
    assert sum(len(engine.asked) for engine in refusing) == 1
    assert other.asked == []


async def test_an_internal_error_after_a_streams_status_is_tried_elsewhere(tmp_path: Path) -> None:
    told = {"message": "boom", "type": "InternalServerError", "param": None, "code": 500}
    other = Engine(answers())
    async with rig(tmp_path, [Engine(plays([event({"error": told})]))], [other]) as path:
        reply, _ = await path.ask(call(stream=True))
        assert reply.headers["x-hansom-tier"] == "large"
    assert len(other.asked) == 1


async def test_a_stream_that_falls_silent_is_given_up_after_the_stall_timeout(
    tmp_path: Path,
) -> None:
    engine = Engine(plays(chunks([" a"])[:2], then="stall"))
    async with rig(tmp_path, [engine], stall_s=0.2) as path:
        _, body = await path.ask(call(stream=True))
        assert events_of(body)[-1]["error"]["code"] == "stream_broken"
        async with asyncio.timeout(2):
            await engine.left.wait()


async def test_an_engines_own_error_event_is_the_last_one(tmp_path: Path) -> None:
    events = [*chunks([" a"])[:2], 0.1, ERROR_EVENT, b"data: [DONE]\n\n"]
    async with rig(tmp_path, [Engine(plays(events))]) as path:
        _, body = await path.ask(call(stream=True))
        *_, last = events_of(body)
        assert last["error"]["message"] == "out of memory"
        assert body.count(b'{"error"') == 1
        assert await path.told() == [("small", "answer", "error", "stream_broken")]


async def test_a_stream_that_becomes_nonsense_ends_with_an_error_event(tmp_path: Path) -> None:
    async with rig(tmp_path, [Engine(plays([*chunks([" a"])[:2], 0.1, NONSENSE]))]) as path:
        _, body = await path.ask(call(stream=True))
        assert events_of(body)[-1]["error"]["code"] == "stream_broken"
        assert await path.told() == [("small", "answer", "error", "stream_broken")]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_deadline_that_passes_before_the_answer_is_an_error_of_its_own(
    tmp_path: Path, stream: bool
) -> None:
    engine = Engine(stalls)
    async with rig(tmp_path, [engine]) as path:
        with pytest.raises(DeadlineExceeded, match=r"within 0\.2 s"):
            await path.ask(call(stream=stream, deadline_s=0.2))
        assert await path.told() == [("small", "answer", "timeout", "deadline_exceeded")]
        async with asyncio.timeout(2):
            await engine.left.wait()


async def test_time_already_spent_counts_towards_the_deadline(tmp_path: Path) -> None:
    async with rig(tmp_path, [Engine(stalls)]) as path:
        path.clock.advance(19.9)
        async with asyncio.timeout(3):
            with pytest.raises(DeadlineExceeded):
                await path.ask(call(deadline_s=20.0))


async def test_a_client_that_leaves_a_stream_ends_the_engines_work_and_pays_for_what_was_made(
    tmp_path: Path,
) -> None:
    engine = Engine(plays(chunks([" a", " b"])[:3], then="stall"))
    async with rig(tmp_path, [engine]) as path:
        reply = await path.respond(call(stream=True, temperature=0))
        assert not isinstance(reply.body, bytes)
        await until(lambda: path.tiers["small"].in_flight == 1)
        got = b""
        async for block in reply.body:
            got += block
            if b" b" in got:
                break
        await reply.body.aclose()
        async with asyncio.timeout(2):
            await engine.left.wait()
        (line,) = await path.lines()
        assert (line.kind.value, line.outcome.value) == ("cancelled", "cancelled")
        assert (line.usage, line.cost_usd_micros) == (Usage(4, 3, 2), 10)
        assert path.tiers["small"].in_flight == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_before_the_first_byte_ends_the_engines_work(
    tmp_path: Path, stream: bool
) -> None:
    engine, other = Engine(stalls), Engine(answers())
    async with rig(tmp_path, [engine], [other]) as path:
        task = asyncio.create_task(path.respond(call(stream=stream)))
        await until(lambda: engine.asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            await engine.left.wait()
        assert await path.told() == [("small", "cancelled", "cancelled", None)]
    assert other.asked == []


async def test_a_reply_that_is_closed_before_it_is_read_leaves_its_line(tmp_path: Path) -> None:
    engine = Engine(plays(chunks([" a"])[:2], then="stall"))
    async with rig(tmp_path, [engine]) as path:
        reply = await path.respond(call(stream=True))
        assert not isinstance(reply.body, bytes)
        await reply.body.aclose()
        async with asyncio.timeout(2):
            await engine.left.wait()
        assert await path.told() == [("small", "cancelled", "cancelled", None)]


async def test_a_client_that_hangs_up_on_the_last_event_has_its_answer(tmp_path: Path) -> None:
    async with rig(tmp_path, [Engine(plays(chunks([" a"])))]) as path:
        reply = await path.respond(call(stream=True))
        assert not isinstance(reply.body, bytes)
        got = b""
        async for block in reply.body:
            got += block
            if got.endswith(b"data: [DONE]\n\n"):
                break
        await reply.body.aclose()
        assert await path.told() == [OK_SMALL]
