"""Replicas follow the load, on real Ray with engines that play: seconds, and nothing lost.

Limits are three times the aim, for machines that others use, too; each test prints its figures.
The tests share one Hansom and run in order; each leaves the tiers that it used as it found them.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from core.ledger_line import Outcome
from tests.deployments.serving import ROOT, Serving, command, simulated, wait

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello!"}]
LONG: list[ChatCompletionMessageParam] = [{"role": "user", "content": "cab " * 1000}]
LOAD_S, TPOT_S = 1.0, 0.02
# Quick to take away, so that a test sees it; what is shipped waits for minutes.
QUICK = {
    "hold_s": 2, "burst_hold_s": 2, "down_period_s": 0.5, "idle_s": 1.5, "forecast_quantile": None,
    "drain_s": 2, "rate_window_s": 2, "slo": {"ttft_s": 60, "tpot_s": 1},
}  # fmt: skip
ONE_GPU = {"per_replica": 1}
WANTED_S, RUNNING_S, WOKEN_S = 3 * 1.5, 3 * 3.5, 3 * 2.0


@pytest.fixture(scope="module")
def platform() -> Iterator[Serving]:
    config = simulated(
        ledger={"drain_interval_s": 0.1},
        limits={"heartbeat_s": 0.4},
        router={"strategy": "heuristic"},
        cluster={"max_gpus": 2},
    )
    busy, cold = config["tiers"]
    narrow = deepcopy(busy) | {"name": "narrow", "model": "narrow-model"}
    narrow["engine"] |= {"ttft_s": 0.5, "tpot_s": 0.0, "max_concurrent": 2}
    busy |= {"replicas": {"min": 1, "max": 2}, "scaling": QUICK, "accelerator": ONE_GPU}
    busy["engine"] |= {"ttft_s": 0.4, "tpot_s": TPOT_S, "max_concurrent": 8, "context_tokens": 8192}
    cold |= {"replicas": {"min": 0, "max": 2}, "scaling": QUICK, "max_ongoing_requests": 8}
    cold |= {"accelerator": ONE_GPU}
    cold["engine"] |= {"ttft_s": 0.05, "tpot_s": 0.02, "start_s": LOAD_S}
    config["tiers"] = [busy, narrow, cold]
    with pytest.MonkeyPatch.context() as patch:
        # GPUs that nobody looks for: a replica that finishes its calls does not keep another out.
        patch.setenv("RAY_OVERRIDE_RESOURCES", '{"GPU": 8}')
        one = Serving(config)
        try:
            one.start()
            yield one
        finally:
            one.end()


def record(platform: Serving, tier: str) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(f"{platform.url}/scalez", timeout=10).json()["tiers"]
    return told.get(tier, {})


def running(platform: Serving, tier: str) -> int:
    told = httpx.get(f"{platform.url}/readyz", timeout=10).json()["tiers"]
    return int(told[tier]["running_replicas"])


def ask(platform: Serving, tier: str, tokens: int = 3, id_: str = "") -> str:
    answer = platform.client().chat.completions.create(
        model=tier, messages=HELLO, max_tokens=tokens,
        extra_headers={"x-request-id": id_ or uuid.uuid4().hex},
    )  # fmt: skip
    return answer.choices[0].message.content or ""


def controller(platform: Serving) -> Any:
    return platform.process("ServeController")


def since(start_s: float) -> float:
    return time.monotonic() - start_s


def test_a_cold_tier_is_ready_and_its_first_call_is_held_and_answered(platform: Serving) -> None:
    wait(lambda: running(platform, "large") == 0, 20)
    assert httpx.get(f"{platform.url}/readyz", timeout=10).status_code == 200
    start_s = time.monotonic()
    assert ask(platform, "large") == " cab" * 3
    took_s = since(start_s) - LOAD_S
    print(f"\n0 to first answer, apart from load: {took_s:.2f} s")
    assert took_s < WOKEN_S


def test_it_goes_to_zero_again_and_twenty_at_once_wake_it_once(platform: Serving) -> None:
    wait(lambda: running(platform, "large") == 0, 40)
    wait(lambda: record(platform, "large")["target"] == 0, 10)
    before = len(record(platform, "large")["changes"])
    start_s = time.monotonic()
    sent = [uuid.uuid4().hex for _ in range(20)]  # more than one replica takes at once
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda id_: ask(platform, "large", 20, id_), sent))
    print(f"\n20 held at zero, all answered after {since(start_s):.2f} s")
    assert answers == [" cab" * 20] * 20
    for id_ in sent:
        (line,) = platform.lines(id_)
        assert (line.outcome, line.tier) == (Outcome.SUCCESS, "large")
    wait(lambda: len(record(platform, "large")["changes"]) > before, 5)
    codes = [one["code"] for one in record(platform, "large")["changes"][before:]]
    assert codes.count("wake") == 1


def test_a_stream_that_waits_gets_comments_that_clients_pass_over(platform: Serving) -> None:
    wait(lambda: running(platform, "large") == 0, 40)
    wait(lambda: record(platform, "large")["target"] == 0, 10)
    body = {"model": "large", "messages": HELLO, "max_tokens": 3, "stream": True}
    seen: list[str] = []

    def official() -> None:
        chunks = platform.client().chat.completions.create(
            model="large", messages=HELLO, max_tokens=3, stream=True
        )
        seen.append("".join(one.choices[0].delta.content or "" for one in chunks if one.choices))

    thread = threading.Thread(target=official)
    thread.start()
    start_s = time.monotonic()
    with httpx.stream("POST", f"{platform.url}/v1/chat/completions", json=body, timeout=60) as raw:
        head_s = since(start_s)
        text = raw.read().decode()
    thread.join(30)
    assert (raw.status_code, seen) == (200, [" cab" * 3])
    assert head_s < since(start_s) - 0.2, "the status came before the answer"
    comments, _, answer = text.partition("data: ")
    assert comments.count(": waking\n\n") >= 2
    assert answer.endswith("data: [DONE]\n\n")
    assert '"tier":"large"' in answer


def test_a_held_client_that_leaves_is_let_go(platform: Serving) -> None:
    wait(lambda: running(platform, "large") == 0, 40)
    wait(lambda: record(platform, "large")["target"] == 0, 10)
    id_ = uuid.uuid4().hex
    with pytest.raises(openai.APITimeoutError):
        platform.client(timeout=0.5).chat.completions.create(
            model="large", messages=HELLO, extra_headers={"x-request-id": id_}
        )
    (line,) = platform.lines(id_)
    assert (line.outcome, line.usage.output_tokens) == (Outcome.CANCELLED, 0)
    assert platform.metric("hansom_tier_held_requests", tier="large") == 0


def test_a_queue_that_grows_brings_a_replica_and_one_that_goes_cuts_no_stream(
    platform: Serving,
) -> None:
    wait(lambda: running(platform, "small") == 1 and record(platform, "small")["target"] == 1, 40)
    changes = len(record(platform, "small")["changes"])
    ids = [uuid.uuid4().hex for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        start_s, wall_s = time.monotonic(), time.time()
        made = pool.submit(lambda: asyncio.run(streams(platform, ids)))
        wait(lambda: running(platform, "small") > 1, 30)
        running_s = since(start_s)
        wait(lambda: len(record(platform, "small")["changes"]) > changes, 10)
        wanted_s = record(platform, "small")["changes"][changes]["at_s"] - wall_s
        print(f"\nqueue growth to requested: {wanted_s:.2f} s, to running: {running_s:.2f} s")
        assert made.result(60) == [15] * 40
        assert len(replicas_of(platform, "small")) == running(platform, "small") == 2
        decided = threading.Event()
        going = pool.submit(lambda: asyncio.run(ongoing_streams(platform, decided)))
        wait(lambda: record(platform, "small")["changes"][-1]["wanted"] == 1, 120)
        decided.set()
        ended = going.result(60)
    assert wanted_s < WANTED_S
    assert running_s < RUNNING_S
    assert {one.tokens for one in ended} == {STREAM_TOKENS}, "each is complete, to the token"
    down = record(platform, "small")["changes"][-1]
    assert (down["before"], down["wanted"], down["code"]) == (2, 1, "spare")
    wait(lambda: len(replicas_of(platform, "small")) == 1, 60)
    (stayed,) = replicas_of(platform, "small")
    held = [one for one in ended if one.began_s < down["at_s"] < one.ended_s]
    on_it = [one for one in held if one.pid != stayed]
    longer_s = [round(one.ended_s - down["at_s"], 1) for one in on_it]
    print(f"of {len(held)} streams, on the replica that went: {longer_s} s after the decision")
    assert on_it, "it was to go while streams ran on it"


STREAM_TOKENS = 400


@dataclass(frozen=True)
class Stream:
    """One stream that ended: the process that played it, tokens, and Unix times.

    `began_s` is its first token's; `tokens` is -1 where the end was missing.
    """

    pid: int
    tokens: int
    began_s: float
    ended_s: float


async def ongoing_streams(platform: Serving, until: threading.Event) -> list[Stream]:
    """Three streams at any time, one after the other: one and two on two replicas."""
    body = {"model": "small", "messages": HELLO, "max_tokens": STREAM_TOKENS, "stream": True}
    url = f"{platform.url}/v1/chat/completions"
    ended: list[Stream] = []

    async def several(session: aiohttp.ClientSession, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        while not until.is_set():
            async with session.post(url, json=body) as answer:
                text = await answer.content.readuntil(b"\n\n")
                began_s = time.time()
                text += await answer.content.read()
            whole = text.endswith(b"data: [DONE]\n\n")
            first = json.loads(text.partition(b"\n")[0].removeprefix(b"data: "))
            pid, tokens = int(first["id"].split("-")[1]), text.count(b" cab")
            ended.append(Stream(pid, tokens if whole else -1, began_s, time.time()))

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(several(session, 2.0 * nth) for nth in range(3)))
    return ended


def replicas_of(platform: Serving, tier: str) -> list[int]:
    """The processes of a tier's replicas."""
    return [one.pid for one in platform.processes() if f"ServeReplica:tier-{tier}:" in command(one)]


