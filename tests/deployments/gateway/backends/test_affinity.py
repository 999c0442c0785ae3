"""Replicas and prompts through the real path: long prompts are kept apart, conversations together.

The engines are played over HTTP; no Ray.
"""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from core.call import Call
from deployments.gateway.backends.prefix_index import read as read_prompt
from tests.deployments.engines import Engine, answers, refuses
from tests.deployments.rig import at_home, call, rig

TURN = "Where to? Take the road along the river, please. " * 40


def talk(name: str, turns: int) -> list[dict[str, str]]:
    """A conversation's prompt at its n-th turn."""
    said = [{"role": "user", "content": f"I am {name}. {TURN}"}]
    for turn in range(1, turns):
        said += [{"role": "assistant", "content": f"Turn {turn}."}]
        said += [{"role": "user", "content": TURN}]
    return said


def small(**changes: Any) -> Call:
    """Asked of the small tier by name, and not from the cache."""
    return call(requested="small", **changes)


async def test_each_conversation_stays_on_its_replica(tmp_path: Path) -> None:
    engines = [Engine(answers(wait_s=0.02)) for _ in range(3)]
    names = [f"caller {n}" for n in range(6)]
    async with rig(tmp_path, engines) as path:
        for turn in range(1, 5):
            asked = [path.ask(small(stream=True, messages=talk(name, turn))) for name in names]
            await asyncio.gather(*asked)
    seen = [{one["messages"][0]["content"] for one in engine.asked} for engine in engines]
    assert sum(len(names) for names in seen) == 6, "nobody was on two replicas"
    assert all(len(names) == 2 for names in seen), "and the six were shared out"


async def test_short_prompts_go_past_a_long_one(tmp_path: Path) -> None:
    """Least requests would put every second one behind it."""
    engines = [Engine(answers(wait_s=0.3)), Engine(answers(wait_s=0.05))]
    long = at_home("r0", "r1")
    long[0]["content"] += "x" * 80_000
    async with rig(tmp_path, engines) as path:
        first = asyncio.create_task(path.ask(small(stream=True, messages=long)))
        await asyncio.sleep(0.05)
        hello = [{"role": "user", "content": "Hello"}]
        await asyncio.gather(*(path.ask(small(stream=True, messages=hello)) for _ in range(8)))
        await first
    assert [len(engine.asked) for engine in engines] == [1, 8]


async def test_an_answer_that_begins_makes_room_for_others_there(tmp_path: Path) -> None:
    """A plain profile would count the long prompt for 20 s; its first token is heard instead."""
    engines = [Engine(answers(wait_s=0.02)), Engine(answers(wait_s=0.02))]
    long = at_home("r0", "r1")
    long[0]["content"] += "x" * 320_000
    async with rig(tmp_path, engines) as path:
        await path.ask(small(stream=True, messages=long))
        await path.ask(small(stream=True, messages=at_home("r0", "r1")))
    assert [len(engine.asked) for engine in engines] == [2, 0]


async def test_the_policy_is_told_which_tier_has_read_a_prompt(tmp_path: Path) -> None:
    async with rig(tmp_path, [Engine(answers())], [Engine(answers())]) as path:
        await path.ask(call(requested="large", messages=talk("Ada", 1)))
        longer = read_prompt({"messages": talk("Ada", 2)})
        assert path.tiers["small"].resident(longer) == 0.0
        assert 0.4 < path.tiers["large"].resident(longer) < 0.6


async def test_an_error_is_no_sign_that_prompts_before_it_were_read(tmp_path: Path) -> None:
    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await (refuses(503) if "bad" in body else answers(wait_s=0.5))(request, body)

    long = [{"role": "user", "content": "x" * 80_000}]
    async with rig(tmp_path, [Engine(act)]) as path:
        tier = path.tiers["small"]
        first = asyncio.create_task(path.ask(small(stream=True, messages=long)))
        await asyncio.sleep(0.05)
        refused = await tier.post(tier.choose(), "/v1/chat/completions", b'{"bad": 1}', {}, 5.0)
        assert await refused.read() and refused.status == 503
        refused.close()
        load = tier._choice._loads["r0"]
        assert load.sent - load.prefilled > 10_000
        await first
        assert load.sent == load.prefilled
