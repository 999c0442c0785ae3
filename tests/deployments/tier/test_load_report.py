"""What a replica tells the autoscaler: rates and waits of the last seconds, and totals."""

import asyncio
import importlib.util
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from autoscale.live.observe import LoadReport
from core.call import Usage
from core.settings.load import Accelerator, SimulatedEngine, VllmEngine
from core.settings.scaling import Slo
from deployments.tier import vllm_engine
from deployments.tier.load_report import LoadReporter, Queue, Totals
from deployments.tier.simulated.engine import Simulated
from deployments.tier.slo_count import SloCount
from deployments.tier.usage_meter import UsageMeter
from tests.deployments.rig import settings_of
from tests.deployments.tier.simulated.test_engine import post


def engine(**settings: Any) -> Simulated:
    return Simulated(SimulatedEngine(kind="simulated", **settings), "m")


async def nothing(*_: Any) -> None:
    """An engine that answers nothing."""


def test_rates_are_of_the_window_and_not_since_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("deployments.tier.load_report.time.monotonic", lambda: now[0])
    teller = LoadReporter(UsageMeter(nothing), SloCount(Slo()))
    first = teller.report(Queue(), Totals(prefilled_tokens=1000, made_tokens=50))
    assert (first.input_tokens_per_s, first.ttft_s, first.tpot_s) == (0.0, None, None)
    found: list[LoadReport] = []
    for step in range(1, 11):
        now[0] += 1
        made = Totals(1000 + 10 * step, 0, 50 + 2 * step, 0, 0.5 * step, step, 0.1 * step, 2 * step)
        found.append(teller.report(Queue(), made))
    assert found[-1].input_tokens_per_s == pytest.approx(10)
    assert found[-1].output_tokens_per_s == pytest.approx(2)
    assert found[-1].ttft_s == pytest.approx(0.5)
    assert found[-1].tpot_s == pytest.approx(0.05)


def test_no_ttft_is_told_where_it_may_be_that_of_batch_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("deployments.tier.load_report.time.monotonic", lambda: now[0])
    teller = LoadReporter(UsageMeter(nothing), SloCount(Slo()))
    told = []
    for step in range(14):
        now[0] += 1
        queue = Queue(mixed=3 <= step <= 5)
        told.append(teller.report(queue, Totals(ttft_s=step, first_tokens=step)).ttft_s)
    assert [one is not None for one in told] == [False, *[True] * 2, *[False] * 8, *[True] * 3]


async def test_a_prompt_has_arrived_once_whether_it_waits_or_is_prefilled() -> None:
    one = engine(ttft_s=0.2, tpot_s=0.01, max_concurrent=1)
    assert one.report().input_tokens == 0
    calls = [
        asyncio.create_task(post(one, stream=stream, max_tokens=5)) for stream in (True, False)
    ]
    seen: list[LoadReport] = []
    while not all(call.done() for call in calls):
        await asyncio.sleep(0.02)
        seen.append(one.report())
    after = one.report()
    assert {report.input_tokens for report in seen} == {after.input_tokens}
    assert max(report.waiting_tokens for report in seen) == after.input_tokens
    assert (after.waiting_tokens, after.kv_use_ratio) == (0, 0.0)
    assert max(report.kv_use_ratio or 0 for report in seen) > 0
    # The second waits for the first: 0.2 s, and 0.44 s.
    assert after.ttft_s == pytest.approx(0.32, rel=0.5)
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

    meter = UsageMeter(app)
    batch = [(b"x-request-id", b"r2"), (b"x-hansom-lane", b"batch")]
    scopes = [
        {"type": "http", "path": "/v1/x", "headers": [(b"x-request-id", b"r1")]},
        {"type": "http", "path": "/v1/x", "headers": batch},
    ]
    calls = [asyncio.create_task(meter(scope, None, None)) for scope in scopes]
    await asyncio.sleep(0)
    teller = LoadReporter(meter, SloCount(Slo()))
    told = teller.report(Queue(batch_input_tokens=7), Totals())
    assert (told.arrived, told.batch_arrived, told.finished) == (2, 1, 0)
    assert (meter.batch("r1"), meter.batch("r2"), meter.batch("r3")) == (False, True, False)
    assert told.batch_input_tokens == 7
    for id in ("r1", "r2"):
        meter.note(id, Usage(10, 5, 3))
    assert teller.report(Queue(), Totals()).batch_input_tokens == 10
    release.set()
    await asyncio.gather(*calls)
    assert (meter.open, meter.batch_open, meter.finished) == (0, 0, 2)


