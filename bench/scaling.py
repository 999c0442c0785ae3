"""Every scaling policy on five workloads, each at one setting: the table of docs/autoscaling.md.

    python -m bench.scaling [--workloads azweek,...] [--policies ours,ray:8,...] [--seeds 0,1]
        [--routing prefix] [--order fcfs]

A policy may carry its number: `ray:8` is Ray's default with 8 requests for each replica,
`ours:0.6` a utilisation, `fixed:20` so many replicas, `foresight:0.85` a utilisation. The one
setting of `ours` is what ships. Traces are those of a folder that is not in this repository; see
docs/autoscaling.md. It takes a core for minutes; run it with `nice`.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from autoscale.calibrate.profiles import pick
from autoscale.policy.profile import Slo
from autoscale.replay.policies import POLICIES, PolicyChoice, run
from autoscale.replay.replay import ORDERS, ROUTINGS, Order, Routing, Setup
from autoscale.replay.trace import Trace, from_rate, read

TRACES = Path("../shared/data/traces/dev")
PROFILES = Path("config/profiles.yaml")
DAY_S = 86_400.0
TUESDAY = 2
"""Days from the start of the rate file, a Sunday, to its Tuesday."""
WEEK_SHARE = 0.42
DEFAULT = "ours,ray:8,ray:16,ray-damped:8,ray-damped:16,fixed,foresight"
FIGURES = (
    "slo_attainment", "gpu_hours", "replica_moves", "ttft_s_p95", "tpot_s_p95",
    "cached_input_share",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ScalingWorkload:
    """A trace, the engine that serves it, and what a request may wait."""

    name: str
    make: Callable[[Path, int], Trace]
    profile: str = "L40S-8B"
    slo: Slo = field(default_factory=Slo)


def _scaled(file: str, k: float, day: int | None = None) -> Callable[[Path, int], Trace]:
    def make(folder: Path, seed: int) -> Trace:
        trace = read(folder / f"{file}.parquet")
        if day is not None:
            trace = trace.window(day * DAY_S, (day + 1) * DAY_S)
        return trace.scaled(k, seed)

    return make


def azure_tuesday(folder: Path, seed: int) -> Trace:
    """24 h drawn from the week's rate (requests a minute), with the lengths of the year before."""
    table = pq.read_table(folder / "azure2024_conv_week_rate.parquet")
    at_s = table.column("t_seconds").to_numpy() - TUESDAY * DAY_S
    per_s = table.column("rpm_mid").to_numpy() / 60 * WEEK_SHARE
    lengths = read(folder / "azure2023_conv.parquet")
    return from_rate("azweek", at_s, per_s, DAY_S, lengths, seed)


WORKLOADS = {
    one.name: one
    for one in (
        ScalingWorkload("azconv_x12", _scaled("azure2023_conv", 12), "A100-8B"),
        ScalingWorkload(
            "mooncake_x2", _scaled("mooncake_conversation", 2), "A100-8B", Slo(ttft_factor=2.0)
        ),
        ScalingWorkload("azweek", azure_tuesday),
        ScalingWorkload("sgthin_x4", _scaled("servegen_mlarge_d0-2_thin60", 4, 0), "A100-8B"),
        ScalingWorkload("sgclients_x8", _scaled("servegen_mlarge_d0-2_clientsubset", 8, 1)),
    )
}


def choice(text: str) -> PolicyChoice:
    """`ray:8` and the like; ValueError for a policy that is not known."""
    name, _, number = text.partition(":")
    policy = {known: known for known in POLICIES}.get(name)  # type: ignore[call-overload]
    if policy is None:
        raise ValueError(f"{name} is no policy; there are {', '.join(POLICIES)}")
    made = PolicyChoice(policy)
    if not number:
        return made
    if policy in ("ray", "ray-damped"):
        return replace(made, target=float(number))
    if policy == "fixed":
        return replace(made, replicas=int(number))
    return replace(made, utilisation=float(number))


def measure(trace: Trace, text: str, setup: Setup) -> dict[str, Any]:
    """The figures of one replay, and the seconds it took."""
    began_s = time.perf_counter()
    found = run(trace, choice(text), setup)
    told = {name: getattr(found, name) for name in FIGURES}
    told |= {"moves_per_hour": found.replica_moves / found.hours, "held": found.held}
    return told | {"unserved": found.unserved, "seconds": time.perf_counter() - began_s}


def rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every workload, policy and seed, printed as it is done."""
    found: list[dict[str, Any]] = []
    for name in args.workloads.split(","):
        workload = WORKLOADS[name]
        for seed in (int(part) for part in args.seeds.split(",")):
            trace = workload.make(args.traces, seed)
            profile = pick(PROFILES, workload.profile)
            setup = Setup(profile, workload.slo, args.routing, seed=seed, order=args.order)
            for policy in args.policies.split(","):
                row = {"workload": name, "seed": seed, "policy": policy, "requests": len(trace)}
                row |= measure(trace, policy, setup)
                found.append(row)
                print(
                    f"{name:13} seed {seed} {policy:16} {row['slo_attainment']:8.2%} "
                    f"{row['gpu_hours']:9.1f} GPU-h {row['moves_per_hour']:6.2f} moves/h "
                    f"TTFT p95 {row['ttft_s_p95']:7.2f} s cached "
                    f"{row['cached_input_share']:5.1%} {row['seconds']:6.1f} s",
                    flush=True,
                )
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: a row for each policy, a column for each workload, then means over workloads.

    The last column is the mean over workloads of GPU-hours by those of the first policy.
    """
    workloads = list(dict.fromkeys(row["workload"] for row in found))
    policies = list(dict.fromkeys(row["policy"] for row in found))
    lines = [
        "| policy | " + " | ".join(workloads) + " | mean | worst | hours by first |",
        "|---|" + "---|" * (len(workloads) + 3),
    ]
    first_hours: dict[str, float] = {}
    for policy in policies:
        cells, shares, ratios = [], [], []
        for workload in workloads:
            of = [r for r in found if r["policy"] == policy and r["workload"] == workload]
            share, gpu_hours, moves = (
                float(np.mean([row[key] for row in of]))
                for key in ("slo_attainment", "gpu_hours", "replica_moves")
            )
            shares.append(share)
            first_hours.setdefault(workload, gpu_hours)
            ratios.append(gpu_hours / first_hours[workload])
            cells.append(f"{share:.1%}, {gpu_hours:,.1f} h, {moves:,.0f}")
        lines.append(
            f"| {policy} | {' | '.join(cells)} | {np.mean(shares):.1%} | {min(shares):.1%} | "
            f"{np.mean(ratios):.2f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Print the replays and their table; `--json` also writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--policies", default=DEFAULT)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--routing", choices=tuple(ROUTINGS), default="pow2")
    parser.add_argument("--order", choices=ORDERS, default=ORDERS[0])
    parser.add_argument("--traces", type=Path, default=TRACES)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args(arguments)
    routing: Routing = args.routing
    order: Order = args.order
    args.routing, args.order = routing, order
    found = rows(args)
    print()
    print(table(found))
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
