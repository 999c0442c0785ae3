"""Streams of the cascade: the first tokens are judged, and the rest is let through or given up."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import orjson
import pytest
from aiohttp import web
from hypothesis import example, given, settings

from core.call import Endpoint, Usage
from core.errors import EngineFailed
from core.settings.load import Settings
from deployments.gateway.cascade.held_stream import WholeEvents
from tests.deployments.engines import (
    DONE,
    Act,
    Engine,
    answers,
    chunks,
    dies,
    event,
    plays,
    refuses,
    stalls,
    start_stream,
    sure,
    told,
    usage,
)
from tests.deployments.gateway.cascade.test_held_answer import RIGHT, TURNS, WRONG
from tests.deployments.rig import Rig, call, events_of, read, rig, settings_of
from tests.ledger.lines import until

WORDS = [f" word{at}" for at in range(8)]
UNSURE = -4.0
HEAD = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
ERROR_EVENT = event({"error": {"message": "out of memory", "type": "server_error"}})


def prefix(tokens: int = 4, **changes: Any) -> Settings:
    return settings_of(
        router={
            "strategy": "cascade",
            "weights": "router/weights/v2",
            "cascade": {"streams": "prefix", "prefix_tokens": tokens} | changes,
        }
    )


def text_of(body: bytes) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for item in events_of(body)[:-1]
        for choice in item["choices"]
    )


def verdicts(path: Rig) -> dict[str, float]:
    found = path.recorder.metrics.registry.get_sample_value
    names = ("kept", "escalated", "saved")
    samples = {
        name: found("hansom_escalations_total", {"tier": "small", "verdict": name})
        for name in names
    }
    return {name: value for name, value in samples.items() if value}


def closed(path: Rig) -> bool:
    return not any(tier.in_flight for tier in path.tiers.values())


class Gate:
    """An engine's act in parts: each is sent when the test opens it."""

    def __init__(self, *parts: Sequence[bytes]) -> None:
        self.parts = parts
        self.opened = [asyncio.Event() for _ in parts]

    async def __call__(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = await start_stream(request)
        for part, opened in zip(self.parts, self.opened, strict=True):
            await opened.wait()
            for item in part:
                await response.write(item)
        return response


async def test_a_sure_prefix_is_released_and_the_client_gets_what_a_routed_stream_gives(
    tmp_path: Path,
) -> None:
    small, large = Engine(sure(WORDS)), Engine(answers())
    asked = call(**TURNS, stream=True, include_usage=True)
    async with rig(tmp_path / "a", [Engine(sure(WORDS))], settings=prefix(streams="route")) as path:
        _, routed = await path.ask(asked)
    async with rig(tmp_path / "b", [small], [large], settings=prefix()) as path:
        reply, body = await path.ask(asked)
        assert body == routed
        assert b'logprob"' not in body
        code, _, reason = reply.headers["x-hansom-route-reason"].partition("; ")
        assert (reply.headers["x-hansom-tier"], code) == ("small", "checked")
        assert "its first 5 tokens passed" in reason or "its first 4 tokens passed" in reason
        assert small.asked[0]["logprobs"] is True
        assert large.asked == []
        assert await path.told() == [("small", "answer", "success", None)]
        assert verdicts(path) == {"kept": 1}
        assert closed(path)


async def test_nothing_is_seen_before_the_verdict_and_then_the_rest_comes_as_it_is_made(
    tmp_path: Path,
) -> None:
    events = chunks(WORDS, logprobs=[[-0.001]] * 8)
    gate = Gate(events[:4], events[4:6], events[6:])  # the role and 3 tokens, 2 more, the rest
    async with rig(tmp_path, [Engine(gate)], [Engine(answers())], settings=prefix()) as path:
        task = asyncio.create_task(path.respond(call(**TURNS, stream=True)))
        gate.opened[0].set()
        await asyncio.sleep(0.1)
        assert not task.done()
        path.clock.advance(2.0)
        gate.opened[1].set()
        reply = await task
        assert not isinstance(reply.body, bytes)
        first = await anext(reply.body)
        assert text_of(first + DONE) == "".join(WORDS[:5])
        gate.opened[2].set()
        rest = await read(reply)
        assert text_of(rest) == "".join(WORDS[5:])
        (line,) = await path.lines()
        assert line.ttft_s == pytest.approx(2.0), "the client has waited for the prefix"


async def test_a_doubtful_prefix_is_given_up_and_large_streams_instead(tmp_path: Path) -> None:
    small = Engine(sure(WORDS, UNSURE, events=6, then="stall"))
    large = Engine(answers((" 36",)))
    async with rig(tmp_path, [small], [large], settings=prefix()) as path:
        reply, body = await path.ask(call(**TURNS, stream=True, include_usage=True))
        async with asyncio.timeout(2):
            await small.left.wait()
        assert text_of(body) == " 36"
        code, _, reason = reply.headers["x-hansom-route-reason"].partition("; ")
        assert (reply.headers["x-hansom-tier"], code) == ("large", "escalated")
        assert "tokens): large instead" in reason
        assert "logprobs" not in large.asked[0]
        lines = {line.tier: line for line in await path.lines()}
        assert (lines["small"].kind, lines["small"].outcome) == ("answer", "success")
        assert (lines["large"].kind, lines["large"].attempt) == ("escalation", 1)
        assert lines["small"].usage == Usage(4, 3, 5)
        assert lines["small"].ttft_s is None
        assert lines["small"].saved_usd_micros == -lines["small"].cost_usd_micros
        cost = sum(line.cost_usd_micros for line in lines.values())
        assert events_of(body)[-2]["hansom"]["cost_usd"] == f"{cost / 1e6:.6f}"
        assert verdicts(path) == {"escalated": 1}
        assert closed(path)


async def test_the_held_stream_runs_until_large_speaks_and_is_paid_for_as_far(
    tmp_path: Path,
) -> None:
    events = chunks(WORDS, logprobs=[[UNSURE]] * 8)
    cheap, dear = Gate(events[:5], events[5:8], []), Gate(chunks([" 36"]))
    small, large = Engine(cheap), Engine(dear)
    async with rig(tmp_path, [small], [large], settings=prefix()) as path:
        task = asyncio.create_task(path.ask(call(**TURNS, stream=True)))
        cheap.opened[0].set()
        await until(lambda: large.asked)
        cheap.opened[1].set()
        await asyncio.sleep(0.1)
        assert not small.left.is_set()
        assert path.tiers["small"].in_flight == 1
        dear.opened[0].set()
        _, body = await task
        async with asyncio.timeout(2):
            await small.left.wait()
        lines = {line.tier: line for line in await path.lines()}
        assert lines["small"].usage.output_tokens == 7
        cost = sum(line.cost_usd_micros for line in lines.values())
        assert events_of(body)[-2]["hansom"]["cost_usd"] == f"{cost / 1e6:.6f}"


FAILING: list[tuple[str, Act]] = [
    ("refuses", refuses(500)),
    ("dies", dies),
    ("dies after the head", plays([], then="die")),
    ("fails with its first token", plays([chunks(["a"])[0] + ERROR_EVENT])),
]


@pytest.mark.parametrize("act", [act for _, act in FAILING], ids=[name for name, _ in FAILING])
async def test_when_large_fails_the_held_stream_is_released_after_all(
    tmp_path: Path, act: Act
) -> None:
    small, large = Engine(sure(WORDS, UNSURE)), Engine(act)
    async with rig(tmp_path, [small], [large], settings=prefix()) as path:
        reply, body = await path.ask(call(**TURNS, stream=True))
        assert text_of(body) == "".join(WORDS)
        assert events_of(body)[-2]["hansom"]["tier"] == "small"
        assert reply.headers["x-hansom-tier"] == "small"
        assert "but large failed" in reply.headers["x-hansom-route-reason"]
        assert verdicts(path) == {"saved": 1}
        small_lines = [line for line in await path.lines() if line.tier == "small"]
        assert [line.outcome for line in small_lines] == ["success"]
        assert closed(path)


async def test_when_both_break_the_client_is_told_and_both_are_in_the_ledger(
    tmp_path: Path,
) -> None:
    small = Engine(sure(WORDS, UNSURE, events=6, then="die"))

    async def late(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return await refuses(500)(request, body)

    async with rig(tmp_path, [small], [Engine(late)], settings=prefix()) as path:
        with pytest.raises(EngineFailed):
            await path.ask(call(**TURNS, stream=True))
        assert sorted(await path.told()) == [
            ("large", "escalation", "error", "engine_failed"),
            ("small", "answer", "error", "engine_unreachable"),
        ]
        assert {line.tier: line.usage.output_tokens for line in await path.lines()} == {
            "small": 5,
            "large": 0,
        }
        assert verdicts(path) == {}
        assert closed(path)


IN_THE_PREFIX: list[tuple[str, Act, str]] = [
    ("dies", sure(WORDS, events=3, then="die"), "engine_unreachable"),
    ("ends", sure(WORDS, events=3), "EngineFailed"),
    ("stalls", sure(WORDS, events=3, then="stall"), "engine_unreachable"),
    (
        "error event",
        plays([*chunks(WORDS, logprobs=[[-0.1]] * 8)[:3], ERROR_EVENT]),
        "EngineFailed",
    ),
    ("nonsense", plays([b"data: {nonsense}\n\n"]), "engine_nonsense"),
    ("other choices", plays([b'data: {"choices":["x"]}\n\n']), "engine_nonsense"),
    (
        "other log-probabilities",
        plays(
            [event(HEAD | {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [7]}}]})]
        ),
        "engine_nonsense",
    ),
]


