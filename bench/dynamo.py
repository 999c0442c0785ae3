"""Our policy in NVIDIA Dynamo's replay engine, beside fixed fleets, Ray's and Dynamo's own scaling.

    python -m bench.dynamo TRACE_DIR --dynamo PEERS/bin/python [--policies ours,fixed:24,...]

The peer lives in an environment of its own (`requirements/dynamo.txt`). An hour of Azure's chat of
2023, twelve times; the engine at 0.3 of its speed, replicas that start in 120 s, requests round
robin, TTFT 2 s, TPOT 100 ms. Every policy begins with the replicas that ours begins a replay with,
and all but Dynamo's planners are asked every 5 s. Shares and GPU-hours are of Dynamo's report: all
requests count, each by its own mean TPOT, and a worker costs from the wish for it on.
Our policy has the setting that ships, unless `--scaling` has another as JSON, and a profile fitted
to forward passes of this engine alone. It runs here, not in the peer's environment: snapshots and
answers go through a pipe.
Not covered: what `bench.dynamo_view` says of the snapshots; prefix caches; failures.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from autoscale.policy.profile import EngineProfile, Slo
from autoscale.replay.baselines import start_with
from autoscale.replay.policies import scaler
from autoscale.replay.replay import Scaler, Setup
from autoscale.replay.trace import Trace, read
from bench.dynamo_view import BLOCK_TOKENS, Pass, Watch, fit, mooncake
from bench.scaling import choice
from core.settings.scaling import Scaling

SIDE = Path(__file__).with_name("dynamo_side.py")
SLO = Slo()
STARTUP_S = 120.0
TICK_S = 5.0
MOST_REPLICAS = 200
ENGINE: dict[str, float] = {
    "speedup_ratio": 0.3,
    "startup_time": STARTUP_S,
    "num_gpu_blocks": 16_384,
    "block_size": 64,
    "max_num_batched_tokens": 8192,
    "max_num_seqs": 256,
}
"""The last four are the engine's defaults, said because the profile needs them."""
PLANNER = {
    "mode": "agg",
    "enable_load_scaling": True,
    "enable_throughput_scaling": False,
    "max_gpu_budget": 60,
}
DEFAULT = (
    "ours,fixed:20,fixed:24,ray:16,ray:32,ray-damped:32,ray-damped:48,"
    "planner:latency,planner:throughput"
)
RAMP_S = 600.0
RAMP_PER_S = (0.5, 4.0)
RAMP_TICK_S = 0.25
ALIKE = {
    "engine": ENGINE,
    "router_mode": "round_robin",
    "block_tokens": BLOCK_TOKENS,
    "sla_ttft_ms": SLO.ttft_s * 1000,
    "sla_itl_ms": SLO.tpot_s * 1000,
}
"""What every job has."""
FIGURES = {
    "mean_ttft_ms": "TTFT mean", "median_ttft_ms": "p50", "p95_ttft_ms": "p95",
    "p99_ttft_ms": "p99", "median_tpot_ms": "TPOT p50", "p95_tpot_ms": "p95", "p99_tpot_ms": "p99",
}  # fmt: skip

Answers = Callable[[Mapping[str, Any]], int]
"""Workers wanted, for a snapshot."""


def ramp(lengths: Trace, seed: int = 0) -> Trace:
    """Poisson arrivals whose rate grows over `RAMP_PER_S`, with the lengths of a trace in turn."""
    rng = np.random.default_rng(seed)
    low, high = RAMP_PER_S
    seconds = np.arange(int(RAMP_S))
    counts = rng.poisson(low + (high - low) * seconds / RAMP_S)
    at_s = np.sort(np.repeat(seconds, counts) + rng.random(counts.sum()))
    rows = np.arange(len(at_s)) % len(lengths)
    return Trace("ramp", at_s, lengths.input_tokens[rows], lengths.output_tokens[rows])