async def test_the_lanes_are_told_apart_while_they_run_and_wait() -> None:
    one = engine(ttft_s=0.2, max_concurrent=2)
    batch = {"headers": [(b"x-request-id", b"b"), (b"x-hansom-lane", b"batch")], "priority": 1}
    calls = [asyncio.create_task(post(one, **batch)) for _ in range(2)]
    await asyncio.sleep(0.05)
    calls += [asyncio.create_task(post(one, **batch)), asyncio.create_task(post(one))]
    await asyncio.sleep(0.05)
    told = one.report()
    assert (told.running, told.waiting) == (2, 2)
    assert (told.batch_running, told.batch_waiting) == (2, 1)
    assert told.batch_input_tokens == told.input_tokens * 3 / 4
    await asyncio.gather(*calls)
    assert (one.report().ttft_s or 0) > 0, "the interactive call's"
    assert one._seen.first_tokens == 1
    assert one.report().batch_input_tokens == told.batch_input_tokens
    assert (one.report().batch_running, one.report().batch_waiting) == (0, 0)


class OutputProcessor:
    """vLLM's, as far as a report asks it: three of the batch lane, two of them not prefilled."""

    request_states: ClassVar[dict[str, Any]] = {
        id: SimpleNamespace(
            external_req_id=f"chatcmpl-{name}", is_prefilling=prefilling, prompt_len=100,
            num_cached_tokens=0 if prefilling else 40, stats=None,
        )
        for id, name, prefilling in (
            ("1", "r1", False), ("2", "r2", True), ("3", "r3", True), ("4", "i1", True),
        )
    }  # fmt: skip

    def get_num_unfinished_requests(self) -> int:
        return 7

    def get_num_queued_tokens(self) -> int:
        return 900


def lanes() -> list[dict[str, Any]]:
    """Three calls of the batch lane and an interactive one, as the gateway sends them."""
    batch = [(b"x-hansom-lane", b"batch")]
    return [
        {"type": "http", "path": "/v1/x", "headers": [(b"x-request-id", id), *lane]}
        for id, lane in ((b"r1", batch), (b"r2", batch), (b"r3", batch), (b"i1", []))
    ]


async def test_a_vllm_report_is_made_of_its_own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()

    async def app(*_: Any) -> None:
        await release.wait()

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
    one = vllm_engine.Vllm(settings_of().tiers[0], Path(), 1000.0)
    one._llm = SimpleNamespace(output_processor=OutputProcessor())
    one.meter = meter = UsageMeter(app)
    one._teller = LoadReporter(meter, one._kept)
    calls = [asyncio.create_task(meter(scope, None, None)) for scope in lanes()]
    await asyncio.sleep(0)
    first = one.report()
    prompts.inc(100)
    told = one.report()
    assert (told.running, told.waiting, told.waiting_tokens) == (4, 3, 900)
    assert (told.kv_use_ratio, told.preemptions, told.cached_tokens) == (0.5, 3, 30)
    assert (first.input_tokens, told.input_tokens) == (900, 1000)
    assert told.input_tokens_per_s > 0
    assert (told.batch_running, told.batch_waiting, told.batch_arrived) == (1, 2, 3)
    assert told.batch_input_tokens == 60 + 100 + 100
    release.set()
    await asyncio.gather(*calls)


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
    for name in ("request_states", "external_req_id", "is_prefilling", "prompt_len"):
        assert f"self.{name}" in processor