@pytest.mark.parametrize(
    ("act", "error"),
    [case[1:] for case in IN_THE_PREFIX],
    ids=[case[0] for case in IN_THE_PREFIX],
)
async def test_an_engine_that_fails_within_the_prefix_is_replaced(
    tmp_path: Path, act: Act, error: str, request: pytest.FixtureRequest
) -> None:
    stall_s = 1.0 if "stalls" in request.node.name else 5.0
    small = [Engine(act), Engine(sure(WORDS))]
    async with rig(
        tmp_path / "a", small, [Engine(answers())], settings=prefix(), stall_s=stall_s
    ) as path:
        _, body = await path.ask(call(**TURNS, stream=True))
        assert text_of(body) == "".join(WORDS)
        assert await path.told() == [
            ("small", "answer", "error", error),
            ("small", "retry", "success", None),
        ]
    async with rig(
        tmp_path / "b", [Engine(act)], [Engine(answers())], settings=prefix(), stall_s=stall_s
    ) as path:
        reply, body = await path.ask(call(**TURNS, stream=True))
        assert (reply.headers["x-hansom-tier"], text_of(body)) == ("large", " a b")
        assert ("large", "fallback", "success", None) in await path.told()
        assert closed(path)


async def test_a_tier_that_none_is_above_is_not_held_and_shows_no_log_probabilities(
    tmp_path: Path,
) -> None:
    large = Engine(sure(WORDS, UNSURE, events=2, then="stall"))
    async with rig(tmp_path, [Engine(refuses(500))], [large], settings=prefix()) as path:
        async with asyncio.timeout(2):
            reply = await path.respond(call(**TURNS, stream=True))
            assert not isinstance(reply.body, bytes)
            seen = b""
            while b" word0" not in seen:
                seen += await anext(reply.body)
        await reply.body.aclose()
        assert b'"logprobs":{' not in seen
        assert large.asked[0]["logprobs"] is True


