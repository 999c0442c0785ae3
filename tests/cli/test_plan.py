"""`hansom plan replay` and `hansom plan calibrate`."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from typer.testing import CliRunner, Result

from autoscale.calibrate.profiles import pick
from cli.main import app
from cli.plan_calibrate import kv_of, kv_tokens_of
from core.errors import HansomError
from core.free_port import free_port
from core.settings.load import SimulatedEngine, VllmEngine
from deployments.tier.simulated.engine import Simulated
from tests.cli.commands import hansom as run
from tests.deployments.rig import settings_of

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "config" / "profiles.yaml"
POLICIES = ["ours", "ray", "ray-damped", "fixed", "foresight"]


def hansom(*words: object) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, words)])


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("traces") / "small.parquet"
    columns = {
        "t_seconds": np.sort(rng.uniform(0, 1200, 4000)),
        "input_tokens": rng.integers(10, 2000, 4000),
        "output_tokens": rng.integers(1, 300, 4000),
        "source": ["a test"] * 4000,
    }
    pq.write_table(pa.table(columns), path)
    return path


def told(*words: object) -> dict[str, Any]:
    made = hansom("replay", *words, "--profiles", PROFILES, "--json")
    assert made.exception is None, made.exception
    return dict(json.loads(made.stdout))


def wrong(*words: object) -> str:
    ran = run("plan", *words, "--profiles", PROFILES)
    assert ran.code in (1, 2)
    return ran.err


def test_a_replay_tells_what_it_came_to(trace: Path):
    found = told(trace, "--seed", 1)
    keys = ["slo_attainment", "gpu_hours", "usd", "replica_moves", "ttft_s_p95", "tpot_s_p95"]
    assert all(isinstance(found[key], int | float) for key in keys)
    assert found["policy"] == "ours" and found["served"] == found["requests"] == 4000
    assert 0.5 < found["slo_attainment"] <= 1
    profile = pick(PROFILES, "A100-8B")
    assert found["usd"] == pytest.approx(found["node_hours"] * profile.usd_per_hour)
    assert found == told(trace, "--seed", 1)


def test_options_reach_the_replay(trace: Path):
    found = told(trace, "--policy", "fixed", "--replicas", 3)
    assert found["gpu_hours"] == pytest.approx(3 * found["hours"])
    assert told(trace, "--slo-ttft", 1e-6)["slo_attainment"] == 0
    assert told(trace, "--slo-tpot", 1e-6)["slo_attainment"] < 0.05
    half = told(trace, "--scale", 0.5, "--policy", "fixed")
    assert 1800 < half["requests"] < 2200
    few, many = (told(trace, "--policy", "ray", "--target", t)["gpu_hours"] for t in (64, 1))
    assert many > few
    slow = told(trace, "--policy", "fixed", "--replicas", 3, "--profile", "L40S-8B")
    assert slow["tpot_s_p50"] > found["tpot_s_p50"]
    by_two = told(trace, "--policy", "fixed", "--replicas", 3, "--routing", "pow2")
    assert by_two["ttft_s_p95"] != found["ttft_s_p95"]


def test_the_order_of_a_queue_reaches_the_replay_and_is_told(trace: Path):
    """One replica has a little too much to do: in order of arrival many are late, else a few."""
    one = ("--policy", "fixed", "--replicas", 1, "--scale", 2.4)
    late, plain = (told(trace, *one, *order) for order in ((), ("--order", "fcfs")))
    assert (late["order"], plain["order"]) == ("late-last", "fcfs")
    assert plain["slo_attainment"] < 0.7 < 0.9 < late["slo_attainment"]
    assert late["ttft_s_p99"] > plain["ttft_s_p99"]


def test_a_trace_that_knows_its_prompts_tells_what_was_cached(trace: Path, tmp_path: Path):
    """Every prompt begins with the same 512 tokens."""
    table = pq.read_table(trace)
    lengths = -(-table.column("input_tokens").to_numpy() // 512)
    ids = [[0, *range(10 * n + 1, 10 * n + count)] for n, count in enumerate(lengths.tolist(), 1)]
    path = tmp_path / "known.parquet"
    pq.write_table(table.append_column("hash_ids", pa.array(ids)), path)
    found = told(path, "--policy", "fixed", "--replicas", 2)
    assert found["routing"] == "prefix"
    assert 0.3 < found["cached_input_share"] < 0.5
    assert told(trace, "--policy", "fixed", "--replicas", 2)["cached_input_share"] == 0
    made = hansom("replay", path, "--policy", "fixed", "--replicas", 2, "--profiles", PROFILES)
    assert f"fixed: {found['cached_input_share']:.1%} of prompt tokens were cached" in made.stdout
    assert found["remark"] == ""


def test_ids_of_another_form_are_left_out_and_that_is_said(trace: Path, tmp_path: Path):
    table = pq.read_table(trace)
    path = tmp_path / "unknown.parquet"
    pq.write_table(table.append_column("hash_ids", pa.array([[1]] * len(table))), path)
    found = told(path, "--policy", "fixed", "--replicas", 2)
    assert "row" in found["remark"] and "has 1 ids" in found["remark"]
    bare = told(trace, "--policy", "fixed", "--replicas", 2)
    assert [found[name] for name in ("slo_attainment", "ttft_s_p95")] == [
        bare[name] for name in ("slo_attainment", "ttft_s_p95")
    ]
    made = hansom("replay", path, "--policy", "fixed", "--replicas", 2, "--profiles", PROFILES)
    assert "hash_ids is left out" in made.stdout


def test_with_no_least_an_idle_tier_goes_to_zero_and_who_comes_then_is_held(tmp_path: Path):
    """A request, an hour of nothing, another one."""
    path = tmp_path / "two.parquet"
    columns = {"t_seconds": [0.0, 3600.0], "input_tokens": [100] * 2, "output_tokens": [10] * 2}
    pq.write_table(pa.table(columns), path)
    idle, kept = told(path, "--min-replicas", 0), told(path)
    assert idle["held"] == 1 and idle["served"] == 2 and idle["gpu_hours"] < 0.6
    assert kept["held"] == 0 and kept["gpu_hours"] == pytest.approx(1.0)


def test_all_policies_side_by_side(trace: Path):
    rows = told(trace, "--policy", "all")["policies"]
    assert [row["policy"] for row in rows] == POLICIES
    made = hansom("replay", trace, "--policy", "all", "--profiles", PROFILES)
    assert made.exception is None
    for name in POLICIES:
        assert f" {name} " in made.stdout
    assert "4,000 requests" in made.stdout and "A100-8B" in made.stdout


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_picture_is_drawn(trace: Path, tmp_path: Path, suffix: str):
    path = tmp_path / f"plot.{suffix}"
    told(trace, "--plot", path)
    assert path.stat().st_size > 5000


def test_what_cannot_be_done_is_one_line(trace: Path, tmp_path: Path):
    assert "has no profile H200" in wrong("replay", trace, "--profile", "H200")
    assert "no such file: " in wrong("replay", tmp_path / "none.parquet")
    assert "above 0" in wrong("replay", trace, "--scale", 0)
    assert "--slo-ttft" in wrong("replay", trace, "--slo-ttft", 0)
    assert "is above" in wrong("replay", trace, "--min-replicas", 3, "--max-replicas", 2)
    assert "--target" in wrong("replay", trace, "--target", -1)
    assert "no requests left" in wrong("replay", trace, "--scale", 1e-9)
    assert "must end in .svg or .png" in wrong("replay", trace, "--plot", tmp_path / "plot.nothing")
    assert "--prompts" in wrong("calibrate", "--tier", "s", "--prompts", "64;3")
    assert "two lengths" in wrong(
        "calibrate", "--tier", "s", "--prompts", "64", "--url", "http://x"
    )


@pytest.fixture
def engine() -> Iterator[str]:
    """A simulated engine on a port of its own: 80 ms to the first token, 12 ms between others."""
    settings = SimulatedEngine(kind="simulated", ttft_s=0.08, tpot_s=0.012, max_concurrent=64)
    port = free_port()
    config = uvicorn.Config(
        Simulated(settings, "sim"), port=port, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def test_calibrate_finds_the_pace_of_a_known_engine_and_writes_it(engine: str, tmp_path: Path):
    path = tmp_path / "profiles.yaml"
    path.write_text(PROFILES.read_text())
    made = hansom(
        "calibrate", "--tier", "sim", "--url", engine, "--profiles", path, "--prompts", "64,1024",
        "--at-once", "1,4", "--output-tokens", 24, "--repeats", 2, "--json",
    )  # fmt: skip
    assert made.exception is None, made.exception
    found = json.loads(made.stdout)
    profile, fitted = found["profile"], found["fit"]
    assert profile["base_s"] + profile["per_sequence_s"] == pytest.approx(0.012, rel=0.25)
    assert fitted["overhead_s"] == pytest.approx(0.08, rel=0.4)
    lengths = [one["prompt_tokens"] for one in found["samples"] if one["sequences"] == 1]
    assert 40 < min(lengths) < 100 and 900 < max(lengths) < 1200
    assert {one["sequences"] for one in found["samples"]} == {1, 4}
    written = pick(path, "laptop")
    assert written.model_dump(mode="json") == profile
    assert "Measured by `hansom plan calibrate` on 20" in written.source
    assert written.kv_tokens == pick(PROFILES, "laptop").kv_tokens
    assert pick(path, "A100-8B") == pick(PROFILES, "A100-8B")


def test_a_dry_run_writes_nothing(engine: str, tmp_path: Path):
    path = tmp_path / "profiles.yaml"
    made = hansom(
        "calibrate", "--tier", "sim", "--url", engine, "--profiles", path, "--prompts", "64,256",
        "--at-once", "1", "--output-tokens", 8, "--repeats", 1, "--dry-run",
    )  # fmt: skip
    assert made.exception is None, made.exception
    assert "A step takes" in made.stdout and not path.exists()


def test_an_endpoint_that_is_not_there_is_told(tmp_path: Path):
    url = f"http://127.0.0.1:{free_port()}"
    assert f"Nothing answers at {url}" in wrong("calibrate", "--tier", "sim", "--url", url)


def test_kv_tokens_are_blocks_times_their_size():
    line = 'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="2500"} 1.0'
    assert kv_tokens_of(f"# HELP\n{line}\n") == 40_000
    with pytest.raises(HansomError, match="no vllm:cache_config_info"):
        kv_tokens_of("up 1")


@pytest.mark.parametrize(
    ("args", "kv"),
    [
        ({}, {"block_tokens": 32, "watermark": 0.05}),
        ({"block_size": 64, "watermark": 0.1}, {"block_tokens": 64, "watermark": 0.1}),
    ],
)
def test_a_profile_gets_the_blocks_and_the_watermark_of_its_tier(
    args: dict[str, float], kv: dict[str, float]
) -> None:
    tier = settings_of().tiers[0].model_copy(update={"engine": VllmEngine(kind="vllm", args=args)})
    assert kv_of([tier], tier.name) == kv_of([tier], tier.model) == kv
    assert kv_of([tier], "another") == {}
