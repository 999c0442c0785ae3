"""What explains an answer: its headers, and the object at a stream's end."""

import pytest

from core.call import Decision
from deployments.gateway.reply import closing_object, headers
from tests.deployments.rig import call, settings_of

SMALL = settings_of().tier("small")
DECISION = Decision("small", "easy", "need 0.120", score=0.3, difficulty=0.12)


def test_a_plain_answer_tells_tier_reason_and_cost() -> None:
    sent = headers(call(), DECISION, SMALL, cache="miss", cost_usd_micros=1500)
    assert sent["x-hansom-tier"] == "small"
    assert sent["x-hansom-model"] == "small-model"
    assert sent["x-hansom-route-reason"] == "easy; need 0.120"
    assert sent["x-hansom-cost-usd"] == "0.001500"
    assert sent["content-type"] == "application/json"


def test_a_stream_is_not_to_be_cached_and_tells_its_cost_at_the_end() -> None:
    sent = headers(call(stream=True), DECISION, SMALL, cache="miss", cost_usd_micros=1500)
    assert sent["content-type"] == "text/event-stream; charset=utf-8"
    assert sent["cache-control"] == "no-cache"
    assert "x-hansom-cost-usd" not in sent


@pytest.mark.parametrize(("cache", "told"), [("off", "miss"), ("miss", "miss"), ("exact", "exact")])
def test_a_cache_that_was_not_asked_is_a_miss_to_the_client(cache: str, told: str) -> None:
    sent = headers(call(), DECISION, SMALL, cache=cache)
    assert sent["x-hansom-cache"] == told
    end = closing_object(call(), SMALL, cache=cache, cost_usd_micros=0)
    assert end["cache"] == told


def test_a_difficulty_is_told_only_if_there_is_one() -> None:
    unscored = Decision("small", "explicit", "the caller asked for small")
    assert "x-hansom-difficulty" not in headers(call(), unscored, SMALL, cache="miss")


def test_the_object_at_the_end_names_request_tier_and_cost() -> None:
    assert closing_object(call(), SMALL, cache="exact", cost_usd_micros=7) == {
        "request_id": "r-1",
        "tier": "small",
        "model": "small-model",
        "cache": "exact",
        "cached": True,
        "cost_usd": "0.000007",
    }


def test_the_difficulty_is_told_and_not_what_was_compared_with_the_threshold() -> None:
    assert headers(call(), DECISION, SMALL, cache="miss")["x-hansom-difficulty"] == "0.1200"
