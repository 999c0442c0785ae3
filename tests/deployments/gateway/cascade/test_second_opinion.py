"""The cascade's dearer questions: a second sample, and the large model's reading."""

import math
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from core.call import Endpoint
from deployments.gateway.cascade.second_opinion import SecondOpinion, last_logprobs
from tests.accounts.test_worst_case import tier
from tests.deployments.engines import Act, Engine, answer, answers, dies, refuses, usage
from tests.deployments.gateway.cascade.test_held_answer import RIGHT, TURNS, cascade, says
from tests.deployments.rig import call, rig, settings_of


def told(text: str, logprob: float) -> dict[str, Any]:
    """What vLLM tells of one token of a prompt: the token itself first."""
    return {
        "17": {"logprob": logprob, "rank": 3, "decoded_token": text},
        "4": {"logprob": -0.1, "rank": 1, "decoded_token": "other"},
    }


def reads(logprob: float, pieces: int = 8) -> Act:
    """Tell log-probabilities for a prompt that ends with the answer; else answer plainly."""

    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "prompt_logprobs" not in body:
            return web.json_response(answer(" 36", 1))
        text = body["messages"][-1]["content"]
        size = math.ceil(len(text) / pieces)
        parts = [text[at : at + size] for at in range(0, len(text), size)]
        prompt = [None, *[told("before", -9.0)] * 5, *(told(part, logprob) for part in parts)]
        return web.json_response(answer("x", 1) | {"prompt_logprobs": prompt, "usage": usage(1)})

    return act


def test_only_the_tokens_of_the_answer_count() -> None:
    prompt = [None, told("Q:", -9.0), told(" A:", -9.0), told("Par", -1.0), told("is", -0.5)]
    assert last_logprobs(prompt, "Paris") == [-1.0, -0.5]
    assert last_logprobs(prompt, "Paris is longer than the prompt") == [-9.0, -9.0, -1.0, -0.5]
    assert last_logprobs([], "Paris") == []


async def test_a_surprised_reader_has_the_answer_given_up(tmp_path: Path) -> None:
    settings = cascade(perplexity=5.0)
    large = Engine(reads(-3.0))
    async with rig(tmp_path, [Engine(says(RIGHT))], [large], settings=settings) as path:
        reply, _ = await path.ask(call(**TURNS))
        assert reply.headers["x-hansom-tier"] == "large"
        assert "perplexity 20.1 to large, above 5" in reply.headers["x-hansom-route-reason"]
        assert large.asked[0]["messages"][-1] == {"role": "assistant", "content": RIGHT}
        assert large.asked[0]["continue_final_message"] is True
        kinds = {line.kind: line for line in await path.lines()}
        assert set(kinds) == {"answer", "classifier", "escalation"}
        assert kinds["classifier"].usage.output_tokens == 1


async def test_a_reader_who_expected_it_lets_it_stand(tmp_path: Path) -> None:
    settings = cascade(perplexity=5.0)
    async with rig(
        tmp_path, [Engine(says(RIGHT))], [Engine(reads(-0.2))], settings=settings
    ) as path:
        reply, _ = await path.ask(call(**TURNS))
        assert reply.headers["x-hansom-tier"] == "small"


@pytest.mark.parametrize("act", [dies, refuses(400), answers()])
async def test_a_reader_without_an_opinion_changes_nothing(tmp_path: Path, act: Act) -> None:
    settings = cascade(perplexity=5.0)
    async with rig(tmp_path, [Engine(says(RIGHT))], [Engine(act)], settings=settings) as path:
        reply, _ = await path.ask(call(**TURNS))
        assert reply.headers["x-hansom-tier"] == "small"


async def test_a_second_answer_that_differs_speaks_against_the_first(tmp_path: Path) -> None:
    said = iter([RIGHT, "12 * 3 = 36 and 36 + 5 = 41. The answer is 41."])

    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(answer(next(said), 10))

    small = Engine(act)
    settings = cascade(second_sample=True, doubt=0.4)
    async with rig(tmp_path, [small], [Engine(answers((" 36",)))], settings=settings) as path:
        reply, body = await path.ask(call(**TURNS, max_tokens=50))
        assert orjson.loads(body)["choices"][0]["message"]["content"] == " 36"
        assert "a second answer differs" in reply.headers["x-hansom-route-reason"]
        assert (small.asked[1]["temperature"], small.asked[1]["max_tokens"]) == (0.8, 50)


async def test_nothing_is_asked_besides_unless_the_settings_say_so(tmp_path: Path) -> None:
    small, large = Engine(says(RIGHT)), Engine(answers())
    async with rig(tmp_path, [small], [large], settings=cascade()) as path:
        await path.ask(call(**TURNS))
        assert (len(small.asked), len(large.asked)) == (1, 0)


async def test_a_failed_question_is_in_the_ledger_as_such(tmp_path: Path) -> None:
    async with rig(tmp_path, [Engine(dies)]) as path:
        look = SecondOpinion(path.recorder, path.tiers)
        assert await look.sample(call(**TURNS), settings_of().tiers[0]) is None
        assert await path.told() == [("small", "classifier", "error", None)]


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"max_tokens": 9, "max_completion_tokens": 4}, {"max_tokens": 4}),
        ({"output_caps": {"small": 33}}, {"max_completion_tokens": 33}),
        ({"endpoint": Endpoint.COMPLETION, "prompt": "x"}, {"max_tokens": 16}),
        ({}, {}),
    ],
)
async def test_no_second_answer_is_longer_than_the_first_may_be(
    changes: dict[str, Any], limit: dict[str, int], tmp_path: Path
) -> None:
    small = Engine(answers())
    tiers = [tier("small", 1, {"kind": "vllm"}), tier("large", 10, {"kind": "vllm"})]
    async with rig(tmp_path, [small], settings=settings_of(tiers=tiers)) as path:
        look = SecondOpinion(path.recorder, path.tiers)
        asked, small_tier = call(**changes), path.recorder.settings.tier("small")
        await look.sample(asked, small_tier)
        if asked.endpoint is Endpoint.CHAT:
            await look.again(asked, small_tier)
    for sent in small.asked:
        told = {
            name: sent[name] for name in ("max_tokens", "max_completion_tokens") if name in sent
        }
        assert told == limit or told == {"max_tokens": 9, "max_completion_tokens": 4}