async def streams(platform: Serving, ids: list[str]) -> list[int]:
    """As many streams at once, and how many tokens came in each that ended well."""
    body = {"model": "small", "messages": LONG, "max_tokens": 15, "stream": True}

    async def one(session: aiohttp.ClientSession, id_: str) -> int:
        sent = {"x-request-id": id_}
        url = f"{platform.url}/v1/chat/completions"
        async with session.post(url, json=body, headers=sent) as answer:
            text = (await answer.read()).decode()
        return text.count(" cab") if text.endswith("data: [DONE]\n\n") else -1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        return await asyncio.gather(*(one(session, id_) for id_ in ids))


def test_batch_calls_wait_behind_interactive_ones_and_none_is_lost(platform: Serving) -> None:
    """One replica that runs two at once, half a second each."""
    ended: dict[str, float] = {}

    async def call(session: aiohttp.ClientSession, lane: str) -> str:
        id_ = uuid.uuid4().hex
        url, body = f"{platform.url}/v1/chat/completions", {"model": "narrow", "messages": HELLO}
        sent = {"x-request-id": id_, "x-hansom-lane": lane}
        async with session.post(url, json=body | {"max_tokens": 4}, headers=sent) as answer:
            told = await answer.json()
        ended[id_] = time.monotonic()
        assert told["choices"][0]["message"]["content"] == " cab" * 4
        return id_

    async def play() -> tuple[float, list[str], list[str]]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            batch = [asyncio.create_task(call(session, "batch")) for _ in range(24)]
            await asyncio.wait(batch, return_when=asyncio.FIRST_COMPLETED)
            sent_s = time.monotonic()
            first = await asyncio.gather(*(call(session, "interactive") for _ in range(4)))
            return sent_s, first, await asyncio.gather(*batch)

    sent_s, first, rest = asyncio.run(play())
    late_s = max(ended[id_] for id_ in first)
    between = sum(sent_s < ended[id_] < late_s for id_ in rest)
    after = sum(ended[id_] > late_s for id_ in rest)
    print(f"\n4 interactive calls answered after {late_s - sent_s:.2f} s; batch calls meanwhile "
          f"{between}, after them {after}")  # fmt: skip
    assert after >= 12, "in the order of their arrival it would be none"
    for id_ in (*first, *rest):
        (line,) = platform.lines(id_)
        assert (line.outcome, line.usage.output_tokens) == (Outcome.SUCCESS, 4)
    refused = httpx.post(
        f"{platform.url}/v1/chat/completions", headers={"x-hansom-lane": "slow"},
        json={"model": "narrow", "messages": HELLO},
    )  # fmt: skip
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "x-hansom-lane")


