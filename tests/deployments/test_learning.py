"""Feedback, experiments and shadows on the whole graph: real Serve, Redis and router."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator

import httpx
import pytest

from router.score import DEFAULT_ARTEFACT
from tests.deployments.serving import Serving, simulated

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
KEY = "Bearer of-an-experiment"
TENANT = "key-" + hashlib.sha256(b"of-an-experiment").hexdigest()[:16]


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    router = {
        "strategy": "learned",
        "memory": {"refresh_s": 0.5},
        "cascade": {"streams": "prefix", "prefix_tokens": 4, "doubt": 0.05},
        "arms": [
            {"name": "watch", "percent": 100, "strategy": "always_large", "shadow": True},
        ],
        "tenants": {TENANT: {"strategy": "cascade", "threshold": 1.0}},
    }
    running = Serving(simulated(router=router))
    try:
        running.start()
        yield running
    finally:
        running.end()


def ask(serving: Serving, text: str, **headers: str) -> httpx.Response:
    body = {"model": "auto", "max_tokens": 3, "messages": [{"role": "user", "content": text}]}
    url = f"{serving.url}/v1/chat/completions"
    return httpx.post(url, json=body, headers=headers, timeout=30).raise_for_status()


def give(serving: Serving, id_: str, right: float) -> httpx.Response:
    body = {"request_id": id_, "tier": "small", "right": right}
    return httpx.post(f"{serving.url}/v1/feedback", json=body, timeout=30)


def test_feedback_changes_the_score_in_use_while_requests_go_on(serving: Serving) -> None:
    question = "What is {} apples and 4 apples?"
    first = ask(serving, question.format(99))
    shipped, before = first.headers["x-hansom-router"], first.headers["x-hansom-difficulty"]
    ids = [ask(serving, question.format(at)).headers["x-request-id"] for at in range(40)]
    for id_ in ids:
        answer = give(serving, id_, 0.0)
        assert answer.status_code == 200, answer.text
    until_s = time.monotonic() + 30
    after = first
    while "+" not in after.headers["x-hansom-router"]:
        assert time.monotonic() < until_s, "the router was never taught"
        after = ask(serving, question.format(99))
        time.sleep(0.2)
    assert after.headers["x-hansom-router"].startswith(f"{shipped}+")
    assert float(after.headers["x-hansom-difficulty"]) > float(before)
    (line,) = serving.lines(after.headers["x-request-id"])
    assert line.router_version == after.headers["x-hansom-router"]


def test_feedback_for_a_request_that_never_was_is_a_404_in_openais_form(serving: Serving) -> None:
    answer = give(serving, "no-such-request", 1.0)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_request"


def test_a_tenants_own_strategy_is_followed_and_the_shadow_is_counted(serving: Serving) -> None:
    mine, others = ask(serving, "Hello", authorization=KEY), ask(serving, "Hello")
    assert mine.headers["x-hansom-route-reason"].split(";")[0] in ("checked", "escalated")
    assert others.headers["x-hansom-route-reason"].split(";")[0] in ("easy", "hard")
    scraped = httpx.get(f"{serving.url}/metrics", timeout=30).text
    assert "hansom_shadow_decisions_total{" in scraped
    assert 'arm="watch"' in scraped


def test_a_doubtful_prefix_is_given_up_in_the_engine_and_both_attempts_are_paid_for(
    serving: Serving,
) -> None:
    body = {
        "model": "auto",
        "max_tokens": 400,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }
    aborted = serving.metric("hansom_simulated_aborted_requests", app="tier-small")
    url = f"{serving.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers={"authorization": KEY}, timeout=60) as answer:
        *_, last, done = [line for line in answer.iter_lines() if line]
    assert done == "data: [DONE]"
    reason = answer.headers["x-hansom-route-reason"]
    assert reason.startswith("escalated; ") and "in its first" in reason, reason
    assert (answer.headers["x-hansom-tier"], "logprobs" in last) == ("large", False)
    small, large = sorted(
        serving.lines(answer.headers["x-request-id"], 2), key=lambda one: one.attempt
    )
    assert (small.kind, small.outcome, large.kind) == ("answer", "success", "escalation")
    assert 4 <= small.usage.output_tokens < 400
    assert large.usage.output_tokens == 400
    cost_usd = (small.cost_usd_micros + large.cost_usd_micros) / 1e6
    assert json.loads(last.removeprefix("data: "))["hansom"]["cost_usd"] == f"{cost_usd:.6f}"
    assert serving.metric("hansom_simulated_aborted_requests", app="tier-small") == aborted + 1


def test_weights_are_swapped_while_requests_go_on_and_none_is_dropped(serving: Serving) -> None:
    other = serving.home / "v9"
    shutil.copytree(DEFAULT_ARTEFACT, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"version": "v9"}))
    serving.hansom("router", "use", str(other))
    until_s, versions = time.monotonic() + 30, list[str]()
    while not versions or not versions[-1].startswith("v9"):
        assert time.monotonic() < until_s, "the weights were never swapped"
        versions.append(ask(serving, f"What is {len(versions)} + 1?").headers["x-hansom-router"])
    assert len({version.split("+")[0] for version in versions}) <= 2


def test_weights_that_are_none_are_refused_before_anything_is_swapped(serving: Serving) -> None:
    (serving.home / "none").mkdir()
    with pytest.raises(AssertionError, match="unreadable"):
        serving.hansom("router", "use", str(serving.home / "none"))