async def leave(path: Rig, task: "asyncio.Task[Any]", *engines: Engine) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(2):
        for engine in engines:
            await engine.left.wait()
    assert closed(path)


async def test_a_client_that_leaves_within_the_prefix_ends_the_work_and_pays_for_it(
    tmp_path: Path,
) -> None:
    small, large = Engine(sure(WORDS, events=4, then="stall")), Engine(answers())
    async with rig(tmp_path, [small], [large], settings=prefix()) as path:
        task = asyncio.create_task(path.respond(call(**TURNS, stream=True)))
        await until(lambda: small.asked)
        await asyncio.sleep(0.1)
        await leave(path, task, small)
        (line,) = await path.lines()
        assert (line.outcome, line.usage) == ("cancelled", Usage(4, 3, 3))
    assert large.asked == []


async def test_a_client_that_leaves_while_large_is_asked_ends_both(tmp_path: Path) -> None:
    small, large = Engine(sure(WORDS, UNSURE, events=6, then="stall")), Engine(stalls)
    async with rig(tmp_path, [small], [large], settings=prefix()) as path:
        task = asyncio.create_task(path.respond(call(**TURNS, stream=True)))
        await until(lambda: large.asked)
        await leave(path, task, small, large)
        lines = {line.tier: line for line in await path.lines()}
        assert {line.outcome for line in lines.values()} == {"cancelled"}
        assert lines["small"].usage == Usage(4, 3, 5)


