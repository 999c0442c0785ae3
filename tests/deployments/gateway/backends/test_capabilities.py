"""What a gateway knows of its tiers: the settings first, then the engines, each asked once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from core.call import Risk
from core.capability import Capabilities
from core.errors import BadRequest, ContextTooLong, EngineFailed, NotSupported, Unavailable
from deployments.gateway.backends.capabilities import REFRESH_S, KnownCapabilities
from deployments.gateway.backends.exchange import Connections
from deployments.gateway.backends.tier import Replica, TierReplicas
from tests.deployments.engines import Engine, answers, dies, refuses, serving
from tests.deployments.rig import call, rig, settings_of, tier_of
from tests.ledger.lines import until

PLAIN = Capabilities(tools=False, vision=False, context_tokens=64)
ABLE = Capabilities(tools=True, vision=True, context_tokens=8192)
TOOLS: Any = [{"type": "function", "function": {"name": "f"}}]
LONG = [{"role": "user", "content": "word " * 100}]


async def test_an_engine_is_asked_once_and_its_tier_keeps_what_it_said() -> None:
    engine = Engine(answers(), PLAIN)
    connections = Connections()
    settings = settings_of()
    async with serving(engine) as running:
        tiers = {
            "small": TierReplicas("small", lambda: running, connections, 1.0),
            "large": TierReplicas("large", list, connections, 1.0),
        }
        known = KnownCapabilities(settings.tiers, tiers)
        assert known.now()["small"].tools is None
        await known.ask()
        assert known.now()["small"] == PLAIN
        engine.capabilities = ABLE
        await known.ask()
        assert known.now()["small"] == PLAIN, "the same replica is not asked again"
        gone, running[:] = running[:], []
        await known.ask()
        assert known.now()["small"] == PLAIN, "a tier that sleeps keeps what it said"
        running[:] = gone
        await known.ask()
        assert known.now()["small"] == ABLE, "one that came back may be another"
        assert known.now()["large"].context_tokens == 8192, "what its engine's settings let expect"
    await connections.close()


async def test_what_the_settings_say_outweighs_the_engine() -> None:
    stated = {"tools": True, "output_tokens": 100}
    settings = settings_of(tiers=[tier_of("small", 1, capabilities=stated), tier_of("large", 10)])
    connections = Connections()
    async with serving(Engine(answers(), PLAIN)) as running:
        tiers = {
            "small": TierReplicas("small", lambda: running, connections, 1.0),
            "large": TierReplicas("large", list, connections, 1.0),
        }
        known = KnownCapabilities(settings.tiers, tiers)
        await known.ask()
        told = known.now()["small"]
    assert (told.tools, told.output_tokens, told.vision) == (True, 100, False)
    await connections.close()


async def test_an_engine_that_does_not_tell_is_asked_again_and_tried_meanwhile() -> None:
    engine = Engine(answers())
    connections = Connections()
    async with serving(engine) as running:
        tiers = {
            name: TierReplicas(name, lambda: running, connections, 1.0)
            for name in ("small", "large")
        }
        known = KnownCapabilities(settings_of().tiers, tiers)
        await known.ask()
        assert tiers["small"].told is None
        assert known.now()["small"].tools is None
    async with serving(Engine(answers(), PLAIN)) as others:
        running[:] = others
        await known.ask()
        assert known.now()["small"].tools is False
    await connections.close()


async def test_auto_goes_to_the_tier_that_has_tools_and_the_other_hears_nothing(
    tmp_path: Path,
) -> None:
    small, large = Engine(answers(), PLAIN), Engine(answers(), ABLE)
    async with rig(tmp_path, [small], [large], asks=True) as path:
        reply, _ = await path.ask(call(tools=TOOLS))
        assert reply.headers["x-hansom-tier"] == "large"
        assert reply.headers["x-hansom-route-reason"] == (
            "capability; small has no tool calls: large is the only tier that can"
        )
        assert (len(small.asked), len(large.asked)) == (0, 1)
        reply, _ = await path.ask(call())
        assert reply.headers["x-hansom-tier"] == "small"


async def test_auto_takes_a_limit_of_tokens_where_it_fits(tmp_path: Path) -> None:
    engines = [Engine(answers(), PLAIN)], [Engine(answers(), ABLE)]
    async with rig(tmp_path, *engines, asks=True) as path:
        reply, _ = await path.ask(call(max_tokens=2000))
        assert reply.headers["x-hansom-tier"] == "large"
        assert (
            "a context of 64 tokens, where at least 2,001 are needed"
            in (reply.headers["x-hansom-route-reason"])
        )


async def test_where_no_tier_can_the_answer_is_ours_and_no_engine_is_asked(tmp_path: Path) -> None:
    small, large = Engine(answers(), PLAIN), Engine(answers(), PLAIN)
    async with rig(tmp_path, [small], [large], asks=True) as path:
        for asked in (call(tools=TOOLS), call(tools=TOOLS, risk=Risk.HIGH)):
            with pytest.raises(NotSupported, match="small has no tool calls; large has no tool"):
                await path.ask(asked)
        with pytest.raises(NotSupported, match="small has no tool calls"):
            await path.ask(call(tools=TOOLS, requested="small"))
        with pytest.raises(ContextTooLong, match="at least 101 are needed"):
            await path.ask(call(messages=LONG))
        assert small.asked == large.asked == []
        assert await path.lines() == []


REFUSED = refuses(400, '"auto" tool choice requires --tool-call-parser to be set')


async def test_a_refusal_that_only_one_tier_has_goes_to_the_next_whatever_its_words(
    tmp_path: Path,
) -> None:
    """Nobody has asked yet what the engines can do: the refusal itself is the reason to ask."""
    engines = [Engine(REFUSED, PLAIN)], [Engine(answers(), ABLE)]
    async with rig(tmp_path, *engines) as path:
        reply, _ = await path.ask(call(tools=TOOLS))
        assert reply.headers["x-hansom-tier"] == "large"
        why = reply.headers["x-hansom-route-reason"]
        assert why.startswith("refused; ")
        assert why.endswith("small refused (not_supported): large instead")
        assert await path.told() == [
            ("small", "answer", "refused", "not_supported"),
            ("large", "fallback", "success", None),
        ]
        reply, _ = await path.ask(call(tools=TOOLS, request_id="r-2"))
        assert reply.headers["x-hansom-route-reason"].startswith("capability; ")
        assert len(await path.lines()) == 3, "what was learned is not tried again"


async def test_a_refusal_that_every_tier_would_have_is_tried_once(tmp_path: Path) -> None:
    small, large = Engine(refuses(400, "maximum context length"), ABLE), Engine(answers(), ABLE)
    async with rig(tmp_path, [small], [large]) as path:
        with pytest.raises(BadRequest) as caught:
            await path.ask(call())
        assert type(caught.value) is BadRequest, "its words are no reason"
        assert large.asked == []


async def test_when_all_refuse_each_is_quoted(tmp_path: Path) -> None:
    engines = (
        [Engine(REFUSED, PLAIN)],
        [Engine(refuses(400, "32 tokens is all there is", "input_tokens"), ABLE)],
    )
    async with rig(tmp_path, *engines) as path:
        with pytest.raises(NotSupported) as caught:
            await path.ask(call(tools=TOOLS))
    assert "small: " in caught.value.message
    assert "large: 32 tokens is all there is" in caught.value.message


async def test_a_refusal_does_not_hide_that_the_tier_that_can_has_failed(tmp_path: Path) -> None:
    """The client may try again: its request is not at fault."""
    async with rig(tmp_path, [Engine(REFUSED, PLAIN)], [Engine(dies, ABLE)]) as path:
        with pytest.raises(EngineFailed):
            await path.ask(call(tools=TOOLS))
    async with rig(tmp_path, [Engine(REFUSED, PLAIN)], [Engine(refuses(503), ABLE)]) as path:
        with pytest.raises(Unavailable):
            await path.ask(call(tools=TOOLS))


async def test_a_failure_falls_back_to_tiers_that_can_only(tmp_path: Path) -> None:
    """In the order of `router.policy.policy`: the dearer ones, then the cheaper ones."""
    tiers = [tier_of(name, at + 1) for at, name in enumerate(("small", "medium", "large"))]
    engines = {"medium": [Engine(answers(), PLAIN)]}
    small, large = Engine(dies, ABLE), Engine(answers(), ABLE)
    async with rig(
        tmp_path, [small], [large], more=engines, settings=settings_of(tiers=tiers), asks=True
    ) as path:
        reply, _ = await path.ask(call(tools=TOOLS))
        assert reply.headers["x-hansom-tier"] == "large"
        assert reply.headers["x-hansom-route-reason"].startswith("fallback; ")
        assert engines["medium"][0].asked == []


async def test_one_tier_that_is_left_is_taken_without_a_score(tmp_path: Path) -> None:
    settings = settings_of(router={"strategy": "cascade"})
    engines = [Engine(answers(), PLAIN)], [Engine(answers(), ABLE)]
    async with rig(tmp_path, *engines, settings=settings, asks=True) as path:
        await path.ask(call(tools=TOOLS))
        assert path.router.asked == []
        await path.ask(call(tools=TOOLS, tool_choice="none"))
        assert len(path.router.asked) == 1


async def test_the_asking_goes_on_after_a_failure_and_ends_when_it_is_closed() -> None:
    connections, looks = Connections(), 0
    async with serving(Engine(answers(), PLAIN)) as running:

        def fails_once() -> list[Replica]:
            nonlocal looks
            looks += 1
            if looks == 1:
                raise RuntimeError("Serve is not up yet")
            return running

        tiers = {
            "small": TierReplicas("small", fails_once, connections, 1.0),
            "large": TierReplicas("large", list, connections, 1.0),
        }
        known = KnownCapabilities(settings_of().tiers, tiers)
        known.start()
        await until(lambda: tiers["small"].told is not None)
        await known.close()
        before = looks
        await asyncio.sleep(2 * REFRESH_S)
        assert looks == before
    await connections.close()