def test_the_decisions_are_metrics_and_are_explained(platform: Serving) -> None:
    text = httpx.get(f"{platform.url}/metrics", timeout=20).text
    assert 'hansom_scale_wanted_replicas{tier="small"} ' in text
    assert 'hansom_scale_decisions_total{code="' in text
    told = json.loads(platform.hansom("scale", "explain", "large", "--json"))["tiers"]["large"]
    assert {one["code"] for one in told["changes"]} >= {"wake", "idle"}
    words = platform.hansom("scale", "explain", "small")
    assert "1 ready" in words
    assert "last changes:" in words


def test_news_are_fresh_when_a_decision_is_made_of_them(platform: Serving) -> None:
    seen: dict[float, float] = {}

    def enough() -> bool:
        told = record(platform, "small")
        (known,) = told["fleet"]["known"].values()
        seen[told["at_s"]] = told["at_s"] - known["stamp_s"]  # one machine, one clock
        return len(seen) > 4

    wait(enough, 20)
    print(f"\nage of a report in a decision: {sorted(round(age, 2) for age in seen.values())} s")
    assert sorted(seen.values())[len(seen) // 2] < 0.5


def test_a_change_is_a_log_event(platform: Serving) -> None:
    (raylet,) = [one for one in platform.processes() if Path(one.name()).name == "raylet"]
    logs = Path(next(word for word in raylet.cmdline() if word.startswith("--log_dir="))[10:])
    text = "".join(file.read_text(errors="replace") for file in logs.glob("worker-*.err"))
    events = [json.loads(line) for line in text.splitlines() if '"event":"scaled"' in line]
    assert {"large", "small"} <= {one["tier"] for one in events}
    assert all(one["code"] and one["reason"] and one["before"] != one["wanted"] for one in events)


def test_a_tier_gets_a_gpu_when_another_gives_it_back(platform: Serving) -> None:
    """Two GPUs: one is the small tier's, the other whoever wants it."""
    wait(lambda: running(platform, "small") == 1 and record(platform, "small")["target"] == 1, 40)

    def wanted(tier: str) -> dict[str, Any]:
        told: dict[str, Any] = record(platform, tier)["wanted"]
        return told

    enough = threading.Event()

    def busy() -> list[int]:
        made: list[int] = []
        while not enough.is_set():
            made += asyncio.run(streams(platform, [uuid.uuid4().hex for _ in range(40)]))
        return made

    with ThreadPoolExecutor(2) as pool:
        awake = pool.submit(lambda: ask(platform, "large", 200))
        wait(lambda: wanted("large")["replicas"] == 1, 20)
        made = pool.submit(busy)
        try:
            wait(lambda: wanted("small")["code"] == "budget", 20)
            assert wanted("small")["replicas"] == 1
            assert "GPUs" in wanted("small")["reason"]
            assert not awake.done()
            wait(lambda: wanted("small")["replicas"] == 2, 60)
            assert wanted("large")["replicas"] == 0
        finally:
            enough.set()
        assert awake.result(30) == " cab" * 200
        assert set(made.result(60)) == {15}
    told = record(platform, "small")
    assert told["decisions"]["budget"] > 0
    assert told["errors"] == 0


def test_memory_outlives_a_killed_controller(platform: Serving) -> None:
    wait(lambda: record(platform, "large").get("changes"), 20)
    before = record(platform, "large")
    controller(platform).kill()
    start_s = time.monotonic()
    wait(lambda: record(platform, "large")["at_s"] > before["at_s"] + 2, 60)
    print(f"\ncontroller killed to next decision: {since(start_s):.2f} s")
    after = record(platform, "large")
    assert after["changes"][: len(before["changes"])] == before["changes"]
    assert sum(after["decisions"].values()) > sum(before["decisions"].values())
    assert after["errors"] == 0
    assert ask(platform, "large") == " cab" * 3


BROKEN = """
import sys, time
import ray
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

ray.init(address=sys.argv[1], namespace="hansom", logging_level="ERROR", log_to_driver=False)

@serve.deployment(
    max_ongoing_requests=8, ray_actor_options={"num_cpus": 0},
    autoscaling_config=AutoscalingConfig(
        min_replicas=1, max_replicas=3, policy=AutoscalingPolicy(
            policy_function="autoscale.live.ray_policy:TierPolicy",
            policy_kwargs={"tier": "broken", "rules": {"min_replicas": "x"}, "profile": {}},
        ),
    ),
)
class Broken:
    def __call__(self) -> str:
        return "here"

serve.run(Broken.bind(), name="broken", route_prefix=None)
time.sleep(2)
app = serve.status().applications["broken"]
print(app.status.value, app.deployments["Broken"].replica_states)
serve.delete("broken")
"""


def test_a_policy_that_cannot_decide_stops_nobody(platform: Serving) -> None:
    script = platform.home / "broken.py"
    script.write_text(BROKEN)
    done = subprocess.run(
        [sys.executable, script, address(platform)], cwd=ROOT, capture_output=True, text=True,
        timeout=90, env=platform.environment | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "token"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "RUNNING" in done.stdout
    assert ask(platform, "large") == " cab" * 3, "the others go on"


def address(platform: Serving) -> str:
    """Of the cluster's control service."""
    (raylet,) = [one for one in platform.processes() if Path(one.name()).name == "raylet"]
    found = [word for word in raylet.cmdline() if word.startswith("--gcs-address=")]
    return found[0].partition("=")[2]
