"""What a replica tells the autoscaler: rates and waits of the last seconds, and totals."""

import asyncio
import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from autoscale.observe import Report
from core.settings import SimulatedEngine
from deployments import vllm_engine
from deployments.load import LoadTeller, Queue, Totals
from deployments.meter import Meter
from deployments.simulated import Simulated
from tests.deployments.rig import settings_of
from tests.deployments.test_simulated import post


def engine(**settings: Any) -> Simulated:
    return Simulated(SimulatedEngine(kind="simulated", **settings), "m")


async def nothing(*_: Any) -> None:
    """An engine that answers nothing."""


def test_rates_are_of_the_window_and_not_since_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("deployments.load.time.monotonic", lambda: now[0])
    teller = LoadTeller(Meter(nothing))
    first = teller.report(Queue(), Totals(prefilled_tokens=1000, made_tokens=50))
    assert (first.input_tokens_per_s, first.ttft_s, first.tpot_s) == (0.0, None, None)
    found: list[Report] = []
    for step in range(1, 11):
        now[0] += 1
        made = Totals(1000 + 10 * step, 0, 50 + 2 * step, 0, 0.5 * step, step, 0.1 * step, 2 * step)
        found.append(teller.report(Queue(), made))
    assert found[-1].input_tokens_per_s == pytest.approx(10)
    assert found[-1].output_tokens_per_s == pytest.approx(2)
    assert found[-1].ttft_s == pytest.approx(0.5)
    assert found[-1].tpot_s == pytest.approx(0.05)


async def test_a_prompt_has_arrived_once_whether_it_waits_or_is_prefilled() -> None:
    one = engine(ttft_s=0.2, tpot_s=0.01, max_concurrent=1)
    assert one.report().input_tokens == 0
    calls = [
        asyncio.create_task(post(one, stream=stream, max_tokens=5)) for stream in (True, False)
    ]
    seen: list[Report] = []
    while not all(call.done() for call in calls):
        await asyncio.sleep(0.02)
        seen.append(one.report())
    after = one.report()
    assert {report.input_tokens for report in seen} == {after.input_tokens}
    assert max(report.waiting_tokens for report in seen) == after.input_tokens
    assert (after.waiting_tokens, after.kv_use_ratio) == (0, 0.0)
    assert max(report.kv_use_ratio or 0 for report in seen) > 0
    assert after.ttft_s == pytest.approx(0.2, rel=0.5)
    assert after.tpot_s == pytest.approx(0.01, rel=0.9)


async def test_who_leaves_before_the_first_token_waits_no_more() -> None:
    one = engine(ttft_s=30.0, max_concurrent=1)
    calls = [asyncio.create_task(post(one, stream=True)) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert one.report().waiting_tokens > 0
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert one.report().waiting_tokens == 0


async def test_the_meter_counts_the_gateways_requests_and_their_lane() -> None:
    release = asyncio.Event()

    async def app(*_: Any) -> None:
        await release.wait()

    meter = Meter(app)
    headers = [(b"x-request-id", b"r1")]
    scopes = [
        {"type": "http", "path": "/v1/x", "headers": headers},
        {"type": "http", "path": "/v1/x", "headers": [*headers, (b"x-hansom-lane", b"batch")]},
    ]
    calls = [asyncio.create_task(meter(scope, None, None)) for scope in scopes]
    await asyncio.sleep(0)
    told = LoadTeller(meter).report(Queue(running=1, waiting=4), Totals())
    assert (told.arrived, told.batch_arrived, told.finished) == (2, 1, 0)
    assert (told.batch_running, told.batch_waiting) == (0, 2)
    release.set()
    await asyncio.gather(*calls)
    assert (meter.open, meter.batch_open, meter.finished) == (0, 0, 2)


class OutputProcessor:
    """vLLM's, as far as a report asks it."""

    def get_num_unfinished_requests(self) -> int:
        return 7

    def get_num_queued_tokens(self) -> int:
        return 900


def test_a_vllm_report_is_made_of_its_own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    monkeypatch.setattr(vllm_engine, "REGISTRY", registry)
    labels, own = ["model_name", "engine"], ("m", "0")

    def made(kind: Any, name: str) -> Any:
        return kind(f"vllm:{name}", "text", labels, registry=registry).labels(*own)

    made(Gauge, "num_requests_running").set(4)
    made(Gauge, "kv_cache_usage_perc").set(0.5)
    made(Gauge, "num_requests_waiting").set(99)  # not read: it is of the last step
    made(Counter, "num_preemptions").inc(3)
    made(Counter, "prompt_tokens_cached").inc(30)
    made(Counter, "generation_tokens").inc(5)
    made(Histogram, "time_to_first_token_seconds").observe(0.4)
    made(Histogram, "inter_token_latency_seconds").observe(0.02)
    prompts = made(Counter, "prompt_tokens")
    one = vllm_engine.Vllm(settings_of().tiers[0], Path())
    one._llm = SimpleNamespace(output_processor=OutputProcessor())
    one._teller = LoadTeller(Meter(nothing))
    first = one.report()
    prompts.inc(100)
    told = one.report()
    assert (told.running, told.waiting, told.waiting_tokens) == (4, 3, 900)
    assert (told.kv_use_ratio, told.preemptions, told.cached_tokens) == (0.5, 3, 30)
    assert (first.input_tokens, told.input_tokens) == (900, 1000)
    assert told.input_tokens_per_s > 0


def test_vllm_has_what_its_report_is_read_from() -> None:
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    v1 = Path(spec.origin).parent / "v1"
    loggers = (v1 / "metrics" / "loggers.py").read_text()
    for name in vllm_engine.READ:
        assert f'"{re.sub("_(total|sum|count)$", "", name)}"' in loggers
    processor = (v1 / "engine" / "output_processor.py").read_text()
    assert "def get_num_queued_tokens(self) -> int" in processor
    assert "def get_num_unfinished_requests(self)" in processor