async def test_a_client_that_leaves_a_released_stream_ends_it(tmp_path: Path) -> None:
    small = Engine(sure(WORDS, events=6, then="stall"))
    async with rig(tmp_path, [small], [Engine(answers())], settings=prefix()) as path:
        reply = await path.respond(call(**TURNS, stream=True))
        assert not isinstance(reply.body, bytes)
        await reply.body.aclose()
        async with asyncio.timeout(2):
            await small.left.wait()
        assert await path.told() == [("small", "cancelled", "cancelled", None)]


@pytest.mark.parametrize(
    ("words", "tier", "reason"),
    [(RIGHT, "small", "its answer passed the checks"), (WRONG, "large", "refuses")],
)
async def test_an_answer_that_ends_within_the_prefix_is_judged_by_its_text(
    tmp_path: Path, words: str, tier: str, reason: str
) -> None:
    pieces = [f"{word} " for word in words.split(" ")]
    small, large = Engine(sure(pieces)), Engine(answers((" 36",)))
    async with rig(tmp_path / "a", [small], [large], settings=prefix(64)) as path:
        reply, body = await path.ask(call(**TURNS, stream=True))
        assert reply.headers["x-hansom-tier"] == tier
        assert reason in reply.headers["x-hansom-route-reason"]
        assert text_of(body) == ("".join(pieces) if tier == "small" else " 36")


async def test_the_words_of_a_prefix_are_not_judged(tmp_path: Path) -> None:
    pieces = [f"{word} " for word in WRONG.split(" ")]
    events = chunks(pieces, logprobs=[[-0.001]] * len(pieces))
    gate = Gate(events[:6], events[6:])
    async with rig(tmp_path, [Engine(gate)], [Engine(answers())], settings=prefix()) as path:
        gate.opened[0].set()
        reply = await path.respond(call(**TURNS, stream=True))
        assert reply.headers["x-hansom-tier"] == "small"
        gate.opened[1].set()
        await read(reply)


async def test_log_probabilities_that_the_client_asked_for_are_its_own(tmp_path: Path) -> None:
    small = Engine(sure(WORDS))
    async with rig(tmp_path, [small], [Engine(answers())], settings=prefix()) as path:
        _, body = await path.ask(call(**TURNS, stream=True, logprobs=True, top_logprobs=2))
        found = [
            len(item["choices"][0]["logprobs"]["content"])
            for item in events_of(body)[:-1]
            if item["choices"] and item["choices"][0]["logprobs"]
        ]
        assert found == [1] * 8
        assert small.asked[0]["top_logprobs"] == 2


async def test_what_is_cached_is_as_if_no_log_probabilities_had_been_asked_for(
    tmp_path: Path,
) -> None:
    small = Engine(sure(WORDS))
    async with rig(tmp_path, [small], [Engine(answers())], settings=prefix()) as path:
        await path.ask(call(**TURNS, stream=True, temperature=0))
        reply, body = await path.ask(call(**TURNS, temperature=0))
        assert reply.headers["x-hansom-cache"] == "exact"
        (choice,) = orjson.loads(body)["choices"]
        assert (choice["message"]["content"], choice["logprobs"]) == ("".join(WORDS), None)
        assert len(small.asked) == 1


async def test_the_most_doubtful_of_several_choices_counts(tmp_path: Path) -> None:
    def piece(index: int, made: int, logprob: float) -> bytes:
        part = {"index": index, "delta": {"content": " x"}, "logprobs": told(logprob)}
        return event(HEAD | {"choices": [part | {"finish_reason": None}], "usage": usage(made)})

    events = [piece(index, at + 1, (-0.001, UNSURE)[index]) for at in range(5) for index in (0, 1)]
    small = Engine(plays(events, then="stall"))
    async with rig(tmp_path, [small], [Engine(answers())], settings=prefix()) as path:
        reply, _ = await path.ask(call(**TURNS, stream=True, n=2))
        assert reply.headers["x-hansom-tier"] == "large"
        lines = {line.tier: line for line in await path.lines()}
        assert lines["small"].usage.output_tokens == 10, "of both choices"


