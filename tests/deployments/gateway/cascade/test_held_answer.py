"""The cascade: the cheaper answer is kept or given up, and both attempts are in the ledger."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from core.call import Value
from core.money import usd
from core.settings.load import Settings
from tests.deployments.engines import Act, Engine, answer, answers, refuses, stalls
from tests.deployments.rig import call, events_of, rig, settings_of, tier_of
from tests.fakes import FakeRouter
from tests.ledger.lines import until

QUESTION = "A farmer has 12 crates with 3 apples each. How many apples are there?"
TURNS = {"messages": [{"role": "user", "content": QUESTION}]}
RIGHT = "There are 12 crates with 3 apples each: 12 * 3 = 36. The answer is 36."
WRONG = "I cannot answer that, there is not enough information. 12 * 3 = 99."


def says(text: str, logprob: float | None = None) -> Act:
    """Answer with this text, and with log-probabilities where they are asked for."""

    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        whole = answer(text, 10)
        if body.get("logprobs") and logprob is not None:
            tokens = [{"token": word, "logprob": logprob} for word in text.split()]
            whole["choices"][0]["logprobs"] = {"content": tokens}
        return web.json_response(whole)

    return act


def cascade(**changes: Any) -> Settings:
    return settings_of(
        router={"strategy": "cascade", "weights": "router/weights/v2", "cascade": changes}
    )


async def test_an_answer_that_passes_is_kept_and_large_is_not_asked(tmp_path: Path) -> None:
    large = Engine(answers())
    async with rig(tmp_path, [Engine(says(RIGHT))], [large], settings=cascade()) as path:
        reply, body = await path.ask(call(**TURNS))
        assert orjson.loads(body)["choices"][0]["message"]["content"] == RIGHT
        assert reply.headers["x-hansom-tier"] == "small"
        assert reply.headers["x-hansom-route-reason"].startswith("checked; ")
        assert "passed" in reply.headers["x-hansom-route-reason"]
        assert large.asked == []
        assert await path.told() == [("small", "answer", "success", None)]
        labels = {"tier": "small", "verdict": "kept"}
        registry = path.recorder.metrics.registry
        assert registry.get_sample_value("hansom_escalations_total", labels) == 1


async def test_a_doubtful_answer_is_given_up_and_both_attempts_are_paid_for(tmp_path: Path) -> None:
    small, large = Engine(says(WRONG)), Engine(answers((" 36",)))
    async with rig(tmp_path, [small], [large], settings=cascade()) as path:
        reply, body = await path.ask(call(**TURNS))
        assert orjson.loads(body)["choices"][0]["message"]["content"] == " 36"
        assert reply.headers["x-hansom-tier"] == "large"
        code, _, reason = reply.headers["x-hansom-route-reason"].partition("; ")
        assert code == "escalated"
        assert "doubtful" in reason
        lines = {line.tier: line for line in await path.lines()}
        assert (lines["small"].kind, lines["small"].outcome) == ("answer", "success")
        assert (lines["large"].kind, lines["large"].attempt) == ("escalation", 1)
        cost = sum(line.cost_usd_micros for line in lines.values())
        assert reply.headers["x-hansom-cost-usd"] == f"{cost / 1e6:.6f}"
        assert lines["small"].saved_usd_micros == -lines["small"].cost_usd_micros


async def test_unsure_tokens_escalate_what_reads_well_and_stay_unseen(tmp_path: Path) -> None:
    unsure, sure = Engine(says(RIGHT, logprob=-4.0)), Engine(says(RIGHT, logprob=-0.001))
    async with rig(tmp_path / "a", [unsure], [Engine(answers())], settings=cascade()) as path:
        reply, _ = await path.ask(call(**TURNS))
        assert reply.headers["x-hansom-tier"] == "large"
    async with rig(tmp_path / "b", [sure], [Engine(answers())], settings=cascade()) as path:
        reply, body = await path.ask(call(**TURNS))
        assert reply.headers["x-hansom-tier"] == "small"
        assert orjson.loads(body)["choices"][0]["logprobs"] is None
        assert sure.asked[0]["logprobs"] is True


async def test_log_probabilities_that_the_client_asked_for_are_its_own(tmp_path: Path) -> None:
    small = Engine(says(RIGHT, logprob=-0.001))
    async with rig(tmp_path, [small], [Engine(answers())], settings=cascade()) as path:
        _, body = await path.ask(call(**TURNS, logprobs=True, top_logprobs=2))
        assert orjson.loads(body)["choices"][0]["logprobs"]["content"]
        assert small.asked[0]["top_logprobs"] == 2


async def test_without_logprobs_in_the_settings_none_are_asked_for(tmp_path: Path) -> None:
    small = Engine(says(RIGHT))
    settings = cascade(logprobs=False)
    async with rig(tmp_path, [small], [Engine(answers())], settings=settings) as path:
        await path.ask(call(**TURNS))
        assert "logprobs" not in small.asked[0]


@pytest.mark.parametrize("large", [[], [Engine(refuses(500))]], ids=["down", "failing"])
async def test_when_large_fails_the_doubtful_answer_is_given_after_all(
    tmp_path: Path, large: list[Engine]
) -> None:
    async with rig(tmp_path, [Engine(says(WRONG))], large, settings=cascade()) as path:
        reply, body = await path.ask(call(**TURNS))
        assert orjson.loads(body)["choices"][0]["message"]["content"] == WRONG
        assert reply.headers["x-hansom-tier"] == "small"
        small = [line for line in await path.lines() if line.tier == "small"]
        assert [line.outcome for line in small] == ["success"]


async def test_when_small_fails_large_answers_unjudged(tmp_path: Path) -> None:
    small, large = Engine(refuses(500)), Engine(says(WRONG))
    async with rig(tmp_path, [small], [large], settings=cascade()) as path:
        reply, _ = await path.ask(call(**TURNS))
        assert reply.headers["x-hansom-tier"] == "large"
        assert len(large.asked) == 1


async def test_a_stream_is_not_held_unless_the_settings_say_so(tmp_path: Path) -> None:
    small = Engine(answers((WRONG,)))
    async with rig(tmp_path, [small], [Engine(answers())], settings=cascade()) as path:
        reply, body = await path.ask(call(**TURNS, stream=True))
        assert reply.headers["x-hansom-tier"] == "small"
        assert events_of(body)[-1] == "[DONE]"
        assert small.asked[0]["stream"] is True


async def test_a_held_stream_is_played_when_kept_and_large_streams_live_when_not(
    tmp_path: Path,
) -> None:
    settings = cascade(streams="hold")
    kept, given_up = Engine(says(RIGHT)), Engine(says(WRONG))
    async with rig(tmp_path / "a", [kept], [Engine(answers())], settings=settings) as path:
        reply, body = await path.ask(call(**TURNS, stream=True, include_usage=True))
        events = events_of(body)
        text = "".join(
            choice["delta"].get("content") or ""
            for event in events[:-1]
            for choice in event["choices"]
        )
        assert (text, reply.headers["content-type"]) == (RIGHT, "text/event-stream; charset=utf-8")
        assert events[-2]["hansom"]["tier"] == "small"
        assert "stream" not in kept.asked[0]
    large = Engine(answers((" 36",)))
    async with rig(tmp_path / "b", [given_up], [large], settings=settings) as path:
        reply, body = await path.ask(call(**TURNS, stream=True, include_usage=True))
        events = events_of(body)
        assert events[-2]["hansom"]["tier"] == "large"
        assert large.asked[0]["stream"] is True
        cost = sum(line.cost_usd_micros for line in await path.lines())
        assert events[-2]["hansom"]["cost_usd"] == f"{cost / 1e6:.6f}"


async def test_a_kept_answer_is_cached_and_so_is_the_dearer_one(tmp_path: Path) -> None:
    small = Engine(says(WRONG))
    async with rig(tmp_path, [small], [Engine(answers((" 36",)))], settings=cascade()) as path:
        await path.ask(call(**TURNS, temperature=0))
        reply, body = await path.ask(call(**TURNS, temperature=0))
        assert reply.headers["x-hansom-cache"] == "exact"
        assert orjson.loads(body)["choices"][0]["message"]["content"] == " 36"
        assert len(small.asked) == 1


async def test_a_client_that_leaves_while_large_works_pays_for_both(tmp_path: Path) -> None:
    large = Engine(stalls)
    async with rig(tmp_path, [Engine(says(WRONG))], [large], settings=cascade()) as path:
        task = asyncio.create_task(path.respond(call(**TURNS)))
        await until(lambda: large.asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            await large.left.wait()
        lines = {line.tier: line for line in await path.lines()}
        assert lines["small"].usage.output_tokens == 10
        assert {line.outcome for line in lines.values()} == {"cancelled"}


async def test_a_call_of_a_tool_is_kept_unjudged(tmp_path: Path) -> None:
    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        whole = answer("", 5)
        tool = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        whole["choices"][0]["message"] |= {"content": None, "tool_calls": [tool]}
        return web.json_response(whole)

    large = Engine(answers())
    async with rig(tmp_path, [Engine(act)], [large], settings=cascade()) as path:
        reply, _ = await path.ask(call(**TURNS))
        assert (reply.headers["x-hansom-tier"], large.asked) == ("small", [])


async def test_a_named_tier_is_not_judged(tmp_path: Path) -> None:
    large = Engine(answers())
    async with rig(tmp_path, [Engine(says(WRONG))], [large], settings=cascade()) as path:
        reply, _ = await path.ask(call(**TURNS, requested="small"))
        assert reply.headers["x-hansom-tier"] == "small"
        assert large.asked == []
        assert path.router.asked == []


async def test_a_score_that_is_sure_skips_the_cheap_try(tmp_path: Path) -> None:
    from tests.deployments.gateway.test_dispatch import score

    small, large = Engine(says(RIGHT)), Engine(answers())
    router = FakeRouter(score(0.99))
    settings = settings_of(router={"strategy": "cascade", "threshold": 0.5})
    async with rig(tmp_path, [small], [large], settings=settings, router=router) as path:
        reply, _ = await path.ask(call(**TURNS))
        assert reply.headers["x-hansom-tier"] == "large"
        assert reply.headers["x-hansom-route-reason"].startswith("hard; ")
        assert small.asked == []


@pytest.mark.parametrize("logprobs", [{"content": [{"token": "x"}]}, {"content": ["x"]}])
async def test_log_probabilities_of_another_form_are_a_failed_replica(
    tmp_path: Path, logprobs: dict[str, Any]
) -> None:
    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        whole = answer(RIGHT, 10)
        whole["choices"][0]["logprobs"] = logprobs
        return web.json_response(whole)

    async with rig(tmp_path, [Engine(act)], [Engine(answers())], settings=cascade()) as path:
        reply, _ = await path.ask(call(**TURNS))
        assert reply.headers["x-hansom-tier"] == "large"
        assert ("small", "answer", "error", "engine_nonsense") in await path.told()


async def test_a_judge_that_breaks_loses_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RecursionError("hostile text")

    monkeypatch.setattr("deployments.gateway.cascade.held_answer.judge", broken)
    async with rig(
        tmp_path, [Engine(says(RIGHT))], [Engine(answers())], settings=cascade()
    ) as path:
        with pytest.raises(RecursionError):
            await path.ask(call(**TURNS))
        assert await path.told() == [("small", "answer", "error", "judging")]


async def test_an_answer_is_cached_for_calls_of_the_same_worth_and_domain_only(
    tmp_path: Path,
) -> None:
    small = Engine(says(RIGHT))
    async with rig(tmp_path, [small], [Engine(answers())], settings=cascade()) as path:
        for changes in ({}, {"value": Value.HIGH}, {"domain": "maths"}, {}):
            await path.ask(call(**TURNS, temperature=0, **changes))
        assert len(small.asked) == 3


def three(**changes: Any) -> Settings:
    """Three tiers under a cascade that begins every call with the cheapest."""
    changes |= {"predict": False}
    tiers = [tier_of(name, at + 1) for at, name in enumerate(("small", "medium", "large"))]
    router = {"strategy": "cascade", "weights": "router/weights/v2", "cascade": changes}
    return settings_of(tiers=tiers, router=router)


async def test_of_three_tiers_a_doubtful_answer_goes_up_by_one(tmp_path: Path) -> None:
    medium, large = Engine(says(RIGHT)), Engine(answers())
    async with rig(
        tmp_path, [Engine(says(WRONG))], [large], more={"medium": [medium]}, settings=three()
    ) as path:
        reply, body = await path.ask(call(**TURNS))
        assert orjson.loads(body)["choices"][0]["message"]["content"] == RIGHT
        why = reply.headers["x-hansom-route-reason"]
        assert why.startswith("escalated; ")
        assert why.endswith("medium instead; its answer passed the checks")
        assert large.asked == []
        assert await path.told() == [
            ("small", "answer", "success", None),
            ("medium", "escalation", "success", None),
        ]
        lines = await path.lines()
        total = sum(line.cost_usd_micros for line in lines)
        assert reply.headers["x-hansom-cost-usd"] == usd(total)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("second", [False, True])
async def test_two_doubtful_answers_end_at_the_dearest_and_all_are_paid_for(
    tmp_path: Path, stream: bool, second: bool
) -> None:
    engines = [Engine(says(WRONG)), Engine(says(WRONG)), Engine(answers((" 36",)))]
    settings = three(streams="hold", second_sample=second)
    async with rig(
        tmp_path, engines[:1], engines[2:], more={"medium": engines[1:2]}, settings=settings
    ) as path:
        reply, body = await path.ask(call(**TURNS, stream=stream))
        assert b" 36" in body
        assert reply.headers["x-hansom-tier"] == "large"
        assert reply.headers["x-hansom-route-reason"].count("its answer is doubtful") == 2
        lines = await path.lines()
        answers_ = [line for line in lines if line.kind.value != "classifier"]
        assert [line.tier for line in sorted(answers_, key=lambda one: one.attempt)] == [
            "small", "medium", "large",
        ]  # fmt: skip
        assert len({line.attempt for line in lines}) == len(lines)
        cost = usd(sum(line.cost_usd_micros for line in answers_))
        told = events_of(body)[-2]["hansom"]["cost_usd"] if stream else None
        assert (told or reply.headers["x-hansom-cost-usd"]) == cost


async def test_when_the_dearer_tiers_fail_the_best_doubtful_answer_is_kept(tmp_path: Path) -> None:
    engines = [Engine(says(WRONG)), Engine(says(WRONG)), Engine(refuses(500))]
    async with rig(
        tmp_path, engines[:1], engines[2:], more={"medium": engines[1:2]}, settings=three()
    ) as path:
        reply, _ = await path.ask(call(**TURNS))
        assert reply.headers["x-hansom-tier"] == "medium"
        assert "but large failed" in reply.headers["x-hansom-route-reason"]
        lines = await path.lines()
        assert {line.attempt for line in lines} >= {0, 1, 2}
        assert reply.headers["x-hansom-cost-usd"] == usd(sum(x.cost_usd_micros for x in lines))


async def test_a_client_that_leaves_the_second_answer_closes_every_attempt(tmp_path: Path) -> None:
    medium = Engine(stalls)
    async with rig(
        tmp_path, [Engine(says(WRONG))], [Engine(answers())],
        more={"medium": [medium]}, settings=three(),
    ) as path:  # fmt: skip
        task = asyncio.create_task(path.ask(call(**TURNS)))
        await until(lambda: medium.asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {line.outcome.value for line in await path.lines()} == {"cancelled"}
        assert len(await path.lines()) == 2