def test_vllm_schedules_by_the_priority_that_calls_are_sent_with() -> None:
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    openai = Path(spec.origin).parent / "entrypoints" / "openai"
    for endpoint in ("chat_completion", "completion"):
        assert "    priority: int = Field(" in (openai / endpoint / "protocol.py").read_text()
        assert "priority=self._get_priority(" in (openai / endpoint / "serving.py").read_text()


async def test_a_simulated_engine_counts_who_kept_the_slo_and_no_batch_calls() -> None:
    strict = SloCount(Slo(ttft_s=0.1, tpot_s=0.5))
    settings = SimulatedEngine(kind="simulated", ttft_s=0.06, max_concurrent=1, output_tokens=3)
    one = Simulated(settings, "m", strict)
    batch = {"headers": [(b"x-request-id", b"b"), (b"x-hansom-lane", b"batch")], "priority": 1}
    await post(one, **batch)
    assert (one.report().judged, one.report().missed) == (0, 0)
    await asyncio.gather(post(one), post(one, stream=True))
    told = one.report()
    assert (told.judged, told.missed) == (2, 1), "one waited for the other"


class Stats(SimpleNamespace):
    """vLLM's, of a request that came `ago_s` before now."""

    def __init__(self, ttft_s: float, tokens: int, took_s: float, ago_s: float = 0.0) -> None:
        super().__init__(
            first_token_latency=ttft_s, num_generation_tokens=tokens, first_token_ts=10.0,
            last_token_ts=10.0 + took_s, arrival_time=time.time() - ago_s,
        )  # fmt: skip


def test_vllms_requests_are_judged_by_its_own_times() -> None:
    one = vllm_engine.Vllm(settings_of().tiers[0], Path(), 1000.0)
    one.meter = UsageMeter(nothing)

    def state(id: str, stats: Stats | None, *, prefilling: bool = False) -> SimpleNamespace:
        return SimpleNamespace(
            request_id=id, external_req_id=f"chatcmpl-{id}", prompt_len=100, stats=stats,
            is_prefilling=prefilling,
        )  # fmt: skip

    def counts() -> tuple[int, int]:
        return one._kept.judged, one._kept.missed

    late = state("late", Stats(2.5, 1, 0.0))
    one._began(late)
    assert counts() == (1, 1), "its SLO is 2 s; it is known before its end"
    one._ended(late)
    one._ended(state("good", Stats(1.0, 11, 0.9)))
    one._ended(state("slow", Stats(1.0, 11, 1.1)))
    one._ended(state("short", Stats(1.0, 1, 0.0)))
    assert counts() == (4, 2)
    one._ended(state("left", Stats(0.0, 0, 0.0, ago_s=1.0), prefilling=True))
    one._ended(state("untimed", None))
    assert counts() == (4, 2)
    one._ended(state("gave up", Stats(0.0, 0, 0.0, ago_s=3.0), prefilling=True))
    assert counts() == (5, 3)


def test_vllm_keeps_the_times_that_requests_are_judged_by() -> None:
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    stats = (Path(spec.origin).parent / "v1" / "metrics" / "stats.py").read_text()
    for name in (
        "first_token_latency", "num_generation_tokens", "first_token_ts", "last_token_ts",
        "arrival_time",
    ):  # fmt: skip
        assert f"    {name}: " in stats


@pytest.mark.parametrize(
    ("gpus", "args", "expected"),
    [
        (0, {}, (0.05, 32)),
        (0, {"block_size": 64, "watermark": 0.0}, (0.0, 64)),
        (1, {}, (0.05, None)),
        (1, {"watermark": 0.2}, (0.2, None)),
    ],
)
def test_vllm_gets_a_watermark_and_small_blocks_unless_the_settings_say_otherwise(
    gpus: int, args: dict[str, Any], expected: tuple[float, int | None]
) -> None:
    """vLLM's own parser knows both names."""
    tier = settings_of().tiers[0].model_copy(update={
        "engine": VllmEngine(kind="vllm", args=args),
        "accelerator": Accelerator(type="any" if gpus else None, per_replica=gpus),
    })  # fmt: skip
    told = vllm_engine.server_arguments(tier, Path("/weights"), 1000.0)
    assert (told.watermark, told.block_size) == expected
