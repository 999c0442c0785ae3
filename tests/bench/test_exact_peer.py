"""The exact hits' claims and settings; what needs LiteLLM is no test."""

from pathlib import Path

import pytest
import yaml

from bench.claims import ClaimCell, Measured
from bench.exact_peer import (
    CONFIG,
    LEVELS,
    MODEL,
    claims,
    content_of,
    gets_ms,
    litellm_command,
    litellm_config,
)
from bench.load import LoadResult


def result(ms: float, count: int, failures: int = 0) -> LoadResult:
    return LoadResult(1.0, 0.1, failures, 0, [ms] * count, [ms] * count)


def measured(failures: int = 0) -> Measured:
    rounds = {
        "ours": [result(0.4, 1000), result(0.8, 500)],
        "litellm": [result(6.0, 100), result(8.0, 50, failures)],
    }
    return Measured(
        {ClaimCell("hit", name, wide): rounds[name] for wide in LEVELS for name in rounds}
    )


def test_ratios_are_the_median_of_the_rounds_own():
    found = {one.name: one for one in claims(measured(), [0.1, 0.2, 0.9])}
    assert found["LiteLLM's p50 / ours, 1 at once"].value == pytest.approx((15 + 10) / 2)
    for wide in LEVELS:
        claim = found[f"hits/s, ours / LiteLLM's, {wide} at once"]
        assert claim.value == pytest.approx(10)
        assert claim.met
    assert found["exact hit p50, 1 at once"].value == pytest.approx(0.4)
    assert found["the look-up alone, p50"].value == pytest.approx(0.2)
    assert found["asked again and no hit"].met


def test_a_request_that_was_no_hit_misses_the_aim():
    assert claims(measured(failures=1), [0.1])[-1].met is False


def test_the_words_of_an_answer():
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "blue"}}]}
    assert content_of(answer) == "blue"
    with pytest.raises(ValueError, match="not a chat answer"):
        content_of({"error": {"message": "no"}})


def test_the_peer_gets_our_words_a_redis_cache_and_one_worker():
    config = litellm_config("blue", 6400)
    assert config["model_list"][0]["litellm_params"]["mock_response"] == "blue"
    assert config["litellm_settings"]["cache_params"]["port"] == 6400
    command = litellm_command(Path("/peers/bin/python"), Path("c.yaml"), 4001)
    assert command[0] == "/peers/bin/litellm"
    assert command[-2:] == ["--num_workers", "1"]


def test_the_model_asked_for_is_a_tier_of_the_config():
    assert MODEL in [tier["name"] for tier in yaml.safe_load(CONFIG.read_text())["tiers"]]


@pytest.mark.redis
def test_the_look_up_alone_hits_every_time():
    assert len(gets_ms(b"{}" * 200, 20)) == 20
