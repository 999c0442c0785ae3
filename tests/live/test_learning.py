"""Feedback, experiments and shadows on the whole graph: real Serve, Redis and router."""

import json
import shutil
import time

import httpx
import pytest

from router.score.model import DEFAULT_ARTEFACT
from tests.conftest import EXPERIMENT
from tests.deployments.serving import Serving

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
KEY = f"Bearer {EXPERIMENT}"


def ask(hansom: Serving, text: str, **headers: str) -> httpx.Response:
    body = {"model": "auto", "max_tokens": 3, "messages": [{"role": "user", "content": text}]}
    url = f"{hansom.url}/v1/chat/completions"
    return httpx.post(url, json=body, headers=headers, timeout=30).raise_for_status()


def give(hansom: Serving, id_: str, right: float) -> httpx.Response:
    body = {"request_id": id_, "tier": "small", "right": right}
    return httpx.post(f"{hansom.url}/v1/feedback", json=body, timeout=30)


def test_feedback_changes_the_score_in_use_while_requests_go_on(hansom: Serving) -> None:
    question = "What is {} apples and 4 apples?"
    first = ask(hansom, question.format(99))
    shipped, before = first.headers["x-hansom-router"], first.headers["x-hansom-difficulty"]
    ids = [ask(hansom, question.format(at)).headers["x-request-id"] for at in range(40)]
    for id_ in ids:
        answer = give(hansom, id_, 0.0)
        assert answer.status_code == 200, answer.text
    until_s = time.monotonic() + 30
    after = first
    while "+" not in after.headers["x-hansom-router"]:
        assert time.monotonic() < until_s, "the router was never taught"
        after = ask(hansom, question.format(99))
        time.sleep(0.2)
    assert after.headers["x-hansom-router"].startswith(f"{shipped}+")
    assert float(after.headers["x-hansom-difficulty"]) > float(before)
    (line,) = hansom.lines(after.headers["x-request-id"])
    assert line.router_version == after.headers["x-hansom-router"]


def test_feedback_for_a_request_that_never_was_is_a_404_in_openais_form(hansom: Serving) -> None:
    answer = give(hansom, "no-such-request", 1.0)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_request"


def test_a_tenants_own_strategy_is_followed_and_the_shadow_is_counted(hansom: Serving) -> None:
    mine, others = ask(hansom, "Hello", authorization=KEY), ask(hansom, "Hello")
    assert mine.headers["x-hansom-route-reason"].split(";")[0] in ("checked", "escalated")
    assert others.headers["x-hansom-route-reason"].split(";")[0] in ("easy", "hard")
    scraped = httpx.get(f"{hansom.url}/metrics", timeout=30).text
    assert "hansom_shadow_decisions_total{" in scraped
    assert 'arm="watch"' in scraped


def test_a_doubtful_prefix_is_given_up_in_the_engine_and_both_attempts_are_paid_for(
    hansom: Serving,
) -> None:
    body = {
        "model": "auto",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }
    aborted = hansom.metric("hansom_simulated_aborted_requests", app="tier-small")
    url = f"{hansom.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers={"authorization": KEY}, timeout=60) as answer:
        *_, last, done = [line for line in answer.iter_lines() if line]
    assert done == "data: [DONE]"
    reason = answer.headers["x-hansom-route-reason"]
    assert reason.startswith("escalated; ") and "in its first" in reason, reason
    assert (answer.headers["x-hansom-tier"], "logprobs" in last) == ("large", False)
    small, large = sorted(
        hansom.lines(answer.headers["x-request-id"], 2), key=lambda one: one.attempt
    )
    assert (small.kind, small.outcome, large.kind) == ("answer", "success", "escalation")
    assert 4 <= small.usage.output_tokens < 200
    assert large.usage.output_tokens == 200
    cost_usd = (small.cost_usd_micros + large.cost_usd_micros) / 1e6
    assert json.loads(last.removeprefix("data: "))["hansom"]["cost_usd"] == f"{cost_usd:.6f}"
    assert hansom.metric("hansom_simulated_aborted_requests", app="tier-small") == aborted + 1


def test_weights_are_swapped_while_requests_go_on_and_none_is_dropped(hansom: Serving) -> None:
    other = hansom.home / "v9"
    shutil.copytree(DEFAULT_ARTEFACT, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"version": "v9"}))
    hansom.hansom("router", "use", str(other))
    until_s, versions = time.monotonic() + 30, list[str]()
    while not versions or not versions[-1].startswith("v9"):
        assert time.monotonic() < until_s, "the weights were never swapped"
        versions.append(ask(hansom, f"What is {len(versions)} + 1?").headers["x-hansom-router"])
    assert len({version.split("+")[0] for version in versions}) <= 2


def test_weights_that_are_none_are_refused_before_anything_is_swapped(hansom: Serving) -> None:
    (hansom.home / "none").mkdir()
    with pytest.raises(AssertionError, match="unreadable"):
        hansom.hansom("router", "use", str(hansom.home / "none"))