async def test_a_choice_that_has_begun_is_waited_for(tmp_path: Path) -> None:
    def piece(index: int, *logprobs: float) -> bytes:
        part = {"index": index, "delta": {"content": " x"}, "logprobs": told(*logprobs)}
        return event(HEAD | {"choices": [part | {"finish_reason": None}], "usage": usage(1)})

    gate = Gate([piece(0, *[-0.001] * 9), piece(1, -0.001)], [piece(1, *[UNSURE] * 3)])
    async with rig(tmp_path, [Engine(gate)], [Engine(answers())], settings=prefix()) as path:
        task = asyncio.create_task(path.ask(call(**TURNS, stream=True, n=2)))
        gate.opened[0].set()
        await asyncio.sleep(0.1)
        assert not task.done()
        gate.opened[1].set()
        reply, _ = await task
        assert reply.headers["x-hansom-tier"] == "large"


async def test_a_choice_without_a_token_is_not_waited_for(tmp_path: Path) -> None:
    role, *tokens = chunks(WORDS, logprobs=[[-0.001]] * 8)
    other = role.replace(b'"index":0', b'"index":1')
    small = Engine(plays([role, other, *tokens[:4]], then="stall"))
    async with rig(tmp_path, [small], [Engine(answers())], settings=prefix()) as path:
        async with asyncio.timeout(2):
            reply = await path.respond(call(**TURNS, stream=True, n=2))
        assert not isinstance(reply.body, bytes)
        await reply.body.aclose()


async def test_one_event_may_carry_all_tokens_of_the_prefix(tmp_path: Path) -> None:
    events = chunks([" several words at once"], logprobs=[[-0.001, -0.001, UNSURE, UNSURE]])
    small = Engine(plays(events[:2], then="stall"))
    async with rig(tmp_path, [small], [Engine(answers())], settings=prefix()) as path:
        reply, _ = await path.ask(call(**TURNS, stream=True))
        assert "in its first 4 tokens" in reply.headers["x-hansom-route-reason"]


async def test_a_call_of_a_tool_is_released_unjudged(tmp_path: Path) -> None:
    function = {"index": 0, "id": "t", "type": "function", "function": {"name": "f"}}
    part = {"index": 0, "delta": {"tool_calls": [function]}, "logprobs": told(UNSURE)}
    begun = event(HEAD | {"choices": [part | {"finish_reason": None}], "usage": usage(1)})
    small, large = Engine(plays([begun], then="stall")), Engine(answers())
    async with rig(tmp_path, [small], [large], settings=prefix()) as path:
        async with asyncio.timeout(2):
            reply = await path.respond(call(**TURNS, stream=True))
        assert not isinstance(reply.body, bytes)
        first = await anext(reply.body)
        assert events_of(first)[0]["choices"][0]["delta"]["tool_calls"] == [function]
        assert b'"logprobs":null' in first
        await reply.body.aclose()
    assert large.asked == []


async def test_text_without_log_probabilities_is_released_at_once(tmp_path: Path) -> None:
    small, large = Engine(plays(chunks(WORDS)[:2], then="stall")), Engine(answers())
    async with rig(tmp_path, [small], [large], settings=prefix()) as path:
        async with asyncio.timeout(2):
            reply = await path.respond(call(**TURNS, stream=True))
        assert "cannot be judged" in reply.headers["x-hansom-route-reason"]
        assert not isinstance(reply.body, bytes)
        await reply.body.aclose()
    assert large.asked == []


def completions(logprob: float) -> Act:
    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        asked = body.get("logprobs") is not None
        known = {"tokens": ["x"], "token_logprobs": [logprob], "text_offset": [0]}
        head = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
        events = [
            event(
                head
                | {
                    "choices": [
                        {
                            "index": 0,
                            "text": f" x{at}",
                            "logprobs": known | {"top_logprobs": [{'"}': -1.0}]} if asked else None,
                            "finish_reason": "stop" if at == 7 else None,
                        }
                    ],
                    "usage": usage(at + 1),
                }
            )
            for at in range(8)
        ]
        return await plays([*events, DONE])(request, body)

    return act


