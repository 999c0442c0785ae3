"""`config/four-tiers.yaml` as it is shipped: under the router's real weights each tier has a share.

Of 48 prompts of ascending difficulty (`tests/live/ladder.py`) each tier is to get 1 in 20 at
least, and harder prompts dearer tiers on average. What is expected of real traffic is in
docs/router.md: there no tier has less than a sixth.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import openai
import pytest
import yaml

from core.call import Risk, TierSignal
from core.free_port import free_port
from core.settings.load import load
from deployments.gateway.dispatch import load_scorer, make_plan
from router.policy.policy import decide
from router.policy.terms import AUTO, Observation, Policy
from router.score.conversation import read
from router.score.features import of_conversation
from router.score.model import Score, Scorer
from tests.deployments.serving import ROOT, Serving
from tests.live.ladder import EASY, HARD, LADDER, MIDDLING, PLAIN
from text.embed import MiniLM

NAMES = ["tiny", "small", "medium", "large"]
CONFIG = ROOT / "config" / "four-tiers.yaml"
LEAST_SHARE = 1 / 20
TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def policy() -> Policy:
    settings = load(CONFIG)
    return make_plan(settings, load_scorer(settings)).main


@cache
def embedder() -> MiniLM:
    return MiniLM.installed()


@cache
def scored(prompt: str) -> Score:
    conversation = read([{"role": "user", "content": prompt}])
    embedding = embedder().embed([conversation.asked])[0]
    return Scorer.load().score(embedding, of_conversation(conversation))


def tier_of(policy: Policy, prompt: str, **more: Any) -> str:
    fields = {"request_id": "r", "requested": AUTO, "signals": {}, "text": prompt} | more
    return decide(Observation(**fields, score=scored(prompt)), policy).tier


def test_each_of_the_four_tiers_has_its_share(policy: Policy) -> None:
    found = Counter(tier_of(policy, prompt) for prompt in LADDER)
    assert min(found[name] for name in NAMES) >= LEAST_SHARE * len(LADDER), found


def test_harder_prompts_go_to_dearer_tiers_on_average(policy: Policy) -> None:
    places = [
        sum(NAMES.index(tier_of(policy, prompt)) for prompt in group) / len(group)
        for group in (PLAIN, EASY, MIDDLING, HARD)
    ]
    assert places == sorted(places)
    assert places[-1] - places[0] > 1


def test_the_rules_have_four_levels_too() -> None:
    settings = load(CONFIG)
    router = settings.router.model_copy(update={"strategy": "heuristic"})
    policy = make_plan(settings.model_copy(update={"router": router}), None).main
    asked = {
        "Hello": "tiny",
        "Why is the sky blue?": "small",
        "Why is this and that and those or these so?": "medium",
        "Why is this and that and those or these so? " * 5: "large",
    }
    for text, tier in asked.items():
        seen = Observation(request_id="r", requested=AUTO, signals={}, text=text)
        assert decide(seen, policy).tier == tier, text


def test_risk_goes_to_the_dearest(policy: Policy) -> None:
    assert tier_of(policy, PLAIN[0], risk=Risk.HIGH) == "large"


def test_a_tier_that_is_down_is_stood_in_for_by_the_next_dearer_one(policy: Policy) -> None:
    down = {"tiny": TierSignal(available=False)}
    assert tier_of(policy, PLAIN[0], signals=down) == "small"
    down |= {name: TierSignal(available=False) for name in ("small", "medium", "large")}
    del down["medium"]
    assert tier_of(policy, PLAIN[0], signals=down) == "medium"


def test_a_tier_that_would_begin_late_is_passed_over(policy: Policy) -> None:
    cold = {"tiny": TierSignal(warm=False, cold_start_s=60.0)}
    assert tier_of(policy, PLAIN[0], signals=cold, deadline_s=5.0) == "small"
    assert tier_of(policy, PLAIN[0], signals=cold, deadline_s=90.0) == "tiny"


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    config |= {"server": {"port": free_port()}}
    for tier in config["tiers"]:
        tier["engine"]["tpot_s"] = 0.0
    config["cache"] = {"exact": False, "timeout_s": 2.0}
    config["router"] |= {"timeout_s": 20.0, "embed_timeout_s": 20.0}
    running = Serving(config)
    try:
        running.start()
        yield running
    finally:
        running.end()


def asked(serving: Serving, prompt: str, **more: Any) -> httpx.Headers:
    """The headers of an answer of `auto`."""
    headers = more.pop("headers", {})
    body = {"model": "auto", "messages": [{"role": "user", "content": prompt}], "max_tokens": 2}
    url = f"{serving.url}/v1/chat/completions"
    answer = httpx.post(url, json=body | more, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.headers


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_four_tiers_serve_as_they_are_decided(serving: Serving, policy: Policy) -> None:
    prompts = [*PLAIN[:3], *EASY[-3:], *MIDDLING[:6], *HARD[:6]]
    expected = [tier_of(policy, prompt) for prompt in prompts]
    found = [asked(serving, prompt)["x-hansom-tier"] for prompt in prompts]
    assert found == expected
    assert set(found) == set(NAMES)


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_what_the_settings_deny_a_tier_is_asked_of_the_next(serving: Serving) -> None:
    tools = asked(serving, PLAIN[0], tools=[TOOL])
    assert tools["x-hansom-tier"] == "small"
    assert tools["x-hansom-route-reason"].startswith("capability; ")
    assert asked(serving, PLAIN[0], max_tokens=2048)["x-hansom-tier"] == "small"
    assert asked(serving, "word " * 20_000)["x-hansom-tier"] in ("medium", "large")
    assert asked(serving, PLAIN[0], headers={"x-hansom-risk": "high"})["x-hansom-tier"] == "large"
    with pytest.raises(openai.BadRequestError, match="tiny has no tool calls"):
        serving.client().chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Hi"}], tools=[TOOL]
        )