class DynamoPeer:
    """Dynamo's replay, started anew for each trace and policy."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python, self._folder = python, folder

    def write(self, trace: Trace) -> Path:
        """The trace as Dynamo reads it."""
        path = self._folder / f"{trace.name}.jsonl"
        path.write_text("".join(line + "\n" for line in mooncake(trace)), encoding="utf-8")
        return path

    def replay(self, trace: Path, workers: int, tick_s: float, answer: Answers) -> dict[str, Any]:
        """Dynamo's report; `answer` gives the workers wanted for each snapshot."""
        return self._run({"tick_ms": tick_s * 1000}, trace, workers, answer)

    def planned(self, trace: Path, workers: int, target: str) -> dict[str, Any]:
        """The same under Dynamo's own planner, with one of its optimization targets."""
        planner = {**PLANNER, "optimization_target": target}
        return self._run({"planner": planner}, trace, workers, lambda _: workers)

    def _run(
        self, how: dict[str, Any], trace: Path, workers: int, answer: Answers
    ) -> dict[str, Any]:
        job, words = self._folder / "job.json", self._folder / "stderr.txt"
        job.write_text(json.dumps({"trace": str(trace), "workers": workers, **ALIKE, **how}))
        with (
            words.open("w") as errors,
            subprocess.Popen(
                [str(self._python), "-P", str(SIDE), str(job)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=self._folder,
            ) as side,
        ):  # fmt: skip
            report = None
            if side.stdin is not None and side.stdout is not None:
                report = converse(side.stdout, side.stdin, answer)
        if report is None:
            raise SystemExit(f"Dynamo's replay ended early:\n{words.read_text()[-2000:]}")
        return report


def converse(told: Iterable[str], asked: IO[str], answer: Answers) -> dict[str, Any] | None:
    """Answer each snapshot until the report comes; None where it does not."""
    for line in told:
        said: dict[str, dict[str, Any]] = json.loads(line)
        if "report" in said:
            return said["report"]
        asked.write(json.dumps({"workers": answer(said["snapshot"])}) + "\n")
        asked.flush()
    return None


def measure(peer: DynamoPeer, lengths: Trace) -> tuple[EngineProfile, float]:
    """The engine's profile, from passes of one worker under a load that grows."""
    passes: list[Pass] = []

    def note(snapshot: Mapping[str, Any]) -> int:
        passes.extend(Pass.of(told) for told in snapshot["decode_fpm_snapshots"])
        return 1

    peer.replay(peer.write(ramp(lengths)), 1, RAMP_TICK_S, note)
    return fit(
        passes,
        int(ENGINE["max_num_batched_tokens"]),
        int(ENGINE["num_gpu_blocks"] * ENGINE["block_size"]),
        int(ENGINE["max_num_seqs"]),
        STARTUP_S,
    )


class DynamoAnswer:
    """A scaler that is asked by snapshots; counts how often it moved."""

    def __init__(self, scale: Scaler, watch: Watch, workers: int) -> None:
        self._scale, self._watch, self._workers = scale, watch, workers
        self.moves, self.peak = 0, workers

    def __call__(self, snapshot: Mapping[str, Any]) -> int:
        """The workers wanted, one at least."""
        wanted = self._scale(self._watch.view(snapshot))
        workers = min(max(1, wanted.replicas), MOST_REPLICAS)
        self.moves += workers != self._workers
        self.peak = max(self.peak, workers)
        self._workers = workers
        self._watch.asked(workers)
        return workers


@dataclass(frozen=True, slots=True)
class Scene:
    """What every policy is given: the trace, also as Dynamo reads it, and the engine's speed.

    `scaling` is the setting of ours.
    """

    peer: DynamoPeer
    trace: Trace
    path: Path
    profile: EngineProfile
    scaling: Scaling


def row(scene: Scene, policy: str) -> dict[str, Any]:
    """The figures of one policy; `planner:latency` is Dynamo's own with that target."""
    peer, trace, path, profile = scene.peer, scene.trace, scene.path, scene.profile
    began_s = time.perf_counter()
    name, _, number = policy.partition(":")
    workers = int(number) if name == "fixed" else start_with(trace, profile, SLO)
    told: dict[str, Any] = {"policy": policy, "initial": workers}
    if name == "planner":
        report = peer.planned(path, workers, number)
    else:
        setup = Setup(profile, SLO, initial=workers, max_replicas=MOST_REPLICAS)
        scale = scaler(trace, replace(choice(policy), scaling=scene.scaling), setup)
        answer = DynamoAnswer(scale, Watch(workers, profile.kv_tokens), workers)
        report = peer.replay(path, workers, TICK_S, answer)
        told |= {"moves": answer.moves, "peak": answer.peak}
    told["slo_attainment"] = report["goodput_completed_requests"] / report["num_requests"]
    told["gpu_hours"] = report["gpu_hours"]
    told |= {figure: report[figure] for figure in FIGURES}
    return told | {"seconds": time.perf_counter() - began_s}


def line(told: Mapping[str, Any]) -> str:
    """One row of the table."""
    moves = told.get("moves", "–")
    cells = [f"{told[name]:,.0f}" for name in FIGURES]
    return (
        f"| {told['policy']} | {told['slo_attainment']:.2%} | {told['gpu_hours']:.1f} | {moves} | "
        + " | ".join(cells)
        + " |"
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure the engine, replay every policy, print the table; times in ms."""
    parser = argparse.ArgumentParser(prog="python -m bench.dynamo", description=__doc__)
    parser.add_argument("traces", type=Path, help="folder with azure2023_conv.parquet")
    parser.add_argument("--dynamo", type=Path, required=True, help="the peer's Python")
    parser.add_argument("--policies", default=DEFAULT)
    parser.add_argument("--scaling", type=Scaling.model_validate_json, default=Scaling())
    parser.add_argument("--scale", type=float, default=12.0)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args(arguments)
    hour = read(args.traces / "azure2023_conv.parquet")
    trace = hour.scaled(args.scale, 0)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="hansom-bench-") as folder:
        peer = DynamoPeer(args.dynamo.absolute(), Path(folder))
        profile, error = measure(peer, hour)
        print(f"{profile.model_dump_json()}\na pass is {error:.1%} off, a median\n", flush=True)
        print("| policy | within | GPU-hours | moves | " + " | ".join(FIGURES.values()) + " |")
        print("|---|" + "---|" * (3 + len(FIGURES)), flush=True)
        scene = Scene(peer, trace, peer.write(trace), profile, args.scaling)
        for policy in args.policies.split(","):
            rows.append(row(scene, policy))
            print(line(rows[-1]), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps({"profile": profile.model_dump(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
