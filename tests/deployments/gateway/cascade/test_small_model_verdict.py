"""The small model's verdict: what it is read from, and that it never holds a call up."""

import math
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from deployments.gateway.cascade.small_model_verdict import SmallModelVerdict, yes_share
from tests.deployments.engines import Act, Engine, dies, refuses, stalls, usage
from tests.deployments.rig import call, rig

TURN: list[dict[str, object]] = [{"role": "user", "content": "Prove it."}]


def token(text: str, probability: float) -> dict[str, Any]:
    return {"token": text, "logprob": math.log(probability)}


def said(first: str, *others: tuple[str, float]) -> dict[str, Any]:
    """An answer of one token and its alternatives, the first of which is the token itself."""
    top = [token(first, 0.5), *(token(*other) for other in others)]
    content = [token(first, 0.5) | {"top_logprobs": top}]
    return {"choices": [{"logprobs": {"content": content}}], "usage": usage(1)}


def verdict(answer: dict[str, Any]) -> Act:
    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(answer)

    return act


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (said("Yes", (" no", 0.125)), 0.8),
        (said(" No", ("yes", 0.5)), 0.5),
        (said("YES"), 1.0),
        (said("no"), 0.0),
        (said("Maybe", ("Sure", 0.2)), None),
        (said("Maybe", ("no", 0.2)), 0.0),
    ],
)
def test_yes_and_no_are_weighed_in_any_spelling_and_nothing_else_is(
    answer: dict[str, Any], expected: float | None
) -> None:
    found = yes_share(answer)
    assert found == (None if expected is None else pytest.approx(expected))


async def test_the_small_model_is_asked_once_and_the_ledger_counts_it_aside(tmp_path: Path) -> None:
    engine = Engine(verdict(said("Yes")))
    async with rig(tmp_path, [engine]) as path:
        judge = SmallModelVerdict(path.recorder, path.tiers["small"], 1.0)
        assert await judge(call(), TURN) == 1.0
        (asked,) = engine.asked
        assert (asked["model"], asked["max_tokens"], asked["temperature"]) == ("small-model", 1, 0)
        assert "Prove it." in asked["messages"][0]["content"]
        (line,) = await path.lines()
        assert (line.kind, line.outcome, line.usage.output_tokens) == ("classifier", "success", 1)
        assert line.saved_usd_micros == -line.cost_usd_micros


@pytest.mark.parametrize("act", [dies, stalls, refuses(500), verdict({"choices": []})])
async def test_no_answer_in_time_or_in_form_is_no_verdict(tmp_path: Path, act: Act) -> None:
    async with rig(tmp_path, [Engine(act)]) as path:
        judge = SmallModelVerdict(path.recorder, path.tiers["small"], 0.2)
        assert await judge(call(), TURN) is None
        assert await path.told() == [("small", "classifier", "error", None)]


async def test_a_tier_without_replicas_gives_no_verdict(tmp_path: Path) -> None:
    async with rig(tmp_path) as path:
        judge = SmallModelVerdict(path.recorder, path.tiers["small"], 0.2)
        assert await judge(call(), TURN) is None