@pytest.mark.parametrize(("logprob", "tier"), [(-0.001, "small"), (UNSURE, "large")])
async def test_text_completions_are_judged_alike(tmp_path: Path, logprob: float, tier: str) -> None:
    asked = call(endpoint=Endpoint.COMPLETION, prompt="2 + 2 =", stream=True)
    small = Engine(completions(logprob))
    async with rig(tmp_path, [small], [Engine(completions(-0.1))], settings=prefix()) as path:
        reply, body = await path.ask(asked)
        assert reply.headers["x-hansom-tier"] == tier
        parts = [item["choices"][0] for item in events_of(body)[:-1]]
        assert "".join(part["text"] for part in parts) == "".join(f" x{at}" for at in range(8))
        assert [part["logprobs"] for part in parts] == [None] * 8
        assert small.asked[0]["logprobs"] == 0


async def test_a_completions_own_log_probabilities_stay_also_when_it_asked_for_zero(
    tmp_path: Path,
) -> None:
    asked = call(endpoint=Endpoint.COMPLETION, prompt="2 + 2 =", stream=True, logprobs=0)
    small = Engine(completions(-0.001))
    async with rig(tmp_path, [small], [Engine(answers())], settings=prefix()) as path:
        _, body = await path.ask(asked)
        parts = [item["choices"][0] for item in events_of(body)[:-1]]
        assert [part["logprobs"]["token_logprobs"] for part in parts] == [[-0.001]] * 8


async def test_an_echoed_prompt_is_not_judged_for_its_answer(tmp_path: Path) -> None:
    asked = call(endpoint=Endpoint.COMPLETION, prompt="2 + 2 =", stream=True, echo=True)
    small = Engine(completions(UNSURE))
    async with rig(tmp_path, [small], [Engine(answers())], settings=prefix()) as path:
        reply, _ = await path.ask(asked)
        assert reply.headers["x-hansom-tier"] == "small"
        assert "logprobs" not in small.asked[0]


async def test_plain_answers_and_named_tiers_are_as_they_were(tmp_path: Path) -> None:
    small = Engine(answers((RIGHT,)))
    async with rig(tmp_path, [small], [Engine(answers())], settings=prefix()) as path:
        reply, _ = await path.ask(call(**TURNS))
        assert "its answer passed the checks" in reply.headers["x-hansom-route-reason"]
        await path.ask(call(**TURNS, stream=True, requested="small"))
        assert "logprobs" not in small.asked[1]


async def test_a_judge_that_breaks_loses_no_line_and_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RecursionError("hostile tokens")

    monkeypatch.setattr("router.judge.uncertainty.doubt", broken)
    small = Engine(sure(WORDS, events=6, then="stall"))
    async with rig(tmp_path, [small], [Engine(answers())], settings=prefix()) as path:
        with pytest.raises(RecursionError):
            await path.ask(call(**TURNS, stream=True))
        assert await path.told() == [("small", "answer", "error", "judging")]
        assert closed(path)


class Blocks:
    """A stream in blocks, as an engine's connection gives it."""

    def __init__(self, blocks: Sequence[bytes]) -> None:
        self.blocks = list(blocks)

    async def block(self) -> bytes:
        return self.blocks.pop(0) if self.blocks else b""

    def close(self) -> None:
        self.blocks.clear()


PIECES = st.lists(
    st.one_of(st.sampled_from(['"logprobs":{', '\n\ndata: {"', "}]}"]), st.text(max_size=8)),
    max_size=5,
)


@settings(deadline=None)
@given(PIECES, st.integers(1, 2), st.booleans(), st.lists(st.integers(0, 5000)))
@example(['"logprobs":{', " b"], 2, True, list(range(2000)))
async def test_however_a_stream_is_cut_what_is_shown_is_what_was_asked_for(
    pieces: list[str], choices: int, blind: bool, cuts: list[int]
) -> None:
    known = chunks(pieces, choices=choices, logprobs=[[-0.5, -3.0]] * len(pieces))
    data = b"".join(known)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    source = WholeEvents(Blocks([data[a:b] for a, b in pairwise(places)]), blind=blind)
    out = b""
    while block := await source.block():
        assert block.endswith(b"\n\n")
        out += block
    if not blind:
        assert out == data
        return
    for shown, whole in zip(out.split(b"\n\n"), data.split(b"\n\n"), strict=True):
        if whole.startswith(b"data: {"):
            wanted = orjson.loads(whole[6:])
            for choice in wanted["choices"]:
                choice["logprobs"] = None
            assert shown == b"data: " + orjson.dumps(wanted)
        else:
            assert shown == whole
