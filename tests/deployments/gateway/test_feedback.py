"""Feedback: what is taken, what is refused, and that it says why."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from ray.exceptions import RayActorError

from cache.error_budget.budget import Level
from cache.semantic.pair import PromptReader
from cache.semantic.verify import Verifier
from core.errors import BadRequest, HansomError, Unavailable, UnknownRequest
from deployments.client import Client
from deployments.gateway.admission import Admission
from deployments.gateway.feedback import Feedback
from deployments.gateway.lookup.served import Served
from deployments.router.semantic_index import SemanticIndex
from tests.deployments.rig import Rig, read, rig, settings_of
from tests.fakes import FakeBudgets, FakeNear, FakeNearby, FakeRouter
from text.embed import MiniLM

BODY: dict[str, Any] = {"request_id": "r-1", "tier": "small", "right": 0}


async def never() -> dict[str, Any]:
    await asyncio.sleep(60)
    raise AssertionError


async def give(path: Rig, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    settings = settings_of()
    guarded = (Admission(settings), path.recorder.metrics, path.clock, 1_000_000)
    route, caller = Feedback(settings, path.router, path.semantic, 0.1, *guarded), Client(never)
    try:
        reply = await route.answer(caller, orjson.dumps(body), headers, "r-2", path.clock.now_s)
    finally:
        caller.close()
    return dict(orjson.loads(await read(reply)))


@pytest.mark.parametrize(
    ("tier", "head"), [("small", 0), ("small-model", 0), ("large", 1), ("large-model", 1)]
)
async def test_a_label_goes_to_the_router_with_its_callers_name(
    tmp_path: Path, tier: str, head: int
) -> None:
    async with rig(tmp_path) as path:
        path.router.known = {"r-1"}
        told = await give(path, BODY | {"tier": tier, "right": 0.5}, authorization="Bearer k")
        assert told == {"object": "feedback", "request_id": "r-1", "accepted": True}
        (asked,) = path.router.asked
        assert asked.startswith("key-")
        assert path.router.more == [("r-1", head, 0.5)]


async def test_a_request_that_was_not_scored_is_a_404_that_says_so(tmp_path: Path) -> None:
    async with rig(tmp_path) as path:
        with pytest.raises(UnknownRequest, match="scored lately") as told:
            await give(path, BODY)
        assert (told.value.status, told.value.param) == (404, "request_id")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"right": 2}, "right"),
        ({"right": "yes"}, "right"),
        ({"tier": "huge"}, "tier"),
        ({"request_id": ""}, "request_id"),
        ({"request_id": None}, "request_id"),
    ],
)
async def test_a_wrong_field_is_refused_by_its_name(
    tmp_path: Path, changes: dict[str, Any], param: str
) -> None:
    async with rig(tmp_path) as path:
        with pytest.raises(BadRequest) as told:
            await give(path, BODY | changes)
        assert told.value.param == param
        assert path.router.asked == []


@pytest.mark.parametrize(
    "router", [FakeRouter(failure=RayActorError()), FakeRouter(wait_s=30.0)], ids=["dead", "late"]
)
async def test_a_memory_that_does_not_answer_is_a_503(tmp_path: Path, router: FakeRouter) -> None:
    async with rig(tmp_path, router=router) as path:
        with pytest.raises(Unavailable) as told:
            await give(path, BODY)
        assert isinstance(told.value, HansomError)
        assert told.value.retry_after_s is not None


async def test_feedback_on_a_semantic_hit_counts_against_its_budget_and_for_no_tier(
    tmp_path: Path,
) -> None:
    budgets = FakeBudgets()
    embedder = MiniLM.installed()
    near = SemanticIndex(
        FakeNearby(),
        Verifier.load(PromptReader(embedder)),
        lambda text: embedder.embed([text])[0],
        ThreadPoolExecutor(1),
    )
    async with rig(tmp_path, near=FakeNear(near), budgets=budgets) as path:
        assert path.semantic is not None
        served = Served(
            "hansom:scope:{x}:y", "e", 0.9, "o", "law", Level.STRICT.value, 0.01, 1.0, "so", "small"
        )
        await budgets.remember("anonymous", "r-1", served)
        told = await give(path, BODY)
        assert told["accepted"] is True
        assert path.router.asked == []
    assert budgets.states["o", "law"].records[Level.STRICT].told == 1
